#pragma once
#include "base/clock.h"
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace kaon::runtime::native {

// A clock that costs a few nanoseconds, for asking whether a handler was slow: a third of a clock_gettime, and read
// twice for each inline event. Its unit is known only by comparing it with the real clock (Ticker). A machine whose
// counters are not in step miscounts a statistic and nothing else.
inline uint64_t ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#elif defined(__aarch64__)
  uint64_t value;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
#else
  return static_cast<uint64_t>(monotonic_ns());
#endif
}

class Ticker {
 public:
  Ticker() : ticks_(ticks()), nanos_(monotonic_ns()) {}
  // Fewer ticks than this are under 10 ms on any machine: no counter is slower than 1 MHz, no x86 one than 500 MHz.
#if defined(__x86_64__)
  static constexpr uint64_t kSurelyShort = 5'000'000;
#else
  static constexpr uint64_t kSurelyShort = 10'000;
#endif
  // For counts past kSurelyShort, which have passed since this was made, so that there is enough to compare.
  Nanos nanos(uint64_t count) const {
    uint64_t all = ticks() - ticks_;
    if (all == 0) return 0;
    return static_cast<Nanos>(static_cast<double>(count) * static_cast<double>(monotonic_ns() - nanos_) /
                              static_cast<double>(all));
  }

 private:
  uint64_t ticks_;
  Nanos nanos_;
};

}  // namespace kaon::runtime::native
