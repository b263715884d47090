#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "keeper/client.h"
#include "loop/loop.h"

namespace kaon::runtime {

struct Usage {
  int64_t user_us = 0, system_us = 0;  // of the process and of those children that it waited for
  int64_t max_rss_kib = 0;
};

class Spawner;

// What hears of one process at a time. When it is destroyed first, nobody hears of it, and the process lives on.
class Child {
 public:
  virtual void on_spawned(pid_t pid) { (void)pid; }  // not for a quiet request
  virtual void on_failed(const Error& error) = 0;    // it did not start
  // As wait(2) tells it. Its process group has been killed before, and what it wrote lies in its pipes.
  virtual void on_exit(int status, const Usage& usage) = 0;
  bool running() const { return spawner_ != nullptr; }  // from spawn() until one of the last two

 protected:
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

 private:
  friend class Spawner;
  Spawner* spawner_ = nullptr;
  uint64_t id_ = 0;
};

// Starts processes through the keeper and hears of their ends, on its loop. One for each loop.
class Spawner final : loop::Watcher::Target {
 public:
  Spawner(loop::Loop& loop, keeper::Client client);
  ~Spawner();
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  // `request.id` is chosen here. The descriptors may be closed after the return. An error, and then no call of `child`,
  // when the request cannot be sent: kInvalid, kOverloaded, kDisconnected. `child` is not called before the return.
  Result<void> spawn(keeper::SpawnRequest request, Child& child);
  // Signals its whole process group; nothing when it is not running.
  void kill(Child& child, int signal);

  keeper::Client& client() { return client_; }

 private:
  friend class Child;
  struct Slot {
    Child* child = nullptr;
    uint64_t id = 0;   // 0: free
    std::string path;  // for messages; keeps its memory
  };
  void on_ready(int ready) override;
  void handle(const keeper::Reply& reply);
  void lose(const Error& error);
  void watch();
  Slot* find(uint64_t id);
  void free(Slot& slot);

  keeper::Client client_;
  loop::Watcher watcher_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  uint64_t serial_ = 0;
};

}  // namespace kaon::runtime
