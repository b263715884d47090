#pragma once
#include <cstddef>
#include <cstdint>

// Limits that the common keys, their reading and their schema share.
namespace kaon::config {

inline constexpr int64_t kMaxTimeoutMs = 86'400'000;
inline constexpr int64_t kMaxWorkers = 4096;
inline constexpr int64_t kMaxConcurrency = 65'536;
inline constexpr int64_t kMaxInFlight = 1'000'000;
inline constexpr size_t kMaxTriggers = 64;

inline constexpr char kFunctionNamePattern[] = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
inline constexpr char kFunctionNameRule[] = "1 to 63 of a to z, 0 to 9 and `-`, without `-` at the ends";

}  // namespace kaon::config
