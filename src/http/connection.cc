#include "http/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace kaon::http {
namespace {

constexpr size_t kReadBlock = 16 << 10;
constexpr size_t kStreamBlock = 64 << 10;
constexpr size_t kLargestRead = 256 << 10;    // expected for a head and its body together
constexpr int kReadsPerTurn = 16;             // then other connections have their turn
constexpr uint64_t kMaxDiscarded = 256 << 10;

}  // namespace

Connection::Connection(ServerState& server, Fd fd, const sockaddr_storage& peer, std::unique_ptr<TlsSession> tls)
    : server_(server),
      fd_(std::move(fd)),
      tls_(std::move(tls)),
      queue_(server.loop.blocks()),
      read_size_(kReadBlock),
      handshaken_(!tls_) {
  static_assert(sizeof(peer_) <= sizeof(peer));
  std::memcpy(&peer_, &peer, sizeof peer_);
  watcher_.emplace(server.loop, fd_.get(), *this);
  server.open.push_back(*this);
  ++server.open_count;
  arm(handshaken_ ? TimerKind::kIdle : TimerKind::kHead);
  watch();
}

Connection::~Connection() {
  if (in_) server_.loop.blocks().give(in_);
  if (whole_) server_.loop.blocks().give(whole_);
}

// ---- entries ----

void Connection::on_ready(int ready) {
  enter();
  server_.loop.refresh();
  if (ready == (loop::kReadable | loop::kWritable)) [[unlikely]] {
    // Either both were wanted and have come, or this is how an error is told.
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0 || watcher_->wanted() != ready) fail(ErrorCode::kDisconnected, "the client reset the connection");
  }
  if ((ready & loop::kWritable) && !failed_) on_room();
  if ((ready & loop::kHangUp) && !failed_ && !closed_) on_hang_up();
  if ((ready & loop::kReadable) && !failed_ && !closed_) on_input(true);
  leave();
}

void Connection::resume() {
  enter();
  if (!closed_ && !failed_) process(true);
  if (!closed_ && !failed_ && wants_input()) on_input(true);
  leave();
}

void Connection::drain() {
  enter();
  if (!closed_ && !failed_ && phase_ == Phase::kIdle) phase_ = Phase::kFlush;
  leave();
}

void Connection::break_off() {
  shut(false);
  delete this;
}

void Connection::leave() {
  if (!closed_ && !failed_) settle();
  if (failed_ && !closed_) finish_failure();
  inside_ = false;
  if (closed_) delete this;
}

// Behind a call of the application: what may call the application back, or destroy us, waits for the server's message.
void Connection::after_call() {
  if (inside_) return;
  if (!closed_ && !failed_) settle();
  bool more = (phase_ == Phase::kIdle || phase_ == Phase::kDrain) && (input_size() > 0 || paused_ || ended_);
  if (closed_ || failed_ || more) server_.schedule(*this);
}

void Connection::on_timeout(Timer& timer) {
  enter();
  TimerKind kind = std::exchange(timer_kind_, TimerKind::kNone);
  if (&timer == &write_timer_) {
    timer_kind_ = kind;
    ++server_.stats.timeouts;
    fail(ErrorCode::kTimeout, "the client did not take the response in time");
    leave();
    return;
  }
  if (kind != TimerKind::kProbe && kind != TimerKind::kIdle && kind != TimerKind::kLinger) ++server_.stats.timeouts;
  switch (kind) {
    case TimerKind::kIdle:
      phase_ = Phase::kFlush;
      break;
    case TimerKind::kHead:
      if (phase_ == Phase::kHead) refuse(408, "the head of the request took too long");
      else shut(false);
      break;
    case TimerKind::kBody:
      if (phase_ == Phase::kActive) fail(ErrorCode::kTimeout, "the body of the request stopped arriving", 408);
      else if (phase_ == Phase::kWhole) refuse(408, "the body of the request stopped arriving");
      else shut(false);
      break;
    case TimerKind::kProbe: {
      // Nothing of this socket is watched: its FIN is there, and its bytes are not wanted.
      pollfd each{fd_.get(), 0, 0};
      if (poll(&each, 1, 0) == 1) fail(ErrorCode::kDisconnected, "the client reset the connection");
      break;
    }
    case TimerKind::kLinger: shut(false); break;
    case TimerKind::kNone: break;
  }
  leave();
}

// ---- input ----

