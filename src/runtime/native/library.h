#pragma once
#include <string>

#include "base/result.h"
#include "kaon.h"

namespace kaon::runtime::native {

// A shared library with a function in it: loaded, checked, initialised. Not thread-safe; the function's `handle` is.
class Library {
 public:
  // kInvalid with a message that says what is wrong with the library. Runs its constructors.
  static Result<Library> open(const std::string& path);
  Library(Library&& other) noexcept;
  Library& operator=(Library&&) = delete;
  ~Library();  // unloads, without shutdown()

  const kaon_descriptor& descriptor() const { return descriptor_; }
  void* context() const { return context_; }

  // `host` lives until the library is unloaded. kUserCode: init failed or threw.
  Result<void> init(const kaon_host& host);
  // No handler runs any more. Nothing when init has not succeeded. An exception is swallowed: nobody is left to hear it.
  void shutdown();
  // Stays loaded until the process ends.
  void keep() { handle_ = nullptr; }

 private:
  Library(void* handle, const kaon_descriptor& descriptor) : handle_(handle), descriptor_(descriptor) {}
  void* handle_;
  kaon_descriptor descriptor_;  // a copy: what the library knew, the rest zero
  void* context_ = nullptr;
  bool initialised_ = false;
};

// kInvalid unless the file at `path` is an ELF shared library for this machine; does not run it.
Result<void> check_shared_library(const std::string& path);

}  // namespace kaon::runtime::native
