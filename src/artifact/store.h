#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

namespace kaon::artifact {

// What is in the store: immutable, read-only, named by its content.
struct Version {
  std::string function;
  std::string id;      // the first 12 digits of the digest
  std::string digest;  // SHA-256 of the content, 64 hexadecimal digits; empty from `list` and `find`
  std::string path;    // absolute
};

// A private folder in the store that becomes a version by Store::seal. Removed when it is destroyed unsealed; one that a
// kill left behind goes at a later collect_garbage.
class Staging {
 public:
  Staging(Staging&&) noexcept = default;
  Staging& operator=(Staging&& other) noexcept;
  ~Staging();

  const std::string& path() const { return path_; }  // absolute; 0700, for whoever fills it
  int folder() const { return root_.get(); }
  const std::string& function() const { return function_; }

 private:
  friend class Store;
  friend Result<void> copy_tree(const std::string& from, const Staging& to, const struct CopyLimits& limits);
  Staging() = default;
  void drop();
  Fd parent_;  // versions/<function>
  Fd root_;    // locked as long as we live, which is how the garbage collector knows
  std::string name_;
  std::string path_;
  std::string function_;
  uint64_t store_device_ = 0;
  uint64_t store_inode_ = 0;
};

// The versions of functions, in one folder of the file system:
//   <folder>/versions/<function>/<id>/…
// Versions are files 0444 or 0555 and folders 0555; folders that the store makes are 0755, so that another user may read
// and run them. Any number of processes may use one store at once. Thread-safe.
class Store {
 public:
  // Makes the folder, and those above it, where they are missing. kDenied when others could write into it.
  static Result<Store> open(std::string folder);

  // A name is 1 to 63 of a-z A-Z 0-9 . _ -, beginning with a letter or a digit; kInvalid otherwise.
  Result<Staging> begin(std::string_view function) const;

  // Makes a version of what was staged, at once and whole: a kill or a loss of power leaves it or nothing. Content that
  // is there already is the same version, and the staging is dropped. Errors name the file that cannot be part of one.
  Result<Version> seal(Staging&& staging) const;

  // Sorted by function and id; of one function, or of all.
  Result<std::vector<Version>> list(std::string_view function = {}) const;
  Result<Version> find(std::string_view function, std::string_view id) const;  // kNotFound
  // It disappears at once. The caller knows that nothing runs from it.
  Result<void> remove(std::string_view function, std::string_view id) const;

  // Removes stagings whose owner is gone and that are older than `age`, and what a killed `remove` left; answers how
  // many. Also done, for an hour's age, by `open`.
  Result<size_t> collect_garbage(Nanos age = 3'600 * kSecond) const;

  const std::string& folder() const { return folder_; }

 private:
  Store() = default;
  std::string folder_;  // absolute
  Fd root_;
  Fd versions_;
};

bool is_function_name(std::string_view name);

}  // namespace kaon::artifact
