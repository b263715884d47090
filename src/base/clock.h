#pragma once
#include <time.h>

#include <cstdint>

namespace kaon {

// Nanoseconds of CLOCK_MONOTONIC. Deadlines are absolute values of it; kNever is later than all of them.
using Nanos = int64_t;
inline constexpr Nanos kNever = INT64_MAX;
inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;

inline Nanos monotonic_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

// Nanoseconds since the Unix epoch, UTC.
inline Nanos wall_ns() {
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

}  // namespace kaon
