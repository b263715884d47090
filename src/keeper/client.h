#pragma once
#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "keeper/protocol.h"

namespace kaon::keeper {

// A process to start. All of it is read before spawn() returns; descriptors stay the caller's.
struct SpawnRequest {
  uint64_t id = 0;  // unique among this channel's live children
  uint32_t policy = kPlainPolicy;
  std::string_view path;                          // absolute, or relative to `folder`; no search in PATH
  std::span<const std::string_view> arguments;    // with argv[0]
  std::span<const std::string_view> environment;  // NAME=value
  int standard_input = -1, standard_output = -1, standard_error = -1;
  int executable = -1;  // instead of `path`; no script
  int folder = -1;      // working directory; -1: the root directory
  bool quiet = false;   // no kSpawned reply
  bool pidfd = false;
};

// The processor's end of one channel to the keeper. Never blocks, starts no thread; one thread at a time.
class Client {
 public:
  explicit Client(Fd fd);
  Client(Client&&) = default;
  Client& operator=(Client&&) = default;

  int fd() const { return fd_.get(); }

  // kInvalid: a NUL in a string, or more than kMaxBytes. kOverloaded: the keeper is far behind. Success means that the
  // request is on its way; kSpawned, kFailed and kExited replies tell the rest.
  Result<void> spawn(const SpawnRequest& request);
  // Signals the whole process group. A child that has gone is no error.
  Result<void> kill(uint64_t id, int signal);
  Result<void> ready();
  Result<void> finished(int exit_code);

  // Requests that wait until the socket takes them: watch for writability and flush while this is true.
  bool waiting() const { return !queue_.empty(); }
  Result<void> flush();

  // What has arrived, at most replies.size(); 0 when nothing has. `pidfds`, when given, is as long as `replies` and takes
  // a descriptor, or -1, for each. kDisconnected when the keeper has gone.
  Result<size_t> receive(std::span<Reply> replies, std::span<int> pidfds = {});

 private:
  struct Queued {
    std::string bytes;
    Fd fds[6];
    int fd_count = 0;
  };
  Result<bool> send(std::string_view bytes, std::span<const int> fds);  // false: the socket is full
  Result<void> send_or_queue(std::string_view bytes, std::span<const int> fds);
  Result<void> control(Kind kind, uint64_t id, int value);

  Fd fd_;
  std::string scratch_;
  std::deque<Queued> queue_;
  size_t queued_bytes_ = 0;
};

// A message for a person about a kFailed reply to a spawn of `path`. kOverloaded where it helps to wait, kInvalid when the
// arguments are too large, kUserCode when the executable is to blame.
Error spawn_error(const Reply& reply, std::string_view path);

}  // namespace kaon::keeper
