#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kaon::artifact {

// The patterns of a `.kaonignore`, one a line: `#` begins a comment, `!` takes a match back, the last match counts.
// A pattern with a slash before its end is matched against the whole path, any other against the name at every depth; a
// slash at the end restricts it to folders. `*` and `?` stay within a name, `**` stands for any number of folders,
// `[a-z]` and `[!a-z]` for one character, and `\` makes the next character plain. What is in an ignored folder is ignored.
class Ignore {
 public:
  // At most 64 KiB and 200 patterns, of at most 256 bytes each; kInvalid otherwise.
  static Result<Ignore> parse(std::string_view text);

  // `path` is relative to the root, without a slash at either end.
  bool matches(std::string_view path, bool folder) const;

 private:
  struct Pattern {
    std::vector<std::string> segments;
    bool anchored;
    bool folders_only;
    bool negated;
  };
  std::vector<Pattern> patterns_;
};

}  // namespace kaon::artifact
