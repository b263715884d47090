#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "artifact/store.h"
#include "base/result.h"

namespace kaon::artifact {

struct CopyLimits {
  size_t entries = 10'000;  // files, folders and symlinks together
  uint64_t bytes = 1ull << 30;
  int depth = 64;  // of folders within the function's
};

// Copies a function's folder into a staging, or a single file under its own name. The source may be hostile and may
// change meanwhile: nothing outside it is read, and nothing but files, folders, and symlinks that stay within what was
// copied arrives. Of the mode only the right to execute is kept. Left out are `.git`, `__pycache__`, `.kaonignore` and
// what that lists (see Ignore), and the store itself. kInvalid for what cannot be copied and past a limit; each message
// names the file. After an error the staging is to be dropped.
Result<void> copy_tree(const std::string& from, const Staging& to, const CopyLimits& limits = {});

}  // namespace kaon::artifact
