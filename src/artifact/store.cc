#include "artifact/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "artifact/tree.h"
#include "base/printable.h"

namespace kaon::artifact {
namespace {

constexpr std::string_view kStagingPrefix = ".staging-";
constexpr std::string_view kTrashPrefix = ".trash-";
constexpr size_t kIdSize = 12;

Error system_error(std::string_view what, const std::string& path) {
  int number = errno;
  return errno_error(std::string(what) + ' ' + quoted(path), number);
}

bool is_id(std::string_view id) {
  return id.size() == kIdSize && id.find_first_not_of("0123456789abcdef") == id.npos;
}

Result<std::string> random_name(std::string_view prefix) {
  uint64_t number;
  if (getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) return errno_error("getrandom", errno);
  char text[17];
  return std::string(prefix).append(text, std::to_chars(text, text + sizeof text, number, 16).ptr);
}

// Makes a folder 0755 whatever the umask, where it is missing.
Result<void> make_folder(int parent, const std::string& name, const std::string& path) {
  if (mkdirat(parent, name.c_str(), 0755) != 0) {
    if (errno == EEXIST) return {};
    return system_error("make the folder", path);
  }
  if (fchmodat(parent, name.c_str(), 0755, 0) != 0) return system_error("make the folder", path);
  if (fsync(parent) != 0 && errno != EINVAL) return system_error("sync the folder above", path);
  return {};
}

Result<void> make_path(const std::string& folder) {
  for (size_t slash = folder.find('/', 1);; slash = folder.find('/', slash + 1)) {
    std::string path = folder.substr(0, slash);
    if (mkdir(path.c_str(), 0755) == 0) {
      if (chmod(path.c_str(), 0755) != 0) return system_error("make the folder", path);
    } else if (errno != EEXIST) {
      return system_error("make the folder", path);
    }
    if (slash == folder.npos) return {};
  }
}

Result<Fd> open_path(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error("open the store's folder", path);
  return fd;
}

// Whether somebody else could put a version under our feet.
Result<void> check_owner(int fd, const std::string& path) {
  struct stat status;
  if (fstat(fd, &status) != 0) return system_error("look at", path);
  if ((status.st_uid != geteuid() && status.st_uid != 0) || (status.st_mode & 0022)) {
    return Error{ErrorCode::kDenied, "the store " + quoted(path) +
                                         " can be written by other users: make it yours alone with chown and"
                                         " chmod 755, or choose another folder"};
  }
  return {};
}

Result<Fd> open_function(int versions, std::string_view function) {
  if (!is_function_name(function)) {
    return Error{ErrorCode::kInvalid, "a function cannot be called " + quoted(function.substr(0, 100)) +
                                          ": 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or a digit"};
  }
  Fd fd(openat(versions, std::string(function).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return Error{ErrorCode::kNotFound, "the store has no version of " + quoted(function)};
  if (!fd) return system_error("open the versions of", std::string(function));
  return fd;
}

// Renames without replacing; EEXIST when `to` is there.
int rename_new(int folder, const std::string& from, const std::string& to) {
  if (renameat2(folder, from.c_str(), folder, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // NFS and others. A plain rename of a folder does not replace one that holds something.
  if (renameat(folder, from.c_str(), folder, to.c_str()) == 0) return 0;
  return errno == ENOTEMPTY ? EEXIST : errno;
}

}  // namespace

bool is_function_name(std::string_view name) {
  auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 63 && alphanumeric(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

Staging& Staging::operator=(Staging&& other) noexcept {
  if (this == &other) return *this;
  drop();
  parent_ = std::move(other.parent_);
  root_ = std::move(other.root_);
  name_ = std::move(other.name_);
  path_ = std::move(other.path_);
  function_ = std::move(other.function_);
  store_device_ = other.store_device_;
  store_inode_ = other.store_inode_;
  return *this;
}

Staging::~Staging() { drop(); }

void Staging::drop() {
  if (!root_) return;
  (void)remove_tree(parent_.get(), name_);  // what is left is garbage, and collected as such
  root_.reset();
  parent_.reset();
}

Result<Store> Store::open(std::string folder) {
  if (folder.empty()) return Error{ErrorCode::kInvalid, "the store's folder has no name"};
  if (folder[0] != '/') {
    char* current = getcwd(nullptr, 0);
    if (!current) return errno_error("find the working directory", errno);
    folder = std::string(current) + '/' + folder;
    free(current);
  }
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  KAON_TRY_VOID(make_path(folder));
  Store store;
  KAON_TRY(store.root_, open_path(folder));
  KAON_TRY_VOID(check_owner(store.root_.get(), folder));
  KAON_TRY_VOID(make_folder(store.root_.get(), "versions", folder + "/versions"));
  KAON_TRY(store.versions_, open_folder(store.root_.get(), "versions"));
  KAON_TRY_VOID(check_owner(store.versions_.get(), folder + "/versions"));
  store.folder_ = std::move(folder);
  (void)store.collect_garbage();  // a reader that may not write can still read
  return store;
}

Result<Staging> Store::begin(std::string_view function) const {
  Staging staging;
  std::string name(function);
  KAON_TRY(staging.name_, random_name(kStagingPrefix));
  staging.path_ = folder_ + "/versions/" + name + '/' + staging.name_;
  auto parent = open_function(versions_.get(), function);
  // A `remove` of the last version may take the function's folder away under us.
  for (int attempt = 1; !parent || mkdirat(parent->get(), staging.name_.c_str(), 0700) != 0; ++attempt) {
    if (parent && (errno != ENOENT || attempt == 10)) return system_error("make the folder", staging.path_);
    if (!parent && (parent.error().code != ErrorCode::kNotFound || attempt == 10)) return std::move(parent).error();
    KAON_TRY_VOID(make_folder(versions_.get(), name, folder_ + "/versions/" + name));
    parent = open_function(versions_.get(), function);
  }
  auto root = open_folder(parent->get(), staging.name_);
  if (!root) {
    (void)unlinkat(parent->get(), staging.name_.c_str(), AT_REMOVEDIR);
    return std::move(root).error();
  }
  staging.parent_ = std::move(*parent);
  staging.root_ = std::move(*root);
  staging.function_ = std::move(name);
  if (flock(staging.root_.get(), LOCK_EX | LOCK_NB) != 0) return system_error("lock", staging.path_);
  if (fchmod(staging.root_.get(), 0700) != 0) return system_error("make the folder", staging.path_);  // whatever the umask
  struct stat status;
  if (fstat(root_.get(), &status) != 0) return system_error("look at", folder_);
  staging.store_device_ = status.st_dev;
  staging.store_inode_ = status.st_ino;
  return staging;
}

Result<Version> Store::seal(Staging&& given) const {
  Staging staging(std::move(given));
  KAON_CHECK(staging.root_, "the staging was sealed before");
  int root = staging.root_.get();
  int parent = staging.parent_.get();
  KAON_TRY_VOID(freeze(root));
  Version version;
  KAON_TRY(version.digest, digest_of(root));
  version.id = version.digest.substr(0, kIdSize);
  version.function = staging.function_;
  version.path = folder_ + "/versions/" + version.function + '/' + version.id;

  for (int attempt = 0; attempt < 10; ++attempt) {
    struct stat status;
    int failed = EEXIST;
    if (fstatat(parent, version.id.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      KAON_TRY_VOID(sync_tree(root));
      failed = rename_new(parent, staging.name_, version.id);
    }
    if (failed == 0) {
      staging.root_.reset();  // nothing is left to drop; and the lock of a version is nobody's business
      // The name itself, and the folder of names, as a loss of power would have them.
      if (fsync(parent) != 0 || fsync(versions_.get()) != 0) return system_error("sync", version.path);
      return version;
    }
    if (failed != EEXIST) {
      errno = failed;
      return system_error("make the version", version.path);
    }
    auto old = open_folder(parent, version.id);
    if (!old && old.error().code == ErrorCode::kNotFound) continue;  // it was removed between the two looks
    if (!old) return std::move(old).error();
    auto digest = digest_of(old->get());
    if (digest && *digest == version.digest) return version;
    struct stat then, now;
    bool there = fstat(old->get(), &then) == 0 && fstatat(parent, version.id.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there || then.st_ino != now.st_ino) continue;
    if (!digest) return std::move(digest).error();
    return Error{ErrorCode::kInternal,
                 "the version " + quoted(version.path) + " is not what it was when it was made: remove it, then try again"};
  }
  return Error{ErrorCode::kOverloaded, "the version " + quoted(version.path) + " comes and goes: try again"};
}

Result<std::vector<Version>> Store::list(std::string_view function) const {
  std::vector<std::string> functions;
  if (function.empty()) {
    KAON_TRY(functions, names_of(versions_.get()));
  } else {
    functions.emplace_back(function);
  }
  std::vector<Version> versions;
  for (const std::string& name : functions) {
    if (function.empty() && !is_function_name(name)) continue;
    auto folder = open_function(versions_.get(), name);
    if (!folder && folder.error().code == ErrorCode::kNotFound) continue;
    if (!folder) return std::move(folder).error();
    KAON_TRY(auto ids, names_of(folder->get()));
    for (std::string& id : ids) {
      if (is_id(id)) versions.push_back({name, id, "", folder_ + "/versions/" + name + '/' + id});
    }
  }
  return versions;
}

Result<Version> Store::find(std::string_view function, std::string_view id) const {
  KAON_TRY(Fd folder, open_function(versions_.get(), function));
  struct stat status;
  std::string name(id);
  if (!is_id(id) || fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode)) {
    return Error{ErrorCode::kNotFound, "the store has no version " + quoted(id.substr(0, 100)) + " of " + quoted(function)};
  }
  return Version{std::string(function), name, "", folder_ + "/versions/" + std::string(function) + '/' + name};
}

Result<void> Store::remove(std::string_view function, std::string_view id) const {
  KAON_TRY(Version version, find(function, id));
  KAON_TRY(Fd folder, open_function(versions_.get(), function));
  KAON_TRY(std::string trash, random_name(kTrashPrefix));
  if (renameat(folder.get(), version.id.c_str(), folder.get(), trash.c_str()) != 0) return system_error("remove", version.path);
  KAON_TRY_VOID(remove_tree(folder.get(), trash));
  (void)unlinkat(versions_.get(), version.function.c_str(), AT_REMOVEDIR);  // where it was the last
  return {};
}

Result<size_t> Store::collect_garbage(Nanos age) const {
  size_t removed = 0;
  KAON_TRY(auto functions, names_of(versions_.get()));
  for (const std::string& function : functions) {
    if (!is_function_name(function)) continue;
    auto folder = open_function(versions_.get(), function);
    if (!folder) continue;
    KAON_TRY(auto names, names_of(folder->get()));
    for (const std::string& name : names) {
      bool staging = name.starts_with(kStagingPrefix);
      if (!staging && !name.starts_with(kTrashPrefix)) continue;
      if (staging) {
        struct stat status;
        if (fstatat(folder->get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (wall_ns() - (status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec) < age) continue;
        auto root = open_folder(folder->get(), name);
        if (!root || flock(root->get(), LOCK_EX | LOCK_NB) != 0) continue;  // its owner lives
        KAON_TRY_VOID(remove_tree(folder->get(), name));
      } else {
        KAON_TRY_VOID(remove_tree(folder->get(), name));
      }
      ++removed;
    }
  }
  return removed;
}

}  // namespace kaon::artifact
