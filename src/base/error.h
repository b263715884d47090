#pragma once
#include <string>
#include <string_view>
#include <utility>

namespace kaon {

// What went wrong, named by what the caller should do about it. One closed list: `error_row` maps each code to an HTTP
// status, an exit code of the command line, a retry policy and a metric label.
enum class ErrorCode : unsigned char {
  kInvalid,        // the input is wrong; sending it again will not help
  kNotFound,       // the named thing does not exist
  kDenied,         // it exists, the caller may not
  kOverloaded,     // try again later
  kDisconnected,   // the other side is gone
  kTimeout,        // a deadline passed
  kCancelled,      // the caller gave up
  kUnimplemented,  // this build or machine cannot do it
  kUserCode,       // the function failed
  kInternal,       // a bug of ours
};

enum class RetryPolicy : unsigned char { kNever, kBackoff };

struct ErrorRow {
  ErrorCode code;
  std::string_view label;  // metric label and the name in JSON
  int http_status;
  int exit_code;
  RetryPolicy retry;
};

const ErrorRow& error_row(ErrorCode code);

// An expected failure. The message is for a person: what happened and what to do about it.
struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

// The message of `errno`-like value `number`, prefixed with what was tried: "open /a: No such file or directory".
// ENOENT is kNotFound, EACCES/EPERM kDenied, EMFILE/ENFILE/EAGAIN kOverloaded, ECONNRESET/EPIPE kDisconnected,
// ENOSYS kUnimplemented, EINVAL kInvalid, the rest kInternal.
Error errno_error(std::string_view what, int number);

}  // namespace kaon
