#include "config/diagnostic.h"

#include <fmt/format.h>

#include "base/text.h"

namespace kaon::config {

std::string Diagnostic::text() const {
  std::string_view word = severity == Severity::kError ? "error" : "warning";
  if (line == 0) return fmt::format("{}: {}: {}", file, word, message);
  return fmt::format("{}:{}:{}: {}: {}", file, line, column, word, message);
}

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  size_t i = 0;
  while (i < text.size() && i < limit) {
    auto c = static_cast<unsigned char>(text[i]);
    size_t length = utf8_length(text.substr(i));
    // U+0080 to U+009F are control characters too: a terminal may take U+009B for the start of an escape sequence.
    bool c1 = length == 2 && c == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c < 0x20 || c == 0x7f || length == 0 || c1) {
      for (size_t j = i; j < i + (c1 ? 2 : 1); ++j)
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(text[j]));
    } else {
      out.append(text, i, length);
    }
    i += length == 0 ? 1 : length;
  }
  if (i < text.size()) out += "…";
  return out;
}

std::string quoted(std::string_view text, size_t limit) { return "`" + printable(text, limit) + "`"; }

}  // namespace kaon::config
