#pragma once
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kaon::keeper {

// An address to listen on. Fixed-size and without pointers: it travels over a pipe as it is.
struct ListenRequest {
  sockaddr_storage address;
  socklen_t length;
  int32_t backlog;
  uint32_t copies;           // TCP: sockets that share the port, one for each loop; unix: always one socket
  uint32_t unix_owner_only;  // unix: mode 0600 instead of what the umask leaves
};
static_assert(std::is_trivially_copyable_v<ListenRequest>);

inline constexpr uint32_t kMaxCopies = 256;

struct Listener {
  ListenRequest request;
  std::vector<Fd> sockets;  // listening, non-blocking, close-on-exec
};

// Opens the sockets of one request. An address in use by anybody is kInvalid with a message that names the next free
// port; a unix socket file that nobody serves is replaced, any other file is not.
Result<Listener> open_listener(const ListenRequest& request);

// "127.0.0.1:80", "[::1]:80", "unix:/path".
std::string address_text(const sockaddr_storage& address, socklen_t length);

// The request for a path, or kInvalid when it is empty or too long.
Result<ListenRequest> unix_request(std::string_view path, int backlog);

}  // namespace kaon::keeper
