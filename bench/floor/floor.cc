// The floor of the HTTP comparisons: the least that a correct HTTP/1.1 echo server does. One thread for each listening
// socket (SO_REUSEPORT), edge-triggered epoll, one read and one write for a request, no allocation for one. It has no
// time-outs, no TLS, no routes and no chunked bodies; what it does have is right, since a slow or a wrong floor would
// make what is measured against it look good.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "request.h"

namespace bench {
namespace {

constexpr size_t kMaxHead = 16 * 1024;
constexpr size_t kMaxBody = 64 * 1024 * 1024;
constexpr size_t kScratch = 64 * 1024;   // what a connection without a buffer of its own reads into
constexpr size_t kCopied = 2048;         // a body up to this size goes out with its head in one piece
constexpr size_t kMaxDrained = 1 << 20;  // read and dropped after an error, so that the client sees the answer
constexpr size_t kMargin = 4096;
constexpr int kEvents = 256;
constexpr int kPieces = 64;

[[noreturn]] void die(const char* what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

// The bytes of a connection that could not be used up at once.
class Buffer {
 public:
  char* data() { return data_.get(); }
  size_t capacity() const { return capacity_; }
  void reserve(size_t size, size_t keep) {
    if (size <= capacity_) return;
    auto larger = std::make_unique_for_overwrite<char[]>(size);
    if (keep) memcpy(larger.get(), data_.get(), keep);
    data_ = std::move(larger);
    capacity_ = size;
  }
  void free() {
    data_.reset();
    capacity_ = 0;
  }

 private:
  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
};

struct Connection {
  int fd = -1;
  Buffer input;        // holds `filled` bytes of requests that are not answered yet
  size_t filled = 0;
  size_t wanted = 0;   // no use to parse before `filled` reaches it
  bool continued = false;  // 100 Continue has been sent for the request that `input` begins with
  bool ending = false;     // close when everything is written
  bool draining = false;   // everything is written, the write side is shut; waits for the client to close
  bool hung_up = false;    // the client sends nothing more
  size_t drained = 0;
  std::string output;      // what the socket did not take
  size_t sent = 0;
};

// The answers to the requests of one read, gathered for one write.
class Output {
 public:
  // Room for one more small piece and one large one.
  bool full() const { return count_ + 2 > kPieces || used_ + 256 + kCopied > sizeof scratch_; }
  bool empty() const { return count_ == 0; }

  void add_copy(std::string_view text) {
    memcpy(scratch_ + used_, text.data(), text.size());
    iovec* last = count_ ? &pieces_[count_ - 1] : nullptr;
    if (last && static_cast<char*>(last->iov_base) + last->iov_len == scratch_ + used_) {
      last->iov_len += text.size();
    } else {
      pieces_[count_++] = {scratch_ + used_, text.size()};
    }
    used_ += text.size();
  }
  void add_body(std::string_view body) {
    if (body.size() <= kCopied) {
      add_copy(body);
    } else {
      pieces_[count_++] = {const_cast<char*>(body.data()), body.size()};
    }
  }

  // False when the connection is broken. What the socket does not take is copied to the connection.
  bool flush(Connection& connection) {
    if (empty()) return true;
    ssize_t written;
    do {
      if (count_ == 1) {
        written = send(connection.fd, pieces_[0].iov_base, pieces_[0].iov_len, MSG_NOSIGNAL);
      } else {
        msghdr message{};
        message.msg_iov = pieces_;
        message.msg_iovlen = size_t(count_);
        written = sendmsg(connection.fd, &message, MSG_NOSIGNAL);
      }
    } while (written < 0 && errno == EINTR);
    if (written < 0 && errno != EAGAIN) return false;
    size_t skip = written < 0 ? 0 : size_t(written);
    for (int i = 0; i < count_; ++i) {
      size_t size = pieces_[i].iov_len;
      size_t gone = size < skip ? size : skip;
      skip -= gone;
      if (gone < size) connection.output.append(static_cast<char*>(pieces_[i].iov_base) + gone, size - gone);
    }
    count_ = 0;
    used_ = 0;
    return true;
  }

 private:
  iovec pieces_[kPieces];
  int count_ = 0;
  size_t used_ = 0;
  char scratch_[32 * 1024];
};

// One thread's listening socket and the connections that it accepted.
class Server {
 public:
  explicit Server(uint16_t port) : port_(port), scratch_(std::make_unique_for_overwrite<char[]>(kScratch)) {}
  void listen();
  uint16_t port() const { return port_; }
  [[noreturn]] void run();

 private:
  void accept_all();
  void on_ready(Connection& connection, uint32_t events);
  // These answer false when the connection must be closed.
  bool read_all(Connection& connection);
  bool write_rest(Connection& connection);
  bool drain(Connection& connection);
  bool answer(Connection& connection, char* data, size_t size);
  // The number of bytes used up.
  size_t answer_requests(Connection& connection, std::string_view input);
  void echo(const Request& request, std::string_view body);
  void refuse(Connection& connection, std::string_view status);
  bool keep(Connection& connection, const char* rest, size_t size);
  void refresh_date();

  uint16_t port_;
  int listener_ = -1;
  int epoll_ = -1;
  int spare_ = -1;  // given up for a moment when descriptors run out
  std::unique_ptr<char[]> scratch_;
  Output output_;
  time_t second_ = 0;
  char date_[64] = {};
  size_t date_size_ = 0;
};

void Server::listen() {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener_ < 0) die("socket");
  int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener_, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  setsockopt(listener_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // Linux: accepted sockets inherit it
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) die("bind");
  if (::listen(listener_, 4096) < 0) die("listen");
  socklen_t size = sizeof address;
  if (getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) < 0) die("getsockname");
  port_ = ntohs(address.sin_port);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) die("epoll_create1");
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event) < 0) die("epoll_ctl");
}

