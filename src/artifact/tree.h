#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

// Walks over folders by descriptor, which never follow a symlink. Folder descriptors are borrowed.
namespace kaon::artifact {

// Deeper folders are refused: a walk holds a descriptor for each level.
inline constexpr int kMaxDepth = 128;

// The names in a folder, sorted by bytes, without "." and "..".
Result<std::vector<std::string>> names_of(int folder);

Result<Fd> open_folder(int parent, const std::string& name);

// Makes everything read-only: files 0444, or 0555 where they were executable, folders 0555, the root too. Refuses what
// cannot be part of a version: other kinds of files, hard links, symlinks that lead out of the root or to nothing.
Result<void> freeze(int root);

// SHA-256 as 64 hexadecimal digits over kind, mode, relative path and bytes of everything beneath `root`, in a canonical
// order. Two trees have the same digest exactly when they are the same.
Result<std::string> digest_of(int root);

// Returns when everything beneath `root` is on the disk.
Result<void> sync_tree(int root);

// Whether the symlink at `path` beneath `root` leads, over all its steps, to something beneath it; the error names both
// the link and its target.
Result<void> check_link(int root, const std::string& path, const std::string& target);
Result<std::string> read_link(int folder, const std::string& name, const std::string& path);

// Removes `name` and everything beneath it, read-only or not. What is gone already is no error.
Result<void> remove_tree(int parent, const std::string& name);

}  // namespace kaon::artifact
