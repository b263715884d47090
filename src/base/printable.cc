#include "base/printable.h"

#include <cstdint>

#include "base/text.h"

namespace kaon {
namespace {

constexpr char kHex[] = "0123456789abcdef";

bool is_plain(char c) { return static_cast<unsigned char>(c - 0x20) < 0x5f; }

// The length of the printable character at the front, or 0; `length` is of the well-formed sequence, or 0.
size_t printable_length(std::string_view text, size_t& length) {
  auto c = static_cast<unsigned char>(text[0]);
  if (c < 0x80) {
    length = 1;
    return c >= 0x20 && c != 0x7f ? 1 : 0;
  }
  length = utf8_length(text);
  auto d = length > 1 ? static_cast<unsigned char>(text[1]) : 0u;
  auto e = length > 2 ? static_cast<unsigned char>(text[2]) : 0u;
  if (c == 0xC2 && d < 0xA0) return 0;                                        // U+0080–U+009F
  if (c == 0xE2 && d == 0x80 && (e == 0x8E || e == 0x8F)) return 0;           // U+200E, U+200F
  if (c == 0xE2 && d == 0x80 && e >= 0xA8 && e <= 0xAE) return 0;             // U+2028–U+202E
  if (c == 0xE2 && d == 0x81 && e >= 0xA6 && e <= 0xA9) return 0;             // U+2066–U+2069
  return length;
}

void append_escape(std::string& out, std::string_view sequence) {
  if (sequence.size() > 1) {
    uint32_t code = static_cast<unsigned char>(sequence[0]) & (sequence.size() == 2 ? 0x1Fu : 0x0Fu);
    for (char c : sequence.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += kHex[code >> shift & 15];
    return;
  }
  auto c = static_cast<unsigned char>(sequence[0]);
  switch (c) {
    case '\n': out += "\\n"; break;
    case '\r': out += "\\r"; break;
    case '\t': out += "\\t"; break;
    default:
      out += "\\x";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

void append(std::string& out, std::string_view text, bool quotes) {
  size_t begin = 0;
  size_t i = 0;
  while (i < text.size()) {
    if (is_plain(text[i]) && !(quotes && (text[i] == '"' || text[i] == '\\'))) {
      ++i;
      continue;
    }
    size_t length = 0;
    size_t printable = printable_length(text.substr(i), length);
    if (printable && !(quotes && (text[i] == '"' || text[i] == '\\'))) {
      i += printable;
      continue;
    }
    out.append(text, begin, i - begin);
    if (printable) {
      out += '\\';
      out += text[i];
    } else {
      append_escape(out, text.substr(i, length ? length : 1));
    }
    i += length ? length : 1;
    begin = i;
  }
  out.append(text, begin, text.size() - begin);
}

}  // namespace

void append_printable(std::string& out, std::string_view text) { append(out, text, false); }

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append(out, text, true);
  out += '"';
}

bool is_printable(std::string_view text) {
  size_t plain = 0;
  while (plain < text.size() && is_plain(text[plain])) ++plain;
  text.remove_prefix(plain);
  while (!text.empty()) {
    size_t length = 0;
    size_t printable = printable_length(text, length);
    if (!printable) return false;
    text.remove_prefix(printable);
  }
  return true;
}

}  // namespace kaon
