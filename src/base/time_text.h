#pragma once
#include <string_view>

#include "base/clock.h"

namespace kaon {

inline constexpr size_t kTimeTextSize = 24;

// Writes "2026-11-22T21:50:22.123Z" (RFC 3339, UTC, milliseconds) for nanoseconds since the Unix epoch. `out` holds
// kTimeTextSize characters; no NUL is written.
std::string_view write_time(char* out, Nanos since_epoch);

}  // namespace kaon
