#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "secret/secret.h"

namespace kaon::secret {

inline constexpr size_t kMaxSecretBytes = 65'536;

// The value of the secret that `{secret: name}` names, from the first of these that has it:
//   1. the environment variable KAON_SECRET_<NAME> (upper case, `-` and `.` as `_`);
//   2. the file $KAON_SECRETS_DIR/<name>;
//   3. the systemd credential $CREDENTIALS_DIRECTORY/<name>.
// One newline at the end of a file is not part of the value. A place that has the secret but may not be used (empty,
// too large, a file that everyone may read or write) is an error; the next one is not tried. kInvalid: not a name;
// kNotFound: in none, and the message says where to put it; kDenied: unreadable, or readable by everyone.
// Blocks on the file system. Not while another thread changes the environment.
Result<Secret> resolve(std::string_view name);

// "KAON_SECRET_THUMBS_S3" of "thumbs-s3".
std::string environment_name(std::string_view name);

}  // namespace kaon::secret
