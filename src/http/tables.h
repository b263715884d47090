#pragma once
#include <array>
#include <cstdint>
#include <string_view>

// Byte classes of RFC 9110 and 9112; internal to this room.
namespace kaon::http {

inline constexpr uint8_t kToken = 1;   // tchar
inline constexpr uint8_t kTarget = 2;  // what a request target may hold: visible ASCII without '#'
inline constexpr uint8_t kHost = 4;    // what an authority may hold
inline constexpr uint8_t kValue = 8;   // a header's value: no control byte but the tab

inline constexpr auto kByteClass = [] {
  std::array<uint8_t, 256> table{};
  auto alphanumeric = [](int c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
  for (int c = 0; c < 256; ++c) {
    uint8_t& each = table[static_cast<size_t>(c)];
    auto among = [&](std::string_view set) { return c != 0 && c < 128 && set.find(static_cast<char>(c)) != set.npos; };
    if (alphanumeric(c) || among("!#$%&'*+-.^_`|~")) each |= kToken;
    if (c > 0x20 && c < 0x7f && c != '#') each |= kTarget;
    if (alphanumeric(c) || among("-._~!$&'()*+,;=%:[]")) each |= kHost;
    if ((c >= 0x20 && c != 0x7f) || c == '\t') each |= kValue;
  }
  return table;
}();

inline bool is(char c, uint8_t byte_class) { return (kByteClass[static_cast<unsigned char>(c)] & byte_class) != 0; }
inline bool is_token(char c) { return is(c, kToken); }
inline bool is_value(char c) { return is(c, kValue); }
// Whether a token is `known`, which is lower-case letters and '-', four at least; in any case. Setting bit 5 makes a
// letter lower-case and makes no other tchar a letter or '-'.
inline bool is_named(std::string_view token, std::string_view known) {
  size_t size = known.size();
  if (token.size() != size) return false;
  auto differ = [&]<typename Word>(Word bits, size_t at) {
    Word a, b;
    __builtin_memcpy(&a, token.data() + at, sizeof a);
    __builtin_memcpy(&b, known.data() + at, sizeof b);
    return static_cast<Word>((a | bits) ^ b) != 0;
  };
  if (size < 8) return !differ(uint32_t{0x20202020}, 0) && !differ(uint32_t{0x20202020}, size - 4);
  for (size_t at = 0; at + 8 < size; at += 8)
    if (differ(uint64_t{0x2020202020202020}, at)) return false;
  return !differ(uint64_t{0x2020202020202020}, size - 8);
}
inline bool all(std::string_view text, uint8_t byte_class) {
  for (char c : text)
    if (!is(c, byte_class)) return false;
  return true;
}

}  // namespace kaon::http