bool Connection::wants_input() const {
  switch (phase_) {
    case Phase::kIdle: case Phase::kHead: return queue_.empty();
    case Phase::kActive: return body_wanted_ && !body_done_;
    case Phase::kFlush: return false;
    case Phase::kWhole: case Phase::kDrain: case Phase::kLinger: return true;
  }
  return false;
}

void Connection::on_input(bool may_dispatch) {
  for (int turn = 0; turn < kReadsPerTurn; ++turn) {
    if (!wants_input()) {
      // Only when it is certain that something waits in the socket is a system call spent on looking the other way.
      if (turn == 0) peek();
      return;
    }
    Got got = receive();
    if (failed_ || got == Got::kNothing) return;
    if (got == Got::kEnd) {
      on_end();
      return;
    }
    process(may_dispatch);
    if (failed_ || closed_ || read_all_) return;
  }
}

void Connection::peek() {
  char byte;
  ssize_t count = recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count > 0) paused_ = true;
  else if (count == 0) on_end();
  else if (errno != EAGAIN && errno != EINTR) fail(ErrorCode::kDisconnected, "the client reset the connection");
}

void Connection::on_hang_up() {
  hung_up_ = true;
  if (phase_ == Phase::kActive && !server_.options.answer_half_closed)
    fail(ErrorCode::kDisconnected, "the client closed the connection");
}

void Connection::on_end() {
  ended_ = true;
  switch (phase_) {
    case Phase::kActive:
      if (!body_done_) fail(ErrorCode::kDisconnected, "the client left before the end of its request");
      else if (!server_.options.answer_half_closed) fail(ErrorCode::kDisconnected, "the client closed the connection");
      break;
    case Phase::kIdle: case Phase::kFlush:
      phase_ = Phase::kFlush;  // what is still to be sent is sent
      break;
    default: shut(false);
  }
}

void Connection::make_room() {
  if (whole_) return;
  bool streaming = phase_ == Phase::kActive || phase_ == Phase::kDrain || phase_ == Phase::kLinger;
  if (in_) {
    bool empty = in_begin_ == in_end_;
    if (empty && in_->unique()) in_begin_ = in_end_ = 0;
    if (in_end_ < in_->capacity() && !(streaming && empty && in_begin_ > 0)) return;
  }
  // Streams may still look into the old block: it is left as it is.
  size_t kept = input_size();
  Block* block = server_.loop.blocks().take(std::max(streaming ? kStreamBlock : read_size_, 2 * kept));
  if (in_) {
    std::memcpy(block->data(), input(), kept);
    server_.loop.blocks().give(in_);
  }
  in_ = block;
  in_begin_ = 0;
  in_end_ = kept;
}

Connection::Got Connection::receive() {
  make_room();
  char* out = whole_ ? whole_->data() + whole_size_ : in_->data() + in_end_;
  size_t room = whole_ ? static_cast<size_t>(body_left_) - whole_size_ : in_->capacity() - in_end_;
  size_t count = 0;
  Got got = receive_raw(out, room, count);
  if (got != Got::kData) return got;
  read_all_ = count < room && !(tls_ && tls_->buffered());
  progress_ = true;
  (whole_ ? whole_size_ : in_end_) += count;
  return got;
}

Connection::Got Connection::receive_raw(char* out, size_t room, size_t& count) {
  for (;;) {
    if (tls_) {
      int got = tls_->read(out, room);
      flush_tls();
      if (failed_) return Got::kNothing;
      if (got > 0) {
        handshaken_ = true;
        count = static_cast<size_t>(got);
        return Got::kData;
      }
      if (got == TlsSession::kEnd) return Got::kEnd;
      if (got == TlsSession::kFailed) {
        fail(ErrorCode::kInvalid, "the TLS session failed");
        return Got::kNothing;
      }
    }
    ssize_t got = recv(fd_.get(), tls_ ? server_.scratch.get() : out, tls_ ? ServerState::kScratch : room, 0);
    if (got == 0) {
      // Without the goodbye of TLS an attacker may have cut the stream: what is in progress fails.
      if (tls_ && phase_ == Phase::kActive) fail(ErrorCode::kDisconnected, "the client cut the TLS session");
      return failed_ ? Got::kNothing : Got::kEnd;
    }
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) fail(ErrorCode::kDisconnected, "the client reset the connection");
      return Got::kNothing;
    }
    if (!tls_) {
      count = static_cast<size_t>(got);
      return Got::kData;
    }
    tls_->feed({server_.scratch.get(), static_cast<size_t>(got)});
  }
}

