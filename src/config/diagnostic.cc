#include "config/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "base/text.h"

namespace kaon::config {

std::string Diagnostic::text() const {
  std::string_view word = severity == Severity::kError ? "error" : "warning";
  if (line == 0) return fmt::format("{}: {}: {}", file, word, message);
  return fmt::format("{}:{}:{}: {}: {}", file, line, column, word, message);
}

std::string printable(std::string_view text, size_t limit) {
  size_t cut = 0;
  while (cut < text.size() && cut < limit) cut += std::max<size_t>(1, utf8_length(text.substr(cut)));
  std::string out;
  append_printable(out, text.substr(0, cut));
  if (cut < text.size()) out += "…";
  return out;
}

std::string quoted(std::string_view text, size_t limit) { return "`" + printable(text, limit) + "`"; }

}  // namespace kaon::config
