#include "artifact/copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "artifact/ignore.h"
#include "artifact/tree.h"
#include "base/printable.h"

namespace kaon::artifact {
namespace {

constexpr size_t kMaxName = 255;
constexpr size_t kMaxPath = 2'048;
constexpr size_t kChunk = 16 << 20;
constexpr int kFileFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

Error system_error(std::string_view what, const std::string& path) {
  int number = errno;
  return errno_error(std::string(what) + ' ' + quoted(path), number);
}

std::string_view kind_of(mode_t mode) {
  if (S_ISFIFO(mode)) return "is a named pipe";
  if (S_ISSOCK(mode)) return "is a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "is a device";
  return "is no regular file";
}

Error invalid(const std::string& path, std::string_view what) {
  return {ErrorCode::kInvalid, quoted(path) + ' ' + std::string(what)};
}

Error invalid_kind(const std::string& path, mode_t mode) {
  return invalid(path, std::string(kind_of(mode)) + ", which cannot be part of a version");
}

struct Copier {
  const CopyLimits& limits;
  int root;  // of the copy
  uint64_t store_device;
  uint64_t store_inode;
  Ignore ignore{};
  size_t entries = 0;
  uint64_t bytes = 0;
  std::vector<std::string> links{};
  std::string buffer{};

  Result<void> check_name(const std::string& name, const std::string& path) const {
    if (!is_printable(name)) return invalid(path, "has a name with control characters or broken UTF-8: rename it");
    if (name.size() > kMaxName) return invalid(path, "has a name of over 255 bytes: rename it");
    if (path.size() > kMaxPath) return invalid(path, "has a path of over 2,048 bytes");
    return {};
  }

  Result<void> count_entry() {
    if (++entries <= limits.entries) return {};
    return Error{ErrorCode::kInvalid, "the function's folder holds more than " + std::to_string(limits.entries) +
                                          " files: list what it does not need in .kaonignore"};
  }

  Result<void> count_bytes(uint64_t n) {
    bytes += n;
    if (bytes <= limits.bytes) return {};
    return Error{ErrorCode::kInvalid, "the function's folder holds more than " + std::to_string(limits.bytes) +
                                          " bytes: list what it does not need in .kaonignore"};
  }

  Result<void> copy_folder(int from, int to, const std::string& path, int depth) {
    if (depth > limits.depth) {
      return invalid(path, "is nested more than " + std::to_string(limits.depth) + " folders deep");
    }
    KAON_TRY(auto names, names_of(from));
    for (const std::string& name : names) {
      if (name == ".git" || name == "__pycache__" || (depth == 0 && name == ".kaonignore")) continue;
      KAON_TRY_VOID(copy_entry(from, to, name, path.empty() ? name : path + '/' + name, depth));
    }
    return {};
  }