void Connection::process(bool may_dispatch) {
  for (bool more = true; more && !closed_ && !failed_;) {
    switch (phase_) {
      case Phase::kIdle:
        if (input_size() == 0) {
          more = false;
          break;
        }
        if (server_.gather_owner == this && server_.gathered > ServerState::kGather / 2) flush();
        // A client that does not take its answers gets no new ones made.
        if (!queue_.empty() || !may_dispatch) {
          if (!may_dispatch) server_.schedule(*this);
          more = false;
          break;
        }
        stream_ = server_.take_stream();
        phase_ = Phase::kHead;
        [[fallthrough]];
      case Phase::kHead: more = parse_head(); break;
      case Phase::kWhole: more = collect_whole(); break;
      case Phase::kActive: more = deliver_body(); break;
      case Phase::kDrain: more = discard_body(); break;
      case Phase::kLinger:
        discarded_ += input_size();
        if (discarded_ > kMaxDiscarded) shut(false);
        [[fallthrough]];
      case Phase::kFlush:
        in_begin_ = in_end_;
        more = false;
        break;
    }
  }
}

bool Connection::parse_head() {
  switch (stream_->parser_.parse({input(), input_size()}, server_.limits, stream_->request_)) {
    case Parse::kDone: return begin_request();
    case Parse::kError:
      minor_version_ = 1;
      refuse(stream_->parser_.status(), stream_->parser_.problem());
      return true;
    case Parse::kMore: break;
  }
  return false;
}

bool Connection::begin_request() {
  Stream& stream = *stream_;
  const Request& request = stream.request_;
  ++server_.stats.requests;
  timer_kind_ = TimerKind::kNone;
  in_begin_ += stream.parser_.head_size();
  in_->retain();
  stream.head_block_ = in_;
  stream.tls_ = tls_ != nullptr;
  minor_version_ = request.minor_version;
  keep_ = request.keep_alive;
  chunked_ = request.chunked;
  body_left_ = request.content_length.value_or(0);
  body_done_ = !request.has_body();
  body_seen_ = 0;
  body_wanted_ = false;
  expecting_ = request.expect_continue;
  response_left_.reset();
  response_chunked_ = writer_waits_ = false;
  if (body_done_) {
    read_size_ = kReadBlock;
    dispatch();
    return true;
  }
  return chunked_ ? begin_chunked() : begin_length();
}

bool Connection::begin_length() {
  if (body_left_ > server_.options.max_body_bytes) {
    refuse(413, "the body is too large");
    return true;
  }
  // A client that sends large bodies goes on doing so: the next one is read at once, with its head.
  uint64_t total = stream_->parser_.head_size() + body_left_;
  read_size_ = total <= kLargestRead ? std::max(kReadBlock, static_cast<size_t>(total)) : kReadBlock;
  size_t here = input_size();
  if (here < body_left_ && body_left_ <= server_.options.whole_body_bytes) {
    auto size = static_cast<size_t>(body_left_);
    phase_ = Phase::kWhole;
    send_continue();
    if (in_->capacity() - in_begin_ < size) {
      whole_ = server_.loop.blocks().take(size);
      std::memcpy(whole_->data(), input(), here);
      whole_size_ = here;
      in_begin_ = in_end_;
    }
    return true;
  }
  auto size = static_cast<size_t>(std::min<uint64_t>(here, body_left_));
  stream_->body_ = Bytes::share(in_, {input(), size});
  in_begin_ += size;
  body_left_ -= size;
  body_done_ = body_left_ == 0;
  dispatch();
  return true;
}

bool Connection::begin_chunked() {
  chunks_.reset();
  char* start = input();
  auto step = chunks_.decode(start, input_size(), start, input_size());
  in_begin_ += step.consumed;
  body_seen_ = step.produced;
  if (step.parse == Parse::kError) {
    refuse(400, "the chunked body is malformed");
    return true;
  }
  if (body_seen_ > server_.options.max_body_bytes) {
    refuse(413, "the body is too large");
    return true;
  }
  stream_->body_ = Bytes::share(in_, {start, step.produced});
  body_done_ = step.parse == Parse::kDone;
  dispatch();
  return true;
}

bool Connection::collect_whole() {
  auto size = static_cast<size_t>(body_left_);
  if ((whole_ ? whole_size_ : input_size()) < size) return false;
  if (whole_) {
    stream_->body_block_ = std::exchange(whole_, nullptr);
    stream_->body_ = Bytes::share(stream_->body_block_, {stream_->body_block_->data(), size});
  } else {
    stream_->body_ = Bytes::share(in_, {input(), size});
    in_begin_ += size;
  }
  body_left_ = 0;
  body_done_ = true;
  dispatch();
  return true;
}

