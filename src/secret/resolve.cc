#include "secret/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "base/fd.h"
#include "config/diagnostic.h"
#include "config/settings.h"

namespace kaon::secret {
namespace {

// A path is shown whole.
std::string shown(std::string_view path) { return config::quoted(path, path.size()); }

}  // namespace

// Reads straight into a Secret's own memory, so that no other buffer ever holds the value.
class Loader {
 public:
  static Result<Secret> read(int fd, const std::string& path) {
    // One byte more than allowed tells a file that is too large.
    Secret secret(kMaxSecretBytes + 1);
    while (secret.size_ < secret.capacity_) {
      ssize_t count = ::read(fd, secret.data_.get() + secret.size_, secret.capacity_ - secret.size_);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return errno_error("read the secret file " + shown(path), errno);
      if (count == 0) break;
      secret.size_ += static_cast<size_t>(count);
    }
    if (secret.size_ > kMaxSecretBytes) {
      return Error{ErrorCode::kInvalid, fmt::format("the secret file {} is larger than {} bytes", shown(path), kMaxSecretBytes)};
    }
    std::string_view value = secret.reveal();
    if (value.ends_with("\r\n")) {
      secret.size_ -= 2;
    } else if (value.ends_with('\n')) {
      secret.size_ -= 1;
    }
    return secret;
  }
};

namespace {

using Found = std::optional<Secret>;

Result<Found> from_environment(const std::string& variable) {
  const char* value = ::getenv(variable.c_str());
  if (!value) return Found();
  if (*value == '\0')
    return Error{ErrorCode::kInvalid, fmt::format("the secret in {} is empty: set it, or unset the variable", variable)};
  std::string_view text(value);
  if (text.size() > kMaxSecretBytes)
    return Error{ErrorCode::kInvalid, fmt::format("the secret in {} is larger than {} bytes", variable, kMaxSecretBytes)};
  return Found(Secret::copy(text));
}

// Null: no such folder is set.
const char* folder_of(const char* variable) {
  const char* folder = ::getenv(variable);
  return folder && *folder ? folder : nullptr;
}

Result<Found> from_folder(const char* variable, std::string_view name) {
  const char* folder = folder_of(variable);
  if (!folder) return Found();
  std::string path = fmt::format("{}/{}", folder, name);
  // Kubernetes and systemd place secrets as symbolic links, so links are followed. O_NONBLOCK: opening a FIFO would wait.
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return Found();
    return errno_error("open the secret file " + shown(path), errno);
  }
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return errno_error("stat the secret file " + shown(path), errno);
  if (!S_ISREG(status.st_mode))
    return Error{ErrorCode::kInvalid, fmt::format("the secret file {} is not a regular file", shown(path))};
  if (unsigned open_to_all = status.st_mode & (S_IROTH | S_IWOTH)) {
    return Error{ErrorCode::kDenied,
                 fmt::format("the secret file {} may be {} by everyone (mode {:04o}): run chmod o= on it", shown(path),
                             open_to_all & S_IROTH ? "read" : "written", status.st_mode & 07777)};
  }
  KAON_TRY(Secret secret, Loader::read(fd.get(), path));
  if (secret.empty()) return Error{ErrorCode::kInvalid, fmt::format("the secret file {} is empty", shown(path))};
  return Found(std::move(secret));
}

Error not_found(std::string_view name, const std::string& variable) {
  const char* folder = folder_of("KAON_SECRETS_DIR");
  std::string file = folder ? fmt::format("put it into the file {}", shown(fmt::format("{}/{}", folder, name)))
                            : fmt::format("put it into a file `{}` in a folder that KAON_SECRETS_DIR names", name);
  return {ErrorCode::kNotFound,
          fmt::format("secret `{}` was not found: set {} in the environment, or {}, or pass it as the systemd credential `{}` "
                      "(LoadCredential=)",
                      name, variable, file, name)};
}

}  // namespace

std::string environment_name(std::string_view name) {
  std::string out = "KAON_SECRET_";
  for (char c : name) out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c == '-' || c == '.' ? '_' : c;
  return out;
}

Result<Secret> resolve(std::string_view name) {
  if (!config::is_secret_name(name)) {
    return Error{ErrorCode::kInvalid,
                 fmt::format("{} is not a secret's name: 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit",
                             config::quoted(name))};
  }
  std::string variable = environment_name(name);
  KAON_TRY(Found found, from_environment(variable));
  if (!found) {
    KAON_TRY(found, from_folder("KAON_SECRETS_DIR", name));
  }
  if (!found) {
    KAON_TRY(found, from_folder("CREDENTIALS_DIRECTORY", name));
  }
  if (!found) return not_found(name, variable);
  return *std::move(found);
}

}  // namespace kaon::secret