void Server::run() {
  epoll_event events[kEvents];
  for (;;) {
    int count = epoll_wait(epoll_, events, kEvents, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    refresh_date();
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr) {
        on_ready(*static_cast<Connection*>(events[i].data.ptr), events[i].events);
      } else {
        accept_all();
      }
    }
  }
}

void Server::accept_all() {
  for (int i = 0; i < 64; ++i) {
    int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if ((errno == EMFILE || errno == ENFILE) && spare_ >= 0) {
        close(spare_);
        fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) close(fd);
        spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
        continue;
      }
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;
    }
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = connection.get();
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) < 0) {
      close(fd);
      continue;
    }
    connection.release();  // the epoll set has it until on_ready deletes it
  }
}

void Server::on_ready(Connection& connection, uint32_t events) {
  bool open = !(events & (EPOLLERR | EPOLLHUP));
  if (events & EPOLLRDHUP) connection.hung_up = true;
  if (open && !connection.output.empty()) open = write_rest(connection);
  // Edge-triggered: what is readable while output waits is read as soon as the output has gone.
  if (open && connection.output.empty() && (events & (EPOLLIN | EPOLLRDHUP | EPOLLOUT))) {
    open = connection.draining ? drain(connection) : read_all(connection);
  }
  if (open) return;
  close(connection.fd);
  delete &connection;
}

