#include "keeper/listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace kaon::keeper {
namespace {

constexpr int kTriedPorts = 100;

in_port_t* port_of(sockaddr_storage& address) {
  return address.ss_family == AF_INET ? &reinterpret_cast<sockaddr_in&>(address).sin_port
                                      : &reinterpret_cast<sockaddr_in6&>(address).sin6_port;
}

bool set_option(int fd, int level, int option) {
  int on = 1;
  return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

// 0 or an errno.
int bind_tcp(const sockaddr_storage& address, socklen_t length, int backlog, bool share, Fd& out) {
  Fd fd(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd || !set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR)) return errno;
  if (address.ss_family == AF_INET6 && !set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY)) return errno;
  if (share && !set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT)) return errno;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return errno;
  if (listen(fd.get(), backlog) != 0) return errno;  // EADDRINUSE when two bound at the same moment
  out = std::move(fd);
  return 0;
}

Error in_use(sockaddr_storage address, socklen_t length) {
  std::string message = "address " + address_text(address, length) + " is in use";
  unsigned port = ntohs(*port_of(address));
  for (unsigned next = port + 1; next <= std::min(port + kTriedPorts, 65535u); ++next) {
    *port_of(address) = htons(static_cast<uint16_t>(next));
    Fd probe;
    if (bind_tcp(address, length, 1, false, probe) != 0) continue;
    return {ErrorCode::kInvalid, message + "; port " + std::to_string(next) + " is free"};
  }
  return {ErrorCode::kInvalid, message + ", as are the next ports"};
}

Error bind_error(int number, const sockaddr_storage& address, socklen_t length) {
  if (number == EADDRINUSE) return in_use(address, length);
  std::string where = "listen on " + address_text(address, length);
  if (number == EACCES)
    return {ErrorCode::kDenied, where + ": permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE"};
  if (number == EADDRNOTAVAIL) return {ErrorCode::kInvalid, where + ": this machine does not have that address"};
  return errno_error(where, number);
}

Result<Listener> open_tcp(const ListenRequest& request) {
  Listener listener{request, {}};
  sockaddr_storage address = request.address;
  // The first socket binds and listens alone, so that a port which anybody else has, shared or not, is an error; only
  // then it is opened to the other copies. The kernel makes the group when the second one begins to listen.
  Fd first;
  if (int error = bind_tcp(address, request.length, request.backlog, false, first))
    return bind_error(error, address, request.length);
  socklen_t length = sizeof address;
  if (getsockname(first.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return errno_error("getsockname", errno);
  if (request.copies > 1 && !set_option(first.get(), SOL_SOCKET, SO_REUSEPORT)) return errno_error("SO_REUSEPORT", errno);
  listener.sockets.push_back(std::move(first));
  while (listener.sockets.size() < request.copies) {
    Fd next;
    if (int error = bind_tcp(address, length, request.backlog, true, next)) return bind_error(error, address, length);
    listener.sockets.push_back(std::move(next));
  }
  return listener;
}

// Removes a socket file that nobody serves.
Result<void> remove_stale(const ListenRequest& request, const char* path) {
  struct stat status;
  if (lstat(path, &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode))
    return Error{ErrorCode::kInvalid, std::string(path) + " exists and is not a socket; choose another path"};
  Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!probe) return errno_error("socket", errno);
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&request.address), request.length) == 0 || errno == EAGAIN)
    return Error{ErrorCode::kInvalid, "unix:" + std::string(path) + " is in use; another process serves it"};
  if (errno != ECONNREFUSED) return errno_error("probe unix:" + std::string(path), errno);
  if (unlink(path) != 0 && errno != ENOENT) return errno_error("remove stale " + std::string(path), errno);
  return {};
}

Result<Listener> open_unix(const ListenRequest& request) {
  const auto& address = reinterpret_cast<const sockaddr_un&>(request.address);
  std::string path(address.sun_path, strnlen(address.sun_path, request.length - offsetof(sockaddr_un, sun_path)));
  if (path.empty()) return Error{ErrorCode::kInvalid, "a unix address needs a path"};
  KAON_TRY_VOID(remove_stale(request, path.c_str()));
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("socket", errno);
  // The mode is right from the file's first moment on; a later chmod would leave a gap.
  mode_t before = umask(0177);
  if (!request.unix_owner_only) umask(before);
  int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&request.address), request.length);
  int error = errno;
  umask(before);
  if (bound != 0) return errno_error("listen on unix:" + path, error);
  if (listen(fd.get(), request.backlog) != 0) return errno_error("listen on unix:" + path, errno);
  Listener listener{request, {}};
  listener.sockets.push_back(std::move(fd));
  return listener;
}

}  // namespace

Result<Listener> open_listener(const ListenRequest& request) {
  if (request.length < sizeof(sa_family_t) || request.length > sizeof(sockaddr_storage) || request.copies < 1 ||
      request.copies > kMaxCopies || request.backlog < 1)
    return Error{ErrorCode::kInvalid, "a malformed request to listen"};
  switch (request.address.ss_family) {
    case AF_INET:
    case AF_INET6: {
      socklen_t needed = request.address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
      if (request.length != needed) return Error{ErrorCode::kInvalid, "a malformed address to listen on"};
      return open_tcp(request);
    }
    case AF_UNIX:
      if (request.length > sizeof(sockaddr_un) || request.length <= offsetof(sockaddr_un, sun_path))
        return Error{ErrorCode::kInvalid, "a malformed unix address to listen on"};
      return open_unix(request);
    default:
      return Error{ErrorCode::kInvalid, "an address to listen on is IPv4, IPv6 or a unix path"};
  }
}

std::string address_text(const sockaddr_storage& address, socklen_t length) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  const auto& local = reinterpret_cast<const sockaddr_un&>(address);
  size_t room = length > offsetof(sockaddr_un, sun_path) ? length - offsetof(sockaddr_un, sun_path) : 0;
  return "unix:" + std::string(local.sun_path, strnlen(local.sun_path, std::min(room, sizeof local.sun_path)));
}

Result<ListenRequest> unix_request(std::string_view path, int backlog) {
  ListenRequest request{};
  auto& address = reinterpret_cast<sockaddr_un&>(request.address);
  if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != path.npos)
    return Error{ErrorCode::kInvalid, "the path of a unix socket has 1 to 107 bytes: " + std::string(path)};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  request.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  request.backlog = backlog;
  request.copies = 1;
  request.unix_owner_only = 1;
  return request;
}

}  // namespace kaon::keeper
