#include "base/check.h"

namespace kaon {

void check_failed(const char* file, int line, const char* condition, std::string operands) {
  std::string message = "bug: ";
  message += file;
  message += ':';
  message += std::to_string(line);
  message += ": ";
  message += condition;
  if (!operands.empty()) message += " [" + operands + "]";
  throw CheckFailure(message);
}

}  // namespace kaon
