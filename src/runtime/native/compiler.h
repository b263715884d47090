#pragma once
#include <span>
#include <string>

#include "base/result.h"

namespace kaon::runtime::native {

// The C++ compiler: $CXX, or the first of c++, g++ and clang++ on $PATH. An absolute path.
Result<std::string> find_compiler();
// The folder that holds c/kaon.h and cpp/kaon.hpp: $KAON_SDK_DIR, or beside the running program.
Result<std::string> find_sdk();

struct Compilation {
  std::string source;  // absolute paths
  std::string output;
  std::string compiler;
  std::string sdk;
  std::span<const std::string> flags;  // after the source
};

// Compiles one source into a shared library. Without a shell. kInvalid with the compiler's output (its first 64 KiB);
// kTimeout after 60 s, when the compiler and all that it has started are killed.
Result<void> compile(const Compilation& compilation);

// What the result depends on, except for the system's headers: a name for it in the cache. `dependencies` is a file that
// an earlier compilation has written; when there is none the answer is empty.
std::string compile_key(const Compilation& compilation);
Result<std::string> content_key(const std::string& compile_key, const std::string& dependencies);

}  // namespace kaon::runtime::native
