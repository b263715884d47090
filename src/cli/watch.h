#pragma once
#include <string>

#include "cli/stage.h"

namespace kaon::cli {

// Stages each change of the function's files and lets the running processor take over to it. A change that does not
// build leaves the version before it serving; its error is printed. Returns only when it cannot watch.
Result<void> watch(Stager& stager, std::string version, const std::string& control);

}  // namespace kaon::cli
