#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kaon {

// Bytes of the well-formed UTF-8 sequence that `text` begins with (RFC 3629), or 0 when it begins with none.
size_t utf8_length(std::string_view text);

// The candidate nearest to `word` by edit distance, or empty when none is near enough to be worth naming.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

// ASCII, without a locale.
inline char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
inline bool equals_ignore_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i] && to_lower(a[i]) != to_lower(b[i])) return false;
  return true;
}

// A whole decimal number, no sign, no space; empty on anything else or overflow.
std::optional<uint64_t> parse_uint(std::string_view text);

}  // namespace kaon
