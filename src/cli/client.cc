#include "cli/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/text.h"
#include "config/yaml.h"
#include "http/parser.h"

namespace kaon::cli {
namespace {

constexpr size_t kMaxReplyHead = 64 << 10;

Result<void> send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    // The processor may answer, and close, before it has read all: the reply says why.
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return {};
    if (sent < 0) return errno_error("send to the processor", errno);
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return {};
}

// Appends what has come; false at the end.
Result<bool> receive(int fd, Nanos deadline, std::string& into) {
  pollfd ready{fd, POLLIN, 0};
  for (;;) {
    Nanos left = deadline == kNever ? -1 : std::max<Nanos>(0, (deadline - monotonic_ns()) / kMillisecond);
    int polled = poll(&ready, 1, static_cast<int>(left));
    if (polled == 0) return Error{ErrorCode::kTimeout, "the processor did not answer in time"};
    char buffer[64 << 10];
    ssize_t got = polled < 0 ? -1 : recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("receive from the processor", errno);
    into.append(buffer, static_cast<size_t>(got));
    return got > 0;
  }
}

Error cut_short() { return {ErrorCode::kDisconnected, "the reply ended before it was complete; the function failed half-way"}; }

Result<void> parse_head(std::string_view head, Reply& reply) {
  if (head.size() < 12 || !head.starts_with("HTTP/1.1 ")) return Error{ErrorCode::kInternal, "the control socket does not speak HTTP"};
  reply.status = static_cast<int>(parse_uint(head.substr(9, 3)).value_or(0));
  size_t line = head.find("\r\n");
  while (line != std::string_view::npos && line + 2 < head.size()) {
    size_t end = head.find("\r\n", line + 2);
    std::string_view text = head.substr(line + 2, end == std::string_view::npos ? end : end - line - 2);
    line = end;
    size_t colon = text.find(':');
    if (colon == std::string_view::npos) continue;
    std::string name;
    for (char c : text.substr(0, colon)) name += to_lower(c);
    text.remove_prefix(colon + 1);
    while (text.starts_with(' ')) text.remove_prefix(1);
    reply.headers.emplace_back(std::move(name), text);
  }
  return {};
}

Result<void> read_body(int fd, Nanos deadline, std::string rest, Reply& reply) {
  if (reply.header("transfer-encoding") == "chunked") {
    http::ChunkedDecoder decoder;
    for (;;) {
      size_t at = reply.body.size();
      reply.body.resize(at + rest.size());
      auto step = decoder.decode(rest.data(), rest.size(), reply.body.data() + at, rest.size());
      reply.body.resize(at + step.produced);
      if (step.parse == http::Parse::kDone) return {};
      if (step.parse == http::Parse::kError) return Error{ErrorCode::kInternal, "the reply's chunks are malformed"};
      rest.clear();
      KAON_TRY(bool more, receive(fd, deadline, rest));
      if (!more) return cut_short();
    }
  }
  auto size = parse_uint(reply.header("content-length"));
  reply.body = std::move(rest);
  while (!size || reply.body.size() < *size) {
    KAON_TRY(bool more, receive(fd, deadline, reply.body));
    if (!more && size) return cut_short();
    if (!more) break;
  }
  return {};
}

}  // namespace

std::string_view Reply::header(std::string_view name) const {
  for (auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

Result<Fd> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error{ErrorCode::kInvalid, path + " is too long for a socket's path"};
  std::memcpy(address.sun_path, path.c_str(), path.size());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("make a socket", errno);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return errno_error("connect to " + path, errno);
  return fd;
}

Result<Reply> request(const std::string& socket, std::string_view method, std::string_view target,
                      const std::vector<std::string>& headers, std::string_view body, int timeout_ms) {
  KAON_TRY(Fd fd, connect_unix(socket));
  Nanos deadline = timeout_ms > 0 ? monotonic_ns() + timeout_ms * kMillisecond : kNever;
  std::string head;
  head.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
  for (const std::string& header : headers) head.append(header).append("\r\n");
  head.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n");
  KAON_TRY_VOID(send_all(fd.get(), head));
  KAON_TRY_VOID(send_all(fd.get(), body));
  std::string received;
  size_t end;
  for (;;) {
    while ((end = received.find("\r\n\r\n")) == std::string::npos) {
      if (received.size() > kMaxReplyHead) return Error{ErrorCode::kInternal, "the reply's head is too large"};
      KAON_TRY(bool more, receive(fd.get(), deadline, received));
      if (!more) return cut_short();
    }
    Reply reply;
    KAON_TRY_VOID(parse_head(std::string_view(received).substr(0, end), reply));
    received.erase(0, end + 4);
    if (reply.status < 200) continue;
    KAON_TRY_VOID(read_body(fd.get(), deadline, std::move(received), reply));
    return reply;
  }
}

Error reply_error(const Reply& reply) {
  ErrorCode code = ErrorCode::kInternal;
  for (int each = 0; each <= static_cast<int>(ErrorCode::kInternal); ++each)
    if (error_row(static_cast<ErrorCode>(each)).http_status == reply.status) {
      code = static_cast<ErrorCode>(each);
      break;
    }
  config::yaml::Document document;
  std::vector<config::yaml::Problem> problems;
  if (document.parse(reply.body, problems) && document.root().kind == config::yaml::Kind::kMap)
    for (auto& [key, value] : document.root().members)
      if (key->text == "message") return {code, value->text};
  return {code, "status " + std::to_string(reply.status)};
}

}  // namespace kaon::cli
