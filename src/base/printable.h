#pragma once
#include <string>
#include <string_view>

namespace kaon {

// Text from outside, made safe to show to a person: control characters (C0, DEL, C1), line and paragraph separators,
// bidirectional overrides and malformed UTF-8 become visible escapes (\n, \x1b, \u202e), so that it can neither forge a
// line nor steer a terminal.

// Leaves quotes and backslashes alone: for prose.
void append_printable(std::string& out, std::string_view text);
// Between double quotes, with quotes and backslashes escaped.
void append_quoted(std::string& out, std::string_view text);
inline std::string quoted(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}
// Whether nothing in `text` needs an escape.
bool is_printable(std::string_view text);

}  // namespace kaon
