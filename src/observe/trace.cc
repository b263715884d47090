#include "observe/trace.h"

#include <algorithm>
#include <cstring>

namespace kaon::observe {
namespace {

constexpr char kHex[] = "0123456789abcdef";

constexpr auto kDigits = [] {
  std::array<int8_t, 256> digits{};
  digits.fill(-1);
  for (int i = 0; i < 16; ++i) digits[static_cast<unsigned char>(kHex[i])] = static_cast<int8_t>(i);  // upper case is not valid
  return digits;
}();

int digit(char c) { return kDigits[static_cast<unsigned char>(c)]; }

template <size_t kSize>
bool read_hex(const char* text, std::array<uint8_t, kSize>& out) {
  int bad = 0;
  for (size_t i = 0; i < kSize; ++i) {
    int value = digit(text[2 * i]) * 16 | digit(text[2 * i + 1]);
    bad |= value;
    out[i] = static_cast<uint8_t>(value);
  }
  return bad >= 0;
}

template <size_t kSize>
char* write_hex(char* out, const std::array<uint8_t, kSize>& bytes) {
  for (uint8_t byte : bytes) {
    *out++ = kHex[byte >> 4];
    *out++ = kHex[byte & 15];
  }
  return out;
}

template <size_t kSize>
bool is_zero(const std::array<uint8_t, kSize>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

template <size_t kSize>
void fill(std::array<uint8_t, kSize>& bytes, Random& random) {
  do {
    for (size_t i = 0; i < kSize; i += 8) {
      uint64_t word = random.next();
      std::memcpy(bytes.data() + i, &word, 8);
    }
  } while (is_zero(bytes));
}

}  // namespace

std::optional<TraceContext> parse_traceparent(std::string_view text) {
  if (text.size() < kTraceparentSize || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  std::array<uint8_t, 1> version, flags;
  TraceContext context;
  if (!read_hex(text.data(), version) || !read_hex(text.data() + 3, context.trace_id) ||
      !read_hex(text.data() + 36, context.span_id) || !read_hex(text.data() + 53, flags)) {
    return std::nullopt;
  }
  if (version[0] == 0xff || is_zero(context.trace_id) || is_zero(context.span_id)) return std::nullopt;
  // Version 00 ends here; a later one may go on, after another dash.
  if (text.size() > kTraceparentSize && (version[0] == 0 || text[kTraceparentSize] != '-')) return std::nullopt;
  context.flags = flags[0];
  return context;
}

void write_traceparent(const TraceContext& context, char* out) {
  *out++ = '0';
  *out++ = '0';
  *out++ = '-';
  out = write_hex(out, context.trace_id);
  *out++ = '-';
  out = write_hex(out, context.span_id);
  *out++ = '-';
  *out++ = kHex[context.flags >> 4];
  *out++ = kHex[context.flags & 15];
}

TraceContext Tracer::start(bool sampled) {
  TraceContext context;
  fill(context.trace_id, random_);
  fill(context.span_id, random_);
  context.flags = sampled ? TraceContext::kSampled : 0;
  return context;
}

TraceContext Tracer::child(const TraceContext& parent) {
  TraceContext context;
  context.trace_id = parent.trace_id;
  fill(context.span_id, random_);
  context.flags = parent.flags & TraceContext::kSampled;
  return context;
}

TraceContext Tracer::continue_from(std::string_view traceparent, bool sampled_when_new) {
  auto parent = parse_traceparent(traceparent);
  return parent ? child(*parent) : start(sampled_when_new);
}

}  // namespace kaon::observe