bool Server::read_all(Connection& connection) {
  for (;;) {
    bool own = connection.input.capacity() > 0;
    char* place = own ? connection.input.data() + connection.filled : scratch_.get();
    size_t room = own ? connection.input.capacity() - connection.filled : kScratch;
    ssize_t size = recv(connection.fd, place, room, 0);
    if (size < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    if (size == 0) return false;
    size_t filled = connection.filled + size_t(size);
    if (filled < connection.wanted) {
      connection.filled = filled;
    } else if (!answer(connection, own ? connection.input.data() : place, filled)) {
      return false;
    }
    if (!connection.output.empty() || connection.draining) return true;
    // A short read has emptied the socket, unless an end of the stream stands behind the data.
    if (size_t(size) < room && !connection.hung_up) return true;
  }
}

// Answers what is complete in `data`, which is the scratch buffer or the connection's own, and keeps the rest.
bool Server::answer(Connection& connection, char* data, size_t size) {
  size_t used = 0;
  bool stuck = false;
  while (used < size && !stuck && !connection.ending && connection.output.empty()) {
    size_t n = answer_requests(connection, {data + used, size - used});
    stuck = n == 0;
    used += n;
    if (!output_.flush(connection)) return false;
  }
  if (connection.ending) {
    connection.filled = 0;
    if (!connection.output.empty()) return true;
    shutdown(connection.fd, SHUT_WR);
    connection.draining = true;
    return drain(connection);
  }
  return keep(connection, data + used, size - used);
}

bool Server::keep(Connection& connection, const char* rest, size_t size) {
  connection.filled = size;
  if (size == 0) {
    // A buffer that was needed for a large body stays for the next; after a small one the scratch buffer does.
    if (connection.input.capacity() > kScratch && connection.wanted <= kScratch) connection.input.free();
    connection.wanted = 0;
    return true;
  }
  Buffer& input = connection.input;
  bool own = input.capacity() > 0 && rest >= input.data() && rest < input.data() + input.capacity();
  // With a margin, so that the read which completes a request is a short one and needs no second to find the end.
  size_t room = std::max(connection.wanted, std::max(size, kMaxHead)) + kMargin;
  if (own) {
    if (rest != input.data()) memmove(input.data(), rest, size);
    input.reserve(room, size);
  } else {
    input.reserve(room, 0);
    memcpy(input.data(), rest, size);
  }
  return true;
}

size_t Server::answer_requests(Connection& connection, std::string_view input) {
  size_t used = 0;
  while (used < input.size() && !output_.full() && !connection.ending) {
    std::string_view rest = input.substr(used);
    Request request;
    Parse parse = parse_request(rest, request);
    connection.wanted = 0;
    if (parse == Parse::kIncomplete) {
      if (rest.size() > kMaxHead) refuse(connection, "431 Request Header Fields Too Large");
      break;
    }
    if (parse == Parse::kBad) refuse(connection, "400 Bad Request");
    if (parse == Parse::kUnknown) refuse(connection, "501 Not Implemented");
    if (parse != Parse::kComplete) break;
    if (request.head_size > kMaxHead) {
      refuse(connection, "431 Request Header Fields Too Large");
      break;
    }
    if (request.body_size > kMaxBody) {
      refuse(connection, "413 Content Too Large");
      break;
    }
    size_t size = request.head_size + request.body_size;
    connection.wanted = size;
    if (rest.size() < size) {
      if (request.expects_continue && !connection.continued) output_.add_copy("HTTP/1.1 100 Continue\r\n\r\n");
      connection.continued = true;
      break;
    }
    echo(request, rest.substr(request.head_size, request.body_size));
    connection.continued = false;
    connection.ending = !request.keep_alive;
    used += size;
  }
  return used;
}

void Server::echo(const Request& request, std::string_view body) {
  char head[256];
  char* end = head;
  auto add = [&end](std::string_view text) {
    memcpy(end, text.data(), text.size());
    end += text.size();
  };
  add("HTTP/1.1 200 OK\r\n");
  add({date_, date_size_});
  if (!request.keep_alive) add("Connection: close\r\n");
  add("Content-Length: ");
  end = std::to_chars(end, head + sizeof head, body.size()).ptr;
  add("\r\n\r\n");
  output_.add_copy({head, size_t(end - head)});
  if (!request.head_only) output_.add_body(body);
}

void Server::refuse(Connection& connection, std::string_view status) {
  output_.add_copy("HTTP/1.1 ");
  output_.add_copy(status);
  output_.add_copy("\r\n");
  output_.add_copy({date_, date_size_});
  output_.add_copy("Connection: close\r\nContent-Length: 0\r\n\r\n");
  connection.ending = true;
}

bool Server::write_rest(Connection& connection) {
  std::string& output = connection.output;
  while (connection.sent < output.size()) {
    ssize_t n = send(connection.fd, output.data() + connection.sent, output.size() - connection.sent, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    connection.sent += size_t(n);
  }
  output.clear();
  connection.sent = 0;
  if (connection.ending) {
    shutdown(connection.fd, SHUT_WR);
    connection.draining = true;
    return true;
  }
  // Requests that waited behind the output.
  if (connection.filled == 0 || connection.filled < connection.wanted) return true;
  return answer(connection, connection.input.data(), connection.filled);
}

bool Server::drain(Connection& connection) {
  for (;;) {
    ssize_t n = recv(connection.fd, scratch_.get(), kScratch, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    connection.drained += size_t(n);
    if (n == 0 || connection.drained > kMaxDrained) return false;
  }
}

void Server::refresh_date() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec == second_) return;
  second_ = now.tv_sec;
  tm parts;
  gmtime_r(&second_, &parts);
  date_size_ = strftime(date_, sizeof date_, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
}

int usage() {
  fputs("usage: floor [--port N] [--threads N]\nAn HTTP/1.1 echo server on 127.0.0.1; port 0 chooses one and prints it.\n",
        stderr);
  return 2;
}

int main(int argc, char** argv) {
  long port = 0, threads = 1;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return usage();
    char* end;
    long value = strtol(argv[i + 1], &end, 10);
    if (*end || end == argv[i + 1]) return usage();
    if (std::string_view(argv[i]) == "--port" && value >= 0 && value <= 65535) {
      port = value;
    } else if (std::string_view(argv[i]) == "--threads" && value >= 1 && value <= 256) {
      threads = value;
    } else {
      return usage();
    }
  }
  signal(SIGPIPE, SIG_IGN);
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  std::vector<std::unique_ptr<Server>> servers;
  for (long i = 0; i < threads; ++i) {
    servers.push_back(std::make_unique<Server>(uint16_t(port)));
    servers.back()->listen();
    port = servers.back()->port();
  }
  printf("listening on 127.0.0.1:%ld\n", port);
  fflush(stdout);
  std::vector<std::thread> running;
  for (size_t i = 1; i < servers.size(); ++i) running.emplace_back([&server = *servers[i]] { server.run(); });
  servers[0]->run();
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::main(argc, argv); }
