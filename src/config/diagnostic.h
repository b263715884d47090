#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace kaon::config {

enum class Severity : uint8_t { kError, kWarning };

// One problem of a configuration file.
struct Diagnostic {
  std::string file;
  int line = 0;    // from 1; 0: the file as a whole
  int column = 0;  // from 1, in characters
  std::string message;
  Severity severity = Severity::kError;
  ErrorCode code = ErrorCode::kInvalid;

  // One line, as compilers write it: "function.yaml:3:5: error: …".
  std::string text() const;
};

// `text` on one line, safe to print on a terminal: control characters and bad UTF-8 escaped, cut after `limit` bytes.
std::string printable(std::string_view text, size_t limit);
// The same in backticks.
std::string quoted(std::string_view text, size_t limit = 60);

}  // namespace kaon::config
