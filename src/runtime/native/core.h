#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "observe/log.h"
#include "runtime/native/library.h"
#include "runtime/native/pool.h"
#include "runtime/native/ticks.h"

namespace kaon::runtime::native {

class NativeCall;
class Core;

// The table as the library sees it, and the way back from it.
struct HostTable {
  kaon_host table;  // first: the library's pointer to it is a pointer to this
  Core* core;
};
kaon_host make_host_table();

// At most one a second.
class RateLimit {
 public:
  bool allow() {
    Nanos now = monotonic_ns();
    Nanos next = next_.load(std::memory_order_relaxed);
    return now >= next && next_.compare_exchange_strong(next, now + kSecond, std::memory_order_relaxed);
  }

 private:
  std::atomic<Nanos> next_{0};
};

struct Options {
  bool inline_ = false;
  unsigned threads = 2;
  size_t max_body_bytes = 64 << 20;
};

// One loaded version: the library, its threads and all its calls. Thread-safe.
class Core {
 public:
  Core(Library library, Options options, observe::Log log);
  ~Core();

  Result<void> init();
  // Ends the threads, then the function. False: a handler did not come back, or holds a handle to a call: the core,
  // and with it the library, must never be destroyed. Every worker is gone.
  [[nodiscard]] bool stop(Nanos deadline);

  bool runs_inline() const { return options_.inline_; }
  size_t max_body_bytes() const { return options_.max_body_bytes; }
  bool wants_whole_body() const { return whole_body_; }
  void handle(kaon_call call) const { handle_(context_, call); }
  Pool& pool() { return pool_; }
  const observe::Log& log() const { return log_; }

  NativeCall* take_slot();           // throws std::bad_alloc
  void give_slot(NativeCall* slot);  // idle

  // An inline handler took so many ticks. True when that is a stall, which has been logged.
  bool stalled(uint64_t count, std::string_view event_id);
  uint64_t stalls() const { return stalls_.load(std::memory_order_relaxed); }
  void misuse(std::string_view what);

 private:
  Library library_;
  const Options options_;
  const observe::Log log_;
  HostTable host_;
  void (*handle_)(void*, kaon_call);
  void* context_ = nullptr;
  bool whole_body_;
  Pool pool_;
  Ticker ticker_;
  std::atomic<uint64_t> stalls_{0};
  std::atomic<uint64_t> misuses_{0};
  RateLimit stall_log_, misuse_log_;
  std::mutex slots_mutex_;
  std::vector<std::unique_ptr<NativeCall>> slots_;
  std::vector<NativeCall*> free_;
};

}  // namespace kaon::runtime::native