void Connection::dispatch() {
  phase_ = Phase::kActive;
  stream_->connection_ = this;
  stream_->body_complete_ = body_done_;
  server_.application.on_request(*stream_);
}

bool Connection::deliver_body() {
  if (!body_wanted_ || body_done_ || input_size() == 0) return false;
  std::string_view chunk;
  if (chunked_) {
    char* start = input();
    auto step = chunks_.decode(start, input_size(), start, input_size());
    in_begin_ += step.consumed;
    body_seen_ += step.produced;
    if (step.parse == Parse::kError) {
      fail(ErrorCode::kInvalid, "the chunked body is malformed", 400);
      return false;
    }
    if (body_seen_ > server_.options.max_body_bytes) {
      fail(ErrorCode::kInvalid, "the body is too large", 413);
      return false;
    }
    chunk = {start, step.produced};
    body_done_ = step.parse == Parse::kDone;
  } else {
    chunk = {input(), static_cast<size_t>(std::min<uint64_t>(input_size(), body_left_))};
    in_begin_ += chunk.size();
    body_left_ -= chunk.size();
    body_done_ = body_left_ == 0;
  }
  if (chunk.empty() && !body_done_) return false;
  body_wanted_ = false;
  server_.application.on_body(*stream_, chunk, body_done_);
  return true;
}

// The answer is complete and the body is not: what is left of it is read so that the connection can be kept.
bool Connection::discard_body() {
  size_t before = in_begin_;
  if (chunked_) {
    auto step = chunks_.decode(input(), input_size(), input(), input_size());
    in_begin_ += step.consumed;
    body_done_ = step.parse == Parse::kDone;
    if (step.parse == Parse::kError) keep_ = false;
  } else {
    auto size = static_cast<size_t>(std::min<uint64_t>(input_size(), body_left_));
    in_begin_ += size;
    body_left_ -= size;
    body_done_ = body_left_ == 0;
  }
  discarded_ += in_begin_ - before;
  if (discarded_ > kMaxDiscarded) keep_ = false;
  if (!body_done_ && keep_) return false;
  request_over();
  return true;
}

// ---- the stream's half: input ----

void Connection::read_body() {
  if (body_done_ || body_wanted_ || failed_ || closed_) return;
  body_wanted_ = true;
  progress_ = true;
  if (!stream_->started_) send_continue();
  if (inside_) return;  // whoever is inside goes on with it
  pull();
}

// Delivers what is here already. New bytes are waited for, unless it is known that some are in the socket.
void Connection::pull() {
  inside_ = true;
  process(false);
  if ((paused_ || tls_) && !failed_ && !closed_ && wants_input()) on_input(false);
  inside_ = false;
  after_call();
}

void Connection::send_continue() {
  if (!expecting_) return;
  expecting_ = false;
  put("HTTP/1.1 100 Continue\r\n\r\n");
}

size_t Connection::peer_text(char* out, size_t room) const {
  char text[INET6_ADDRSTRLEN];
  int length = 0;
  if (peer_.sin6_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &peer_, sizeof v4);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    length = snprintf(out, room, "%s:%u", text, ntohs(v4.sin_port));
  } else if (peer_.sin6_family == AF_INET6) {
    inet_ntop(AF_INET6, &peer_.sin6_addr, text, sizeof text);
    length = snprintf(out, room, "[%s]:%u", text, ntohs(peer_.sin6_port));
  } else {
    length = snprintf(out, room, "unix");
  }
  return std::min(static_cast<size_t>(std::max(length, 0)), room - 1);
}

// ---- the end ----

void Connection::fail(ErrorCode code, std::string_view why, int status) {
  if (failed_ || closed_) return;
  failed_ = true;
  why_code_ = code;
  why_ = why;
  fail_status_ = status;
  if (!inside_) server_.schedule(*this);
}

void Connection::finish_failure() {
  Stream* told = phase_ == Phase::kActive ? stream_ : nullptr;
  if (told && fail_status_ != 0 && !told->started_) {
    failed_ = false;
    told->connection_ = nullptr;
    stream_ = nullptr;
    refuse(fail_status_, why_);
    settle();
    if (failed_) shut(true);
  } else {
    shut(true);
  }
  if (!told) return;
  ++server_.stats.gone;
  server_.application.on_gone(*told, Error{why_code_, std::string(why_)});
}

