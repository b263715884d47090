#include "observe/event_id.h"

#include <algorithm>

#include "base/check.h"
#include "observe/random.h"

namespace kaon::observe {
namespace {

constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr Nanos kResync = 10 * kSecond;

void put(char* out, size_t digits, uint64_t number) {
  for (size_t i = digits; i-- > 0; number >>= 5) out[i] = kDigits[number & 31];
}

}  // namespace

ProcessorId ProcessorId::random() {
  ProcessorId id;
  Random random;
  put(id.text, sizeof id.text, random.next());
  return id;
}

EventIds::EventIds(const ProcessorId& processor, int loop_index) {
  KAON_CHECK(loop_index >= 0 && loop_index < 1024, loop_index);
  std::copy_n(processor.text, sizeof processor.text, prefix_ + 9);
  put(prefix_ + 19, 2, static_cast<uint64_t>(loop_index));
}

void EventIds::turn(Nanos now) {
  if (now >= resync_) {  // the wall clock is set now and then, and runs on while the machine sleeps
    wall_offset_ = wall_ns() - monotonic_ns();
    resync_ = now + kResync;
  }
  int64_t millisecond = (now + wall_offset_) / kMillisecond;
  turn_ = (millisecond + 1) * kMillisecond - wall_offset_;
  // A clock that stood or went back: the old millisecond goes on, and ends early when its counter does.
  if (millisecond <= millisecond_ && counter_ < kCounterEnd) return;
  millisecond_ = std::max(millisecond, millisecond_ + 1);
  counter_ = 0;
  put(prefix_, 9, static_cast<uint64_t>(millisecond_));
}

}  // namespace kaon::observe
