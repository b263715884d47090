#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "observe/random.h"

namespace kaon::observe {

// Where a span stands, as W3C Trace Context has it.
struct TraceContext {
  std::array<uint8_t, 16> trace_id{};  // not all zero
  std::array<uint8_t, 8> span_id{};    // not all zero
  uint8_t flags = 0;

  static constexpr uint8_t kSampled = 1;
  bool sampled() const { return flags & kSampled; }
  bool operator==(const TraceContext&) const = default;
};

inline constexpr size_t kTraceparentSize = 55;

// A `traceparent` header of version 00, or the part of a later version that 00 has. Empty when it is not valid: the
// header is then to be ignored, and a new trace begun.
std::optional<TraceContext> parse_traceparent(std::string_view text);

// Version 00, kTraceparentSize characters, no end mark.
void write_traceparent(const TraceContext& context, char* out);

// Makes spans. One for each loop, as Random.
class Tracer {
 public:
  // The first span of a new trace.
  TraceContext start(bool sampled);
  // A span within `parent`. Of its flags only `sampled` is passed on, as version 00 knows no other.
  TraceContext child(const TraceContext& parent);
  // The child of the parent that a header names, or a new trace.
  TraceContext continue_from(std::string_view traceparent, bool sampled_when_new);

 private:
  Random random_;
};

}  // namespace kaon::observe
