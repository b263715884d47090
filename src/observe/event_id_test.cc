#include "observe/event_id.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace kaon::observe {
namespace {

std::string next(EventIds& ids, Nanos now) {
  std::string id(kEventIdSize, 0);
  ids.next(now, id.data());
  return id;
}

TEST(EventId, RisesWhateverTheClockDoes) {
  EventIds ids(ProcessorId::random(), 7);
  std::string last;
  Nanos now = monotonic_ns();
  for (int i = 0; i < 200'000; ++i) {
    // Forwards, standing, and half a second back.
    now += i % 1'000 == 999 ? -500 * kMillisecond : i % 3 * kMillisecond / 10;
    std::string id = next(ids, now);
    ASSERT_LT(last, id);
    ASSERT_EQ(id.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZ"), std::string::npos) << id;
    last = id;
  }
}

TEST(EventId, AFullMillisecondGoesOnInTheNext) {
  EventIds ids(ProcessorId::random(), 0);
  char a[kEventIdSize], b[kEventIdSize];
  Nanos now = monotonic_ns();
  ids.next(now, a);
  for (uint32_t i = 0; i < (1u << 25) + 10; ++i) {
    ids.next(now, b);
    ASSERT_LT(std::string_view(a, sizeof a), std::string_view(b, sizeof b));
    std::copy_n(b, sizeof b, a);
  }
}

TEST(EventId, ProcessorsLoopsAndRunsDoNotMeet) {
  ProcessorId one = ProcessorId::random();
  ProcessorId two = ProcessorId::random();
  Nanos now = monotonic_ns();
  std::vector<std::string> all;
  for (const ProcessorId& processor : {one, two}) {
    for (int loop : {0, 1, 1023}) {
      EventIds ids(processor, loop);
      for (int i = 0; i < 1'000; ++i) all.push_back(next(ids, now));
    }
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
}

TEST(EventId, BeginsWithTheTime) {
  EventIds ids(ProcessorId::random(), 0);
  std::string id = next(ids, monotonic_ns());
  uint64_t milliseconds = 0;
  for (char c : id.substr(0, 9)) {
    milliseconds = milliseconds * 32 + std::string_view("0123456789ABCDEFGHJKMNPQRSTVWXYZ").find(c);
  }
  EXPECT_NEAR(static_cast<double>(milliseconds), static_cast<double>(wall_ns() / kMillisecond), 100);
}

}  // namespace
}  // namespace kaon::observe
