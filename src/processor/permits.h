#pragma once
#include <atomic>
#include <bit>
#include <cstdint>

#include "base/check.h"

namespace kaon::processor {

// How many calls of one version may be with workers at once, over all loops (at most 64). Lock-free. A loop that finds
// none left says that it waits and is named by a later `release`, so that no permit lies idle while somebody waits.
class Permits {
 public:
  explicit Permits(unsigned count) : free_(static_cast<int>(count)) {}

  bool try_acquire() {
    int free = free_.load(std::memory_order_relaxed);
    while (free > 0)
      if (free_.compare_exchange_weak(free, free - 1, std::memory_order_seq_cst, std::memory_order_relaxed)) return true;
    return false;
  }
  // True: a permit was taken. False: `loop` will be named by a release.
  bool acquire_or_wait(int loop) {
    if (try_acquire()) return true;
    uint64_t bit = uint64_t{1} << loop;
    waiting_.fetch_or(bit, std::memory_order_seq_cst);
    if (!try_acquire()) return false;
    waiting_.fetch_and(~bit, std::memory_order_seq_cst);
    return true;
  }
  // Answers the loop to wake, or -1. A woken loop acquires again, and calls pass_on when it needs no permit any more.
  int release() {
    free_.fetch_add(1, std::memory_order_seq_cst);
    return next_waiting();
  }
  int pass_on() { return free_.load(std::memory_order_seq_cst) > 0 ? next_waiting() : -1; }

 private:
  int next_waiting() {
    uint64_t waiting = waiting_.load(std::memory_order_seq_cst);
    while (waiting != 0) {
      uint64_t lowest = waiting & -waiting;
      if (waiting_.compare_exchange_weak(waiting, waiting & ~lowest, std::memory_order_seq_cst)) return std::countr_zero(lowest);
    }
    return -1;
  }
  alignas(64) std::atomic<int> free_;
  std::atomic<uint64_t> waiting_{0};
};

}  // namespace kaon::processor
