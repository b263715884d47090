#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/clock.h"

namespace kaon::observe {

inline constexpr size_t kEventIdSize = 26;

// What sets the ids of one processor apart from every other's, of this machine and of an earlier run: 50 random bits,
// next to the millisecond in every id. Made once, after the last fork.
struct ProcessorId {
  char text[10];
  static ProcessorId random();
};

// Event ids of one loop: 26 characters of Crockford's base 32 (0-9A-Z without ILOU), which sort by time.
//   9 milliseconds since the epoch · 10 processor · 2 loop · 5 counter within the millisecond
// Those of one generator rise strictly, whatever the wall clock does. Not thread-safe; allocates nothing.
class EventIds {
 public:
  EventIds(const ProcessorId& processor, int loop_index);  // 0 … 1023, no two generators of a processor the same

  // Writes kEventIdSize characters, no end mark. `now` is monotonic, a loop's cached time is good enough.
  void next(Nanos now, char* out) {
    if (now >= turn_ || counter_ >= kCounterEnd) [[unlikely]] turn(now);
    std::memcpy(out, prefix_, sizeof prefix_);
    uint32_t n = counter_++;
    for (int i = kEventIdSize; i-- > static_cast<int>(sizeof prefix_); n >>= 5) out[i] = kDigits[n & 31];
  }

 private:
  static constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  static constexpr uint32_t kCounterEnd = 1u << 25;
  void turn(Nanos now);
  char prefix_[21];
  uint32_t counter_ = 0;
  Nanos turn_ = INT64_MIN;   // when the next millisecond begins
  Nanos resync_ = INT64_MIN;  // when to look at the wall clock again
  Nanos wall_offset_ = 0;
  int64_t millisecond_ = 0;
};

}  // namespace kaon::observe
