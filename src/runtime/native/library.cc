#include "runtime/native/library.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/fd.h"

namespace kaon::runtime::native {
namespace {

constexpr size_t kMessage = 1024;
#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#else
constexpr uint16_t kMachine = EM_NONE;
#endif

Error invalid(const std::string& path, std::string_view what) { return {ErrorCode::kInvalid, path + ": " + std::string(what)}; }

}  // namespace

Result<void> check_shared_library(const std::string& path) {
  // Not blocking, so that a FIFO in the function's folder does not hang the build.
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return errno_error("open " + path, errno);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return errno_error("stat " + path, errno);
  if (!S_ISREG(info.st_mode)) return invalid(path, "not a regular file");
  Elf64_Ehdr header;
  if (read(file.get(), &header, sizeof header) != sizeof header || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return invalid(path, "not a shared library (no ELF header); give a .so, or a .cc, .cpp or .c to be compiled");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || (kMachine != EM_NONE && header.e_machine != kMachine))
    return invalid(path, "built for another kind of machine; build it on, or for, this one");
  if (header.e_type != ET_DYN) return invalid(path, "not a shared library; link it with -shared");
  return {};
}

Result<Library> Library::open(const std::string& path) {
  KAON_TRY_VOID(check_shared_library(path));
  dlerror();
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = dlerror();
    return Error{ErrorCode::kInvalid, std::string("cannot load the library: ") + (why ? why : path.c_str())};
  }
  Library library(handle, kaon_descriptor{});
  auto* found = static_cast<const kaon_descriptor*>(dlsym(handle, "kaon_function"));
  if (!found)
    return invalid(path,
                   "does not export `kaon_function`; define it with KAON_HANDLER (kaon.hpp) or as a kaon_descriptor (kaon.h)");
  if (found->abi_version != KAON_ABI_VERSION)
    return invalid(path, "built for version " + std::to_string(found->abi_version) +
                             " of the native interface, this Kaon has version " + std::to_string(KAON_ABI_VERSION) +
                             "; rebuild it with the kaon.h of this Kaon");
  constexpr size_t kLeast = offsetof(kaon_descriptor, shutdown) + sizeof(found->shutdown);
  size_t size = found->size;
  if (size < kLeast || size > 4096) return invalid(path, "`kaon_function.size` is not sizeof(kaon_descriptor)");
  std::memcpy(&library.descriptor_, found, std::min(size, sizeof(kaon_descriptor)));
  if (!library.descriptor_.handle) return invalid(path, "`kaon_function.handle` is null");
  return library;
}

Library::Library(Library&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      descriptor_(other.descriptor_),
      context_(other.context_),
      initialised_(std::exchange(other.initialised_, false)) {}

Library::~Library() {
  if (handle_) dlclose(handle_);
}

Result<void> Library::init(const kaon_host& host) {
  if (!descriptor_.init) {
    initialised_ = true;
    return {};
  }
  char message[kMessage] = "";
  std::string thrown;
  int32_t status = -1;
  try {
    status = descriptor_.init(&host, &context_, message, sizeof message);
  } catch (const std::exception& error) {
    thrown = error.what();
  } catch (...) {
    thrown = "an exception that is no std::exception";
  }
  if (status == 0) {
    initialised_ = true;
    return {};
  }
  message[sizeof message - 1] = 0;
  std::string why = !thrown.empty() ? thrown : message[0] ? std::string(message) : "init returned " + std::to_string(status);
  return Error{ErrorCode::kUserCode, "the function's init failed: " + why};
}

void Library::shutdown() {
  if (!std::exchange(initialised_, false) || !descriptor_.shutdown) return;
  try {
    descriptor_.shutdown(context_);
  } catch (...) {
  }
}

}  // namespace kaon::runtime::native
