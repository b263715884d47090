#pragma once
#include <string>

#include "base/result.h"
#include "runtime/component.h"

namespace kaon::runtime::native {

// True for what native can run: .so, and the sources that it compiles (.cc .cpp .cxx .c).
bool recognises(const std::string& path);
// Completes `handler` where it is empty or the source is a file; compiles a source, or takes the result of an earlier
// compilation of the same; checks that what a worker will load is in the version's folder. kInvalid with the compiler's
// own words when it does not compile, kTimeout after 60 s, kNotFound with what to install when there is no compiler.
Result<void> build(BuildContext& context);

// The settings, by their Spec's keys.
inline constexpr std::string_view kExecution = "execution";
inline constexpr std::string_view kThreads = "threads";
inline constexpr std::string_view kMaxBodyBytes = "max_body_bytes";
inline constexpr std::string_view kCompilerFlags = "compiler_flags";

}  // namespace kaon::runtime::native
