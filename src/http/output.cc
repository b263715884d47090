#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/text.h"
#include "http/connection.h"
#include "http/tables.h"

namespace kaon::http {
namespace {

constexpr size_t kCopied = 4 << 10;            // up to here a copy is cheaper than a vector of two
constexpr size_t kQueueBlock = 64 << 10;
constexpr size_t kHighWater = 256 << 10;
constexpr size_t kLowWater = 64 << 10;
constexpr size_t kUsualType = 256;             // a content type up to here
constexpr size_t kUsualHead = 256 + kUsualType;  // status line, length, connection and such a content type
constexpr uint64_t kWorthDraining = 64 << 10;  // of an unread body, rather than a new connection

bool lies_in(Block* block, std::string_view bytes) {
  return block && bytes.data() >= block->data() && bytes.data() + bytes.size() <= block->data() + block->capacity();
}

// What belongs to the connection and not to the application.
bool is_ours(std::string_view name) {
  switch (name.size()) {
    case 7: return equals_ignore_case(name, "trailer") || equals_ignore_case(name, "upgrade");
    case 10: return equals_ignore_case(name, "connection") || equals_ignore_case(name, "keep-alive");
    case 14: return equals_ignore_case(name, "content-length");
    case 16: return equals_ignore_case(name, "proxy-connection");
    case 17: return equals_ignore_case(name, "transfer-encoding");
    default: return false;
  }
}

}  // namespace

// ---- SendQueue ----

void SendQueue::copy(std::string_view data) {
  if (data.empty()) return;
  bytes_ += data.size();
  if (segments_.size() > first_ && segments_.back().own) {
    Segment& last = segments_.back();
    size_t room = last.block->capacity() - static_cast<size_t>(last.data + last.size - last.block->data());
    size_t part = std::min(room, data.size());
    std::memcpy(const_cast<char*>(last.data) + last.size, data.data(), part);
    last.size += part;
    data.remove_prefix(part);
  }
  if (data.empty()) return;
  Block* block = pool_.take(std::max(kQueueBlock, data.size()));
  std::memcpy(block->data(), data.data(), data.size());
  segments_.push_back({block, block->data(), data.size(), true});
}

void SendQueue::share(Block* block, std::string_view data) {
  if (data.empty()) return;
  block->retain();
  bytes_ += data.size();
  segments_.push_back({block, data.data(), data.size(), false});
}

int SendQueue::send(int fd) {
  while (bytes_ > 0) {
    iovec parts[16];
    size_t count = 0, offered = 0;
    for (size_t i = first_; i < segments_.size() && count < std::size(parts); ++i, ++count) {
      parts[count] = {const_cast<char*>(segments_[i].data), segments_[i].size};
      offered += segments_[i].size;
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN ? 0 : errno;
    }
    auto left = static_cast<size_t>(sent);
    bytes_ -= left;
    while (left > 0) {
      Segment& front = segments_[first_];
      size_t part = std::min(left, front.size);
      front.data += part;
      front.size -= part;
      left -= part;
      if (front.size == 0) {
        pool_.give(front.block);
        ++first_;
      }
    }
    if (static_cast<size_t>(sent) < offered) break;
  }
  if (bytes_ == 0) {
    segments_.clear();
    first_ = 0;
  } else if (first_ > 64) {
    segments_.erase(segments_.begin(), segments_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
  return 0;
}

void SendQueue::clear() {
  for (size_t i = first_; i < segments_.size(); ++i) pool_.give(segments_[i].block);
  segments_.clear();
  first_ = bytes_ = 0;
}

// ---- to the socket ----

void Connection::put(std::string_view bytes) {
  ServerState& server = server_;
  if (server.gather_owner == this && !bytes.empty() && bytes.size() <= ServerState::kGather - server.gathered) [[likely]] {
    std::memcpy(server.gather.get() + server.gathered, bytes.data(), bytes.size());
    server.gathered += bytes.size();
    return;
  }
  put_slowly(bytes);
}

void Connection::put_slowly(std::string_view bytes) {
  ServerState& server = server_;
  if (server.gather_owner != this) {
    if (server.gather_owner) server.gather_owner->flush();
    server.gather_owner = this;
  }
  while (bytes.size() > ServerState::kGather - server.gathered) [[unlikely]] {
    size_t part = ServerState::kGather - server.gathered;
    std::memcpy(server.gather.get() + server.gathered, bytes.data(), part);
    server.gathered += part;
    bytes.remove_prefix(part);
    flush();
    server.gather_owner = this;
  }
  if (bytes.empty()) return;
  std::memcpy(server.gather.get() + server.gathered, bytes.data(), bytes.size());
  server.gathered += bytes.size();
}

// Room for that many bytes of this connection behind what it has gathered; the caller counts what it has written.
char* Connection::room_for(size_t bytes) {
  ServerState& server = server_;
  if (server.gather_owner != this || ServerState::kGather - server.gathered < bytes) {
    if (server.gather_owner) server.gather_owner->flush();
    server.gather_owner = this;
  }
  return server.gather.get() + server.gathered;
}

void Connection::flush() {
  if (server_.gather_owner != this) return;
  std::string_view bytes(server_.gather.get(), server_.gathered);
  server_.gather_owner = nullptr;
  server_.gathered = 0;
  send_wire(bytes, {}, {});
}

void Connection::put_body(std::string_view bytes, std::string_view tail) {
  if (bytes.size() <= kCopied) {
    put(bytes);
    put(tail);
    return;
  }
  std::string_view before;
  if (server_.gather_owner == this) {
    before = {server_.gather.get(), server_.gathered};
    server_.gather_owner = nullptr;
    server_.gathered = 0;
  }
  send_wire(before, bytes, tail);
}

// Three pieces in order, at once; what the socket does not take is kept.
void Connection::send_wire(std::string_view a, std::string_view b, std::string_view c) {
  if (closed_ || failed_ || a.size() + b.size() + c.size() == 0) return;
  if (tls_) {
    for (std::string_view each : {a, b, c})
      while (!each.empty()) {
        std::string_view part = each.substr(0, kQueueBlock);
        each.remove_prefix(part.size());
        if (!tls_->write(part)) return fail(ErrorCode::kDisconnected, "the TLS session failed");
        flush_tls();
        if (failed_) return;
      }
    return;
  }
  size_t sent = 0;
  if (queue_.empty()) {
    ssize_t count;
    do {
      if (b.empty() && c.empty()) {
        count = send(fd_.get(), a.data(), a.size(), MSG_NOSIGNAL);
      } else {
        iovec parts[3];
        int used = 0;
        for (std::string_view each : {a, b, c})
          if (!each.empty()) parts[used++] = {const_cast<char*>(each.data()), each.size()};
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = static_cast<size_t>(used);
        count = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
      }
    } while (count < 0 && errno == EINTR);
    if (count < 0 && errno != EAGAIN) return fail(ErrorCode::kDisconnected, "the client closed the connection");
    sent = count < 0 ? 0 : static_cast<size_t>(count);
  }
  for (std::string_view each : {a, b, c}) {
    size_t part = std::min(sent, each.size());
    sent -= part;
    each.remove_prefix(part);
    if (!each.empty()) queue_rest(each);
  }
}

// A large echo of the request's own body needs no copy: its block is kept instead.
void Connection::queue_rest(std::string_view bytes) {
  Block* block = nullptr;
  if (stream_ && bytes.size() > kCopied) {
    if (lies_in(stream_->body_block_, bytes)) block = stream_->body_block_;
    else if (lies_in(stream_->head_block_, bytes)) block = stream_->head_block_;
  }
  if (block) queue_.share(block, bytes);
  else queue_.copy(bytes);
}

void Connection::flush_tls() {
  std::string_view bytes = tls_->pending();
  if (bytes.empty() || closed_ || failed_) return;
  size_t size = bytes.size();
  if (queue_.empty()) {
    ssize_t count;
    do count = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    while (count < 0 && errno == EINTR);
    if (count < 0 && errno != EAGAIN) return fail(ErrorCode::kDisconnected, "the client closed the connection");
    if (count > 0) bytes.remove_prefix(static_cast<size_t>(count));
  }
  if (!bytes.empty()) queue_.copy(bytes);
  tls_->sent(size);
}

void Connection::on_room() {
  size_t before = queue_.bytes();
  if (int error = queue_.send(fd_.get()); error != 0) return fail(ErrorCode::kDisconnected, "the client closed the connection");
  if (queue_.bytes() < before) write_timer_.unlink();  // settle starts it anew
  if (writer_waits_ && stream_ && queue_.bytes() <= kLowWater) {
    writer_waits_ = false;
    server_.application.on_writable(*stream_);
  }
  if (queue_.empty() && !closed_ && !failed_) process(true);
}

// ---- the response ----

// Whether the connection can go on behind this response, as far as its head can know.
bool Connection::may_keep(bool whole) const {
  if (!keep_ || server_.draining || (ended_ && !body_done_)) return false;
  if (body_done_) return true;
  // A client that was not told to go on may send its body or not: what comes next cannot be told from a new request.
  if (expecting_) return false;
  return !whole || (!chunked_ && body_left_ <= kWorthDraining);
}

void Connection::put_head(int status, std::string_view content_type, std::span<const Header> headers,
                          std::optional<uint64_t> size) {
  if (status < 200 || status > 599) status = 500;
  // What every response begins with, written in one go: one look at the room for all of it.
  char* out = room_for(kUsualHead);
  char* const begin = out;
  auto add = [&out](std::string_view bytes) {
    std::memcpy(out, bytes.data(), bytes.size());
    out += bytes.size();
  };
  if (status == 200) {
    add("HTTP/1.1 200 OK\r\n");
  } else {
    add("HTTP/1.1 ");
    out = std::to_chars(out, out + 3, status).ptr;
    add(" ");
    add(reason_phrase(status));
    add("\r\n");
  }
  if (!keep_) add("Connection: close\r\n");
  else if (minor_version_ == 0) add("Connection: keep-alive\r\n");
  if (size && status != 204 && !(status == 304 && *size == 0)) {
    add("Content-Length: ");
    out = std::to_chars(out, out + 20, *size).ptr;
    add("\r\n");
  } else if (response_chunked_) {
    add("Transfer-Encoding: chunked\r\n");
  }
  bool typed = !content_type.empty() && server_.valid_content_type(content_type);
  if (typed && content_type.size() <= kUsualType) {
    add("Content-Type: ");
    add(content_type);
    add("\r\n");
    typed = false;
  }
  server_.gathered += static_cast<size_t>(out - begin);
  if (typed) {
    put("Content-Type: ");
    put(content_type);
    put("\r\n");
  }
  put(server_.common_headers());
  for (const Header& each : headers) {
    if (is_ours(each.name) || equals_ignore_case(each.name, "date") || equals_ignore_case(each.name, "server")) continue;
    if (!content_type.empty() && equals_ignore_case(each.name, "content-type")) continue;
    if (!valid_header(each.name, each.value)) {
      ++server_.stats.dropped_headers;
      continue;
    }
    put(each.name);
    put(": ");
    put(each.value);
    put("\r\n");
  }
  put("\r\n");
}

void Connection::respond(int status, std::string_view content_type, std::span<const Header> headers, std::string_view body) {
  stream_->started_ = true;
  keep_ = may_keep(true);
  response_bodiless_ = stream_->request_.head || status == 204 || status == 304;
  put_head(status, content_type, headers, body.size());
  if (!response_bodiless_) put_body(body, {});
  complete_response();
  after_call();
}

void Connection::start(int status, std::string_view content_type, std::span<const Header> headers, std::optional<uint64_t> size) {
  stream_->started_ = true;
  keep_ = may_keep(false);
  response_bodiless_ = stream_->request_.head || status == 204 || status == 304;
  response_left_ = size;
  response_chunked_ = !size && minor_version_ == 1 && status != 204 && status != 304;
  if (!size && !response_chunked_ && !response_bodiless_) keep_ = false;
  put_head(status, content_type, headers, size);
  after_call();
}

bool Connection::write(std::string_view chunk, bool end) {
  if (failed_) return false;
  if (!response_bodiless_) {
    if (response_left_) {
      if (chunk.size() > *response_left_ || (end && chunk.size() < *response_left_)) {
        abort();
        return true;
      }
      *response_left_ -= chunk.size();
    }
    if (!chunk.empty() && response_chunked_) {
      char text[20];
      char* stop = std::to_chars(text, text + 16, chunk.size(), 16).ptr;
      *stop++ = '\r';
      *stop++ = '\n';
      put({text, static_cast<size_t>(stop - text)});
      put_body(chunk, end ? "\r\n0\r\n\r\n" : "\r\n");
    } else if (!chunk.empty()) {
      put_body(chunk, {});
    } else if (end && response_chunked_) {
      put("0\r\n\r\n");
    }
  }
  bool full = queue_.bytes() >= kHighWater;
  if (end) complete_response();
  else writer_waits_ = full;
  after_call();
  if (failed_) return false;
  if (!end && !inside_ && queue_.bytes() >= kHighWater) writer_waits_ = full = true;
  return !full;
}

void Connection::complete_response() {
  if (failed_ || closed_) return;  // on_gone is still to come
  stream_->connection_ = nullptr;
  stream_ = nullptr;
  writer_waits_ = body_wanted_ = false;
  if (body_done_) {
    request_over();
  } else if (keep_) {
    phase_ = Phase::kDrain;
    discarded_ = 0;
    progress_ = true;
  } else {
    phase_ = Phase::kFlush;
  }
}

void Connection::request_over() {
  phase_ = keep_ && !server_.draining ? Phase::kIdle : Phase::kFlush;
  timer_kind_ = TimerKind::kNone;
}

}  // namespace kaon::http
