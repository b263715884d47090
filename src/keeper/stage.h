#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "keeper/listen.h"

namespace kaon::keeper {

inline constexpr size_t kMaxBlob = 16 << 20;
inline constexpr size_t kMaxListeners = 64;

// What the stager works with, in its own process, as the user who started Kaon.
class StageContext {
 public:
  StageContext(Fd channel, void* user) : user(user), channel_(std::move(channel)) {}

  // Hands over what a processor shall run: bytes that the keeper only keeps for the processors, and the addresses to
  // listen on. Waits until the addresses are bound and a processor has been started, or tells why not. The first one that
  // fails ends the keeper. Each further one, from a stager that has stayed alive, starts a new processor, which takes
  // over when it is ready; addresses that both have keep their sockets, so that no client is refused.
  Result<void> commit(std::string_view blob, std::span<const ListenRequest> listeners);

  void* const user;  // KeeperOptions::user

 private:
  Fd channel_;
};

struct Commit {
  std::string blob;
  std::vector<ListenRequest> listeners;
};

// The keeper's end: takes in commits without ever waiting for the rest of one.
class StageReader {
 public:
  explicit StageReader(Fd channel) : channel_(std::move(channel)) {}
  int fd() const { return channel_.get(); }
  // Reads what is there. kDisconnected when the stager has closed, kInvalid for what is no commit.
  Result<void> read();
  bool complete() const;
  Commit take();  // when complete
  void answer(const Result<void>& result);

 private:
  Fd channel_;
  std::string buffer_;
};

}  // namespace kaon::keeper
