#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include "base/fd.h"
#include "observe/log.h"

namespace kaon::observe {
namespace {

constexpr size_t kLevelBegin = 13;  // of a text record: "15:04:05.123 INFO  …"
constexpr size_t kLevelEnd = 18;
constexpr size_t kPipeAtomic = 4096;
constexpr Nanos kPatience = 20 * kMillisecond;
constexpr std::string_view kColours[] = {"\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
constexpr std::string_view kPlain = "\x1b[0m";

bool wants_colour(int fd) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return isatty(fd) && !(no_colour && *no_colour) && !(term && std::strcmp(term, "dumb") == 0);
}

class FdSink final : public Sink {
 public:
  explicit FdSink(int fd) : fd_(fd), colour_(wants_colour(fd)) {
    struct stat status;
    if (fstat(fd, &status) != 0) return;
    socket_ = S_ISSOCK(status.st_mode);
    file_ = S_ISREG(status.st_mode);
    if (S_ISFIFO(status.st_mode) || isatty(fd)) {
      // O_NONBLOCK belongs to the open file, which other processes share; so we open one of our own. It may be denied
      // (a terminal of another user), and then each piece is preceded by a poll.
      std::string path = "/proc/self/fd/" + std::to_string(fd);
      own_.reset(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
      if (own_) fd_ = own_.get();
    }
  }

  void write(Level level, std::string_view line) override {
    std::lock_guard lock(mutex_);
    iovec parts[6];
    int count = 0;
    auto add = [&](std::string_view part) { parts[count++] = {const_cast<char*>(part.data()), part.size()}; };
    if (torn_) add("\n");  // ends what is left of a record that was cut off
    if (colour_ && line.size() > kLevelEnd && line[0] != '{') {
      add(line.substr(0, kLevelBegin));
      add(kColours[static_cast<size_t>(level)]);
      add(line.substr(kLevelBegin, kLevelEnd - kLevelBegin));
      add(kPlain);
      add(line.substr(kLevelEnd));
    } else {
      add(line);
    }
    if (!put(parts, count)) dropped_.fetch_add(1, std::memory_order_relaxed);
  }

  uint64_t dropped() const override { return dropped_.load(std::memory_order_relaxed); }

 private:
  // Whether all of it went out. Sets torn_ when a part did.
  bool put(iovec* parts, int count) {
    bool begun = false;
    Nanos deadline = 0;
    while (count > 0) {
      ssize_t n = put_some(parts, count);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        // Only what has begun is worth a wait; and a reader that let us down once gets no second one.
        if (!begun || torn_) break;
        if (!deadline) deadline = monotonic_ns() + kPatience;
        Nanos left = deadline - monotonic_ns();
        if (left <= 0) break;
        pollfd p{fd_, POLLOUT, 0};
        ::poll(&p, 1, static_cast<int>((left + kMillisecond - 1) / kMillisecond));
        continue;
      }
      if (n < 0) break;
      begun = true;
      for (auto left = static_cast<size_t>(n); count > 0;) {
        size_t step = std::min(left, parts->iov_len);
        parts->iov_base = static_cast<char*>(parts->iov_base) + step;
        parts->iov_len -= step;
        left -= step;
        if (parts->iov_len > 0) break;
        ++parts;
        --count;
      }
    }
    if (begun) torn_ = count > 0;
    return count == 0;
  }

  ssize_t put_some(iovec* parts, int count) {
    if (socket_) {
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = static_cast<size_t>(count);
      return ::sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (own_ || file_) return ::writev(fd_, parts, count);
    // A shared, perhaps blocking descriptor: a pipe that is writable takes at least 4 KiB without blocking.
    pollfd p{fd_, POLLOUT, 0};
    if (::poll(&p, 1, 0) == 0) {
      errno = EAGAIN;
      return -1;
    }
    size_t room = kPipeAtomic;
    iovec some[6];
    int used = 0;
    for (; used < count && room > 0; ++used) {
      some[used] = {parts[used].iov_base, std::min(room, parts[used].iov_len)};
      room -= some[used].iov_len;
    }
    return ::writev(fd_, some, used);
  }

  int fd_;
  Fd own_;
  bool colour_;
  bool socket_ = false;
  bool file_ = false;
  std::mutex mutex_;
  bool torn_ = false;
  std::atomic<uint64_t> dropped_{0};
};

}  // namespace

std::shared_ptr<Sink> make_fd_sink(int fd) { return std::make_shared<FdSink>(fd); }

}  // namespace kaon::observe
