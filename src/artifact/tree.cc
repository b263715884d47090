#include "artifact/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/printable.h"
#include "base/sha256.h"

namespace kaon::artifact {
namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr int kSyncEach = 64;  // files; above it the whole file system is synced at once

Error system_error(std::string_view what, const std::string& path) {
  int number = errno;
  return errno_error(std::string(what) + ' ' + quoted(path.empty() ? "." : path), number);
}

std::string join(const std::string& folder, const std::string& name) { return folder.empty() ? name : folder + '/' + name; }

// Calls f(folder fd, name, path, stat) for each entry, a folder before what it holds.
template <typename F>
Result<void> walk(int folder, const std::string& path, int depth, F& f) {
  if (depth > kMaxDepth) return Error{ErrorCode::kInvalid, quoted(path) + ": folders are nested too deeply"};
  KAON_TRY(auto names, names_of(folder));
  for (const std::string& name : names) {
    std::string entry = join(path, name);
    struct stat status;
    if (fstatat(folder, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return system_error("look at", entry);
    KAON_TRY_VOID(f(folder, name, entry, status));
    if (!S_ISDIR(status.st_mode)) continue;
    auto inner = open_folder(folder, name);
    if (!inner) return std::move(inner).error();
    KAON_TRY_VOID(walk(inner->get(), entry, depth + 1, f));
  }
  return {};
}

Result<Fd> open_file(int folder, const std::string& name, const std::string& path) {
  Fd fd(openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return system_error("open", path);
  return fd;
}

struct Freezer {
  int root;
  Result<void> operator()(int folder, const std::string& name, const std::string& path, const struct stat& status) {
    if (S_ISLNK(status.st_mode)) {
      KAON_TRY(auto target, read_link(folder, name, path));
      return check_link(root, path, target);
    }
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
      return Error{ErrorCode::kInvalid, quoted(path) + " is neither a file nor a folder nor a symlink"};
    }
    if (S_ISREG(status.st_mode) && status.st_nlink > 1) {
      return Error{ErrorCode::kInvalid, quoted(path) + " is a hard link to another file: copy it"};
    }
    mode_t mode = S_ISDIR(status.st_mode) || (status.st_mode & 0111) ? 0555 : 0444;
    if ((status.st_mode & 07777) == mode) return {};
    // By descriptor, as fchmodat would follow a link that was put in its place.
    Fd fd(openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd || fchmod(fd.get(), mode) != 0) return system_error("make read-only", path);
    return {};
  }
};

struct Digester {
  Sha256 sha;
  std::string buffer;

  void number(uint64_t n) {
    char bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(n >> (8 * i));
    sha.update({bytes, sizeof bytes});
  }
  void text(std::string_view t) {
    number(t.size());
    sha.update(t);
  }
  Result<void> operator()(int folder, const std::string& name, const std::string& path, const struct stat& status) {
    if (S_ISLNK(status.st_mode)) {
      KAON_TRY(auto target, read_link(folder, name, path));
      sha.update("l");
      text(path);
      text(target);
      return {};
    }
    sha.update(S_ISDIR(status.st_mode) ? "d" : "f");
    number(status.st_mode & 07777);
    text(path);
    if (S_ISDIR(status.st_mode)) return {};
    KAON_TRY(Fd fd, open_file(folder, name, path));
    // The length comes first, so that no bytes of one file can pass for another; it must then be what is read.
    number(static_cast<uint64_t>(status.st_size));
    uint64_t size = 0;
    while (true) {
      ssize_t n = read(fd.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_error("read", path);
      if (n == 0) break;
      size += static_cast<uint64_t>(n);
      sha.update({buffer.data(), static_cast<size_t>(n)});
    }
    if (size != static_cast<uint64_t>(status.st_size)) {
      return Error{ErrorCode::kInvalid, quoted(path) + " changed while it was read: try again"};
    }
    return {};
  }
};

}  // namespace

Result<std::vector<std::string>> names_of(int folder) {
  // A description of its own: the position in the folder belongs to it.
  Fd own(openat(folder, ".", kFolderFlags));
  if (!own) return errno_error("open a folder", errno);
  DIR* stream = fdopendir(own.get());
  if (!stream) return errno_error("read a folder", errno);
  own.release();
  std::vector<std::string> names;
  int number;
  while (true) {
    errno = 0;
    dirent* entry = readdir(stream);
    number = errno;
    if (!entry) break;
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) names.emplace_back(entry->d_name);
  }
  closedir(stream);
  if (number) return errno_error("read a folder", number);
  std::sort(names.begin(), names.end());
  return names;
}

Result<Fd> open_folder(int parent, const std::string& name) {
  Fd fd(openat(parent, name.c_str(), kFolderFlags));
  if (!fd) return system_error("open the folder", name);
  return fd;
}

Result<void> freeze(int root) {
  Freezer freezer{root};
  KAON_TRY_VOID(walk(root, "", 0, freezer));
  if (fchmod(root, 0555) != 0) return errno_error("make a version read-only", errno);
  return {};
}

Result<std::string> digest_of(int root) {
  Digester digester;
  digester.buffer.resize(128 << 10);
  digester.text("kaon version 1");
  KAON_TRY_VOID(walk(root, "", 0, digester));
  return Sha256::hex(digester.sha.finish());
}

Result<void> sync_tree(int root) {
  int count = 0;
  auto counter = [&](int, const std::string&, const std::string&, const struct stat&) -> Result<void> {
    ++count;
    return {};
  };
  KAON_TRY_VOID(walk(root, "", 0, counter));
  if (count > kSyncEach) {
    if (syncfs(root) != 0) return errno_error("sync the store", errno);
    return {};
  }
  auto syncer = [](int folder, const std::string& name, const std::string& path, const struct stat& status) -> Result<void> {
    if (S_ISLNK(status.st_mode)) return {};  // is in its folder
    KAON_TRY(Fd fd, open_file(folder, name, path));
    if (fsync(fd.get()) != 0) return system_error("sync", path);
    return {};
  };
  KAON_TRY_VOID(walk(root, "", 0, syncer));
  if (fsync(root) != 0) return errno_error("sync the store", errno);
  return {};
}

Result<std::string> read_link(int folder, const std::string& name, const std::string& path) {
  std::string target(4096, 0);
  ssize_t n = readlinkat(folder, name.c_str(), target.data(), target.size());
  if (n < 0) return system_error("read the symlink", path);
  if (static_cast<size_t>(n) == target.size()) return Error{ErrorCode::kInvalid, "the symlink " + quoted(path) + " is too long"};
  target.resize(static_cast<size_t>(n));
  return target;
}

Result<void> check_link(int root, const std::string& path, const std::string& target) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  Fd fd;
  int number = EAGAIN;  // also what the kernel answers when a rename anywhere ran into a ".."
  for (int attempt = 0; attempt < 100 && number == EAGAIN; ++attempt) {
    fd.reset(static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
    if (fd) return {};
    number = errno;
  }
  std::string what = "the symlink " + quoted(path) + " (to " + quoted(target) + ") ";
  if (number == EXDEV) {
    return Error{ErrorCode::kInvalid,
                 what + "leads out of the function's folder: put a copy of the file in its place, or list it in .kaonignore"};
  }
  if (number == ENOENT || number == ENOTDIR) {
    return Error{ErrorCode::kInvalid,
                 what + "leads to nothing that is part of the version: remove it, or list it in .kaonignore"};
  }
  if (number == ELOOP) return Error{ErrorCode::kInvalid, what + "goes in a circle"};
  if (number == ENOSYS) return Error{ErrorCode::kUnimplemented, what + "cannot be checked on this kernel, which has no openat2"};
  return errno_error(what + "cannot be followed", number);
}

Result<void> remove_tree(int parent, const std::string& name) {
  struct Remover {
    static Result<void> remove(int folder, const std::string& name, int depth) {
      if (unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) return {};
      if (errno != EISDIR && errno != EPERM) return system_error("remove", name);
      // A folder of ours without the right to read or write it cannot be opened to give it back.
      if (depth > kMaxDepth) return Error{ErrorCode::kInvalid, quoted(name) + ": folders are nested too deeply"};
      struct stat status;
      if (fstatat(folder, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return system_error("remove", name);
      if (!S_ISDIR(status.st_mode)) {
        errno = EPERM;
        return system_error("remove", name);
      }
      if ((status.st_mode & 0700) != 0700 && fchmodat(folder, name.c_str(), 0700, 0) != 0) return system_error("remove", name);
      KAON_TRY(Fd inner, open_folder(folder, name));
      KAON_TRY(auto names, names_of(inner.get()));
      for (const std::string& entry : names) KAON_TRY_VOID(remove(inner.get(), entry, depth + 1));
      if (unlinkat(folder, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return system_error("remove", name);
      return {};
    }
  };
  return Remover::remove(parent, name, 0);
}

}  // namespace kaon::artifact
