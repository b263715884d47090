#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "http/connection.h"
#include "http/tables.h"

namespace kaon::http {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr size_t kFreeStreams = 256;
constexpr Nanos kBackoff = 100 * kMillisecond;

}  // namespace

// ---- Stream ----

void Stream::read_body() {
  if (connection_) connection_->read_body();
}

void Stream::respond(int status, std::string_view content_type, std::span<const Header> headers, std::string_view body) {
  if (connection_ && !started_) connection_->respond(status, content_type, headers, body);
}

void Stream::start(int status, std::string_view content_type, std::span<const Header> headers, std::optional<uint64_t> size) {
  if (connection_ && !started_) connection_->start(status, content_type, headers, size);
}

bool Stream::write(std::string_view chunk, bool end) {
  return !connection_ || !started_ || connection_->write(chunk, end);
}

void Stream::reset() {
  if (connection_) connection_->abort();
}

void Stream::release() {
  KAON_CHECK(!released_);
  released_ = true;
  reset();
  if (server_) {
    server_->give_stream(this);
    return;
  }
  body_ = {};
  if (head_block_) head_block_->release();
  if (body_block_) body_block_->release();
  delete this;
}

std::string_view Stream::remote() {
  if (remote_size_ == 0 && connection_) remote_size_ = static_cast<uint8_t>(connection_->peer_text(remote_, sizeof remote_));
  return {remote_, remote_size_};
}

// ---- ServerState ----

// Wakes connections in a turn of their own. Outlives its server when the loop still has it queued.
class ServerState::Resumer final : public loop::Message {
 public:
  void deliver() override {
    queued = false;
    if (server) server->resume_all();
    else delete this;
  }
  ServerState* server = nullptr;
  bool queued = false;
};

ServerState::ServerState(loop::Loop& its_loop, int its_fd, Application& its_application, ServerOptions its_options,
                         TlsContext* its_tls)
    : loop(its_loop),
      listen_fd(its_fd),
      application(its_application),
      options(std::move(its_options)),
      tls(its_tls),
      gather(new char[kGather]),
      scratch(its_tls ? new char[kScratch] : nullptr),
      head_timeouts(loop, options.header_timeout_ms * kMillisecond),
      body_timeouts(loop, options.body_timeout_ms * kMillisecond),
      idle_timeouts(loop, options.idle_timeout_ms * kMillisecond),
      write_timeouts(loop, options.write_timeout_ms * kMillisecond),
      linger_timeouts(loop, 2 * kSecond),
      probe_timeouts(loop, kSecond / 2),
      reserve_(::open("/dev/null", O_RDONLY | O_CLOEXEC)),
      resumer_(new Resumer) {
  limits.head_bytes = std::clamp<size_t>(options.max_head_bytes, 256, 64 << 10);
  limits.target_bytes = std::min(options.max_target_bytes, limits.head_bytes);
  options.whole_body_bytes = static_cast<size_t>(std::min<uint64_t>(options.whole_body_bytes, options.max_body_bytes));
  if (!valid_header("server", options.server_name)) options.server_name.clear();
  resumer_->server = this;
  watcher_.emplace(loop, listen_fd, *this);
  watcher_->want(loop::kReadable);
}

ServerState::~ServerState() {
  watcher_.reset();
  while (Connection* connection = open.front()) connection->break_off();
  while (Connection* connection = resume_.pop_front()) delete connection;  // closed already
  while (Stream* stream = streams_.pop_front()) stream->server_ = nullptr;
  while (Stream* stream = free_streams_) {
    free_streams_ = stream->next_free_;
    delete stream;
  }
  if (resumer_->queued) resumer_->server = nullptr;
  else delete resumer_;
}

void ServerState::on_ready(int) {
  loop.refresh();
  for (int i = 0; i < kAcceptsPerTurn && watcher_; ++i)
    if (!accept_one()) return;
}

