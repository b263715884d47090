#include "base/error.h"

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace kaon {
namespace {

constexpr ErrorRow kRows[] = {
    {ErrorCode::kInvalid, "invalid", 400, 65, RetryPolicy::kNever},
    {ErrorCode::kNotFound, "not_found", 404, 66, RetryPolicy::kNever},
    {ErrorCode::kDenied, "denied", 403, 77, RetryPolicy::kNever},
    {ErrorCode::kOverloaded, "overloaded", 503, 75, RetryPolicy::kBackoff},
    {ErrorCode::kDisconnected, "disconnected", 502, 69, RetryPolicy::kBackoff},
    {ErrorCode::kTimeout, "timeout", 504, 124, RetryPolicy::kBackoff},
    {ErrorCode::kCancelled, "cancelled", 499, 130, RetryPolicy::kNever},
    {ErrorCode::kUnimplemented, "unimplemented", 501, 64, RetryPolicy::kNever},
    {ErrorCode::kUserCode, "user_code", 500, 1, RetryPolicy::kBackoff},
    {ErrorCode::kInternal, "internal", 500, 70, RetryPolicy::kBackoff},
};

}  // namespace

const ErrorRow& error_row(ErrorCode code) {
  auto index = static_cast<size_t>(code);
  KAON_CHECK(index < std::size(kRows), index);
  return kRows[index];
}

Error errno_error(std::string_view what, int number) {
  ErrorCode code = ErrorCode::kInternal;
  switch (number) {
    case ENOENT: case ENOTDIR: code = ErrorCode::kNotFound; break;
    case EACCES: case EPERM: code = ErrorCode::kDenied; break;
    case EMFILE: case ENFILE: case EAGAIN: case ENOMEM: case ENOSPC: code = ErrorCode::kOverloaded; break;
    case ECONNRESET: case EPIPE: case ECONNREFUSED: case ENOTCONN: code = ErrorCode::kDisconnected; break;
    case ETIMEDOUT: code = ErrorCode::kTimeout; break;
    case ENOSYS: case EOPNOTSUPP: code = ErrorCode::kUnimplemented; break;
    case EINVAL: case ENAMETOOLONG: case EADDRINUSE: case EADDRNOTAVAIL: case ENOEXEC: code = ErrorCode::kInvalid; break;
    default: break;
  }
  std::string message(what);
  message += ": ";
  message += std::strerror(number);
  return {code, std::move(message)};
}

}  // namespace kaon