  Result<void> copy_entry(int from, int to, const std::string& name, const std::string& path, int depth) {
    struct stat status;
    if (fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return system_error("look at", path);
    if (ignore.matches(path, S_ISDIR(status.st_mode))) return {};
    KAON_TRY_VOID(check_name(name, path));
    if (S_ISLNK(status.st_mode)) {
      KAON_TRY_VOID(count_entry());
      KAON_TRY(auto target, read_link(from, name, path));
      if (symlinkat(target.c_str(), to, name.c_str()) != 0) return system_error("copy", path);
      links.push_back(path);
      return {};
    }
    if (S_ISREG(status.st_mode)) {
      KAON_TRY_VOID(count_entry());
      Fd file(openat(from, name.c_str(), kFileFlags));
      if (!file) return system_error("open", path);
      return copy_file(file.get(), to, name, path);
    }
    if (!S_ISDIR(status.st_mode)) return invalid_kind(path, status.st_mode);
    if (status.st_dev == store_device && status.st_ino == store_inode) return {};
    KAON_TRY_VOID(count_entry());
    Fd inner(openat(from, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner) return system_error("open", path);
    if (mkdirat(to, name.c_str(), 0700) != 0) return system_error("copy", path);
    KAON_TRY(Fd copy, open_folder(to, name));
    return copy_folder(inner.get(), copy.get(), path, depth + 1);
  }

  // What is open decides, not what stood there before.
  Result<void> copy_file(int from, int to, const std::string& name, const std::string& path) {
    struct stat status;
    if (fstat(from, &status) != 0) return system_error("look at", path);
    if (!S_ISREG(status.st_mode)) return invalid_kind(path, status.st_mode);
    if (status.st_size > 0 && static_cast<uint64_t>(status.st_size) > limits.bytes - bytes) {
      return count_bytes(static_cast<uint64_t>(status.st_size));
    }
    Fd copy(openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!copy) return system_error("copy", path);
    KAON_TRY_VOID(copy_bytes(from, copy.get(), path));
    if (fchmod(copy.get(), status.st_mode & 0111 ? 0700 : 0600) != 0) return system_error("copy", path);
    return {};
  }

  Result<void> copy_bytes(int from, int to, const std::string& path) {
    bool by_kernel = true;  // shares the blocks where the file system can
    while (true) {
      ssize_t n;
      if (by_kernel) {
        n = copy_file_range(from, nullptr, to, nullptr, kChunk, 0);
        // Not between all file systems; and it takes files of /proc and the like, which say that they are empty, at their word.
        if (n == 0 || (n < 0 && errno != EINTR)) by_kernel = false;
        if (n <= 0) continue;
      } else {
        if (buffer.empty()) buffer.resize(128 << 10);
        n = read(from, buffer.data(), buffer.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return system_error("read", path);
        if (n == 0) return {};
        for (ssize_t done = 0; done < n;) {
          ssize_t m = write(to, buffer.data() + done, static_cast<size_t>(n - done));
          if (m < 0 && errno == EINTR) continue;
          if (m < 0) return system_error("copy", path);
          done += m;
        }
      }
      KAON_TRY_VOID(count_bytes(static_cast<uint64_t>(n)));
    }
  }

  // In the copy, which nobody else changes, and where what was left out is missing.
  Result<void> check_links() const {
    for (const std::string& path : links) {
      KAON_TRY(auto target, read_link(root, path, path));
      KAON_TRY_VOID(check_link(root, path, target));
    }
    return {};
  }
};

Result<Ignore> read_ignore(int folder) {
  Fd file(openat(folder, ".kaonignore", kFileFlags));
  if (!file && errno == ENOENT) return Ignore();
  if (!file) return system_error("open", ".kaonignore");
  struct stat status;
  if (fstat(file.get(), &status) != 0) return system_error("look at", ".kaonignore");
  if (!S_ISREG(status.st_mode)) return invalid(".kaonignore", kind_of(status.st_mode));
  std::string text((64 << 10) + 1, 0);
  size_t size = 0;
  while (size < text.size()) {
    ssize_t n = read(file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", ".kaonignore");
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  text.resize(size);
  return Ignore::parse(text);
}

}  // namespace

Result<void> copy_tree(const std::string& from, const Staging& to, const CopyLimits& limits) {
  KAON_CHECK(to.root_);
  struct stat status;
  if (stat(from.c_str(), &status) != 0) return system_error("look at", from);
  if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
    return invalid(from, std::string(kind_of(status.st_mode)) + ": give a file or a folder");
  }
  bool folder = S_ISDIR(status.st_mode);
  Fd source(::open(from.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (folder ? O_DIRECTORY : 0)));
  if (!source) return system_error("open", from);
  Copier copier{limits, to.root_.get(), to.store_device_, to.store_inode_};
  if (!folder) {
    size_t slash = from.rfind('/');
    std::string name = from.substr(slash == from.npos ? 0 : slash + 1);
    KAON_TRY_VOID(copier.check_name(name, name));
    return copier.copy_file(source.get(), to.root_.get(), name, name);
  }
  KAON_TRY(copier.ignore, read_ignore(source.get()));
  KAON_TRY_VOID(copier.copy_folder(source.get(), to.root_.get(), "", 0));
  return copier.check_links();
}

}  // namespace kaon::artifact