// The server's own answer to a request that it does not hand on.
void Connection::refuse(int status, std::string_view problem) {
  ++server_.stats.bad_requests;
  keep_ = false;
  body_done_ = true;
  response_chunked_ = response_bodiless_ = false;
  if (stream_) {
    response_bodiless_ = phase_ != Phase::kHead && stream_->request_.head;
    server_.give_stream(stream_);
    stream_ = nullptr;
  }
  if (whole_) server_.loop.blocks().give(std::exchange(whole_, nullptr));
  phase_ = Phase::kFlush;
  put_head(status, "text/plain", {}, problem.size() + 1);
  if (!response_bodiless_) {
    put(problem);
    put("\n");
  }
}

void Connection::begin_linger() {
  if (tls_) {
    tls_->close();
    flush_tls();
    if (failed_ || !queue_.empty()) return;
  }
  if (ended_) {
    shut(false);
    return;
  }
  // Closing with unread input makes the kernel send RST, which can destroy the answer before the client has read it.
  shutdown(fd_.get(), SHUT_WR);
  phase_ = Phase::kLinger;
  paused_ = false;
  discarded_ = 0;
}

void Connection::shut(bool reset) {
  if (closed_) return;
  closed_ = true;
  if (reset) {
    ++server_.stats.resets;
    linger hard{1, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }
  watcher_.reset();
  fd_.reset();
  read_timer_.unlink();
  write_timer_.unlink();
  queue_.clear();
  if (server_.gather_owner == this) {
    server_.gather_owner = nullptr;
    server_.gathered = 0;
  }
  if (stream_) {
    if (phase_ == Phase::kActive) stream_->connection_ = nullptr;
    else server_.give_stream(stream_);
    stream_ = nullptr;
  }
  ListNode<Connection, OpenTag>::unlink();
  --server_.open_count;
}

void Connection::abort() {
  shut(true);
  after_call();
}

// Brings socket, time-outs and buffers in line with the state. Nothing of the application is on the stack, or nothing
// that looks into our buffers.
void Connection::settle() {
  flush();
  if (failed_) return;
  if (phase_ == Phase::kFlush && queue_.empty()) begin_linger();
  if (closed_ || failed_) return;
  if (in_ && input_size() == 0 && phase_ != Phase::kWhole) {
    server_.loop.blocks().give(in_);
    in_ = nullptr;
    in_begin_ = in_end_ = 0;
  }
  TimerKind kind = TimerKind::kNone;
  switch (phase_) {
    case Phase::kIdle: kind = handshaken_ ? TimerKind::kIdle : TimerKind::kHead; break;
    case Phase::kHead: kind = TimerKind::kHead; break;
    case Phase::kWhole: case Phase::kDrain: kind = TimerKind::kBody; break;
    case Phase::kActive:
      kind = body_wanted_ ? TimerKind::kBody : ended_ || hung_up_ ? TimerKind::kProbe : TimerKind::kNone;
      break;
    case Phase::kFlush: break;
    case Phase::kLinger: kind = TimerKind::kLinger; break;
  }
  if (kind != timer_kind_ || (kind == TimerKind::kBody && progress_)) arm(kind);
  progress_ = false;
  if (queue_.empty()) write_timer_.unlink();
  else if (!write_timer_.linked()) server_.write_timeouts.start(write_timer_);
  if (wants_input()) {
    paused_ = false;
    if (tls_ && tls_->buffered()) server_.schedule(*this);
  }
  watch();
}

void Connection::arm(TimerKind kind) {
  timer_kind_ = kind;
  switch (kind) {
    case TimerKind::kNone: read_timer_.unlink(); break;
    case TimerKind::kIdle: server_.idle_timeouts.start(read_timer_); break;
    case TimerKind::kHead: server_.head_timeouts.start(read_timer_); break;
    case TimerKind::kBody: server_.body_timeouts.start(read_timer_); break;
    case TimerKind::kLinger: server_.linger_timeouts.start(read_timer_); break;
    case TimerKind::kProbe: server_.probe_timeouts.start(read_timer_); break;
  }
}

void Connection::watch() {
  int ready = queue_.empty() ? 0 : loop::kWritable;
  if (!ended_) ready |= !paused_ ? loop::kReadable : hung_up_ ? 0 : loop::kHangUp;
  watcher_->want(ready);
}

}  // namespace kaon::http