bool ServerState::accept_one() {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  Fd fd(accept4(listen_fd, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) {
    switch (errno) {
      case EAGAIN: return false;
      case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM:
        exhausted();
        return false;
      // The network's errors of a connection that was already gone are told by accept, too.
      case EBADF: case EINVAL: case ENOTSOCK: case EFAULT: case EOPNOTSUPP:
        stop_accepting();
        return false;
      default: return true;
    }
  }
  if (open_count >= options.max_connections) {
    refuse_connection(fd.get());
    return true;
  }
  if (options.admit && !options.admit(fd.get())) {
    ++stats.refused;
    return true;
  }
  if (peer.ss_family != AF_UNIX) {
    int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  std::unique_ptr<TlsSession> session;
  if (tls) {
    auto opened = tls->open();
    if (!opened) {
      ++stats.refused;
      return true;
    }
    session = std::move(opened).value();
  }
  try {
    new Connection(*this, std::move(fd), peer, std::move(session));  // its own owner: it deletes itself when it is closed
    ++stats.accepted;
  } catch (const CheckFailure&) {
    exhausted();  // the kernel has no room for another watch
    return false;
  }
  return true;
}

// Without a descriptor the connection at the head of the backlog can be neither taken nor refused, and the listening socket
// stays ready: the one kept in reserve is spent on dropping it, and then the loop looks away for a while.
void ServerState::exhausted() {
  ++stats.accept_exhausted;
  reserve_.reset();
  Fd dropped(accept4(listen_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  dropped.reset();
  reserve_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  watcher_->want(0);
  if (!backoff_)
    backoff_ = std::make_unique<loop::Timer>(loop, [this] {
      if (!reserve_) reserve_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (watcher_) watcher_->want(loop::kReadable);
    });
  backoff_->start_after(kBackoff);
}

void ServerState::refuse_connection(int fd) {
  static constexpr std::string_view kAnswer =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  ++stats.refused;
  if (tls) return;
  (void)!send(fd, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  shutdown(fd, SHUT_WR);
  // What has arrived is taken, so that closing does not become a reset that overtakes the answer.
  char dump[4096];
  (void)!recv(fd, dump, sizeof dump, MSG_DONTWAIT);
}

void ServerState::stop_accepting() {
  if (backoff_) backoff_->stop();
  watcher_.reset();
}

void ServerState::schedule(Connection& connection) {
  if (!connection.ListNode<Connection, ResumeTag>::linked()) {
    resume_.push_back(connection);
    ++resume_count_;
  }
  if (resumer_->queued) return;
  resumer_->queued = true;
  loop.post(*resumer_);
}

// Only those that are waiting now: one that comes back at once has its turn after the sockets had theirs.
void ServerState::resume_all() {
  for (size_t left = std::exchange(resume_count_, 0); left > 0; --left) {
    Connection* connection = resume_.pop_front();
    if (!connection) break;
    connection->resume();
  }
}

Stream* ServerState::take_stream() {
  Stream* stream = free_streams_;
  if (stream) {
    free_streams_ = stream->next_free_;
    --free_count_;
  } else {
    stream = new Stream(*this);
  }
  stream->parser_.reset();
  stream->connection_ = nullptr;
  stream->user = nullptr;
  stream->body_complete_ = stream->started_ = stream->released_ = stream->tls_ = false;
  stream->remote_size_ = 0;
  streams_.push_back(*stream);
  return stream;
}

void ServerState::give_stream(Stream* stream) {
  stream->unlink();
  stream->body_ = {};
  if (stream->head_block_) loop.blocks().give(std::exchange(stream->head_block_, nullptr));
  if (stream->body_block_) loop.blocks().give(std::exchange(stream->body_block_, nullptr));
  if (free_count_ >= kFreeStreams) {
    delete stream;
    return;
  }
  stream->next_free_ = free_streams_;
  free_streams_ = stream;
  ++free_count_;
}

// Functions mostly say the same again and again, so the last good one is remembered.
bool ServerState::valid_content_type(std::string_view type) {
  if (type == content_type_) return true;
  if (!all(type, kValue)) {
    ++stats.dropped_headers;
    return false;
  }
  content_type_ = type;
  return true;
}

std::string_view ServerState::common_headers() {
  if (loop.now() < date_until_) return common_;
  Nanos wall = wall_ns();
  date_until_ = loop.now() + kSecond - wall % kSecond;
  time_t seconds = static_cast<time_t>(wall / kSecond);
  tm utc;
  gmtime_r(&seconds, &utc);
  // Not strftime's %a and %b: they speak the locale's language.
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[64];
  snprintf(text, sizeof text, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", kDays[utc.tm_wday], utc.tm_mday,
           kMonths[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
  common_.clear();
  if (!options.server_name.empty()) common_.append("Server: ").append(options.server_name).append("\r\n");
  common_ += text;
  return common_;
}

// ---- Server ----

Server::Server(loop::Loop& loop, int listen_fd, Application& application, ServerOptions options, TlsContext* tls)
    : state_(std::make_unique<ServerState>(loop, listen_fd, application, std::move(options), tls)) {}

Server::~Server() = default;

void Server::stop_accepting() { state_->stop_accepting(); }

void Server::drain() {
  state_->draining = true;
  state_->stop_accepting();
  state_->open.for_each([](Connection& connection) { connection.drain(); });
}

size_t Server::connections() const { return state_->open_count; }
const ServerStats& Server::stats() const { return state_->stats; }

}  // namespace kaon::http
