#include "config/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <optional>

#include "base/text.h"
#include "config/diagnostic.h"

namespace kaon::config {
namespace {

constexpr size_t kMaxPath = 107;

Error refuse(std::string_view text, std::string_view why) {
  return {ErrorCode::kInvalid, fmt::format("{} is not an address: {}", quoted(text), why)};
}

// inet_pton takes IPv4 only as four decimal numbers without leading zeros, so each address has few spellings.
std::optional<std::string> canonical_ip(int family, std::string_view text) {
  std::string terminated(text);
  if (terminated.find('\0') != std::string::npos) return std::nullopt;
  unsigned char binary[sizeof(in6_addr)];
  if (inet_pton(family, terminated.c_str(), binary) != 1) return std::nullopt;
  char spelled[INET6_ADDRSTRLEN];
  return inet_ntop(family, binary, spelled, sizeof spelled);
}

Result<Address> parse_unix(std::string_view text, std::string_view path) {
  if (path.empty() || path.front() != '/')
    return refuse(text, "the path after `unix:` must be absolute, as in unix:/run/kaon.sock");
  if (path.find('\0') != std::string_view::npos) return refuse(text, "the path holds a NUL byte");
  if (path.size() > kMaxPath)
    return refuse(text, fmt::format("a socket's path has at most {} bytes, this one has {}", kMaxPath, path.size()));
  return Address{.kind = Address::Kind::kUnix, .path = std::string(path)};
}

}  // namespace

std::string Address::text() const {
  if (kind == Kind::kUnix) return "unix:" + path;
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<Address> parse_address(std::string_view text) {
  if (text.starts_with("unix:")) return parse_unix(text, text.substr(5));
  size_t colon = text.rfind(':');
  std::string_view port_text = colon == std::string_view::npos ? text : text.substr(colon + 1);
  auto port = parse_uint(port_text);
  if (!port || port_text.size() > 5) {
    return refuse(text, "write a port (8080), host:port (127.0.0.1:8080), [v6]:port ([::1]:8080) or unix:/path");
  }
  if (*port > 65535) return refuse(text, "a port is from 0 to 65535");
  Address address{.port = static_cast<uint16_t>(*port)};
  std::string_view host = colon == std::string_view::npos ? "localhost" : text.substr(0, colon);
  if (host.empty()) {
    address.host = "0.0.0.0";
  } else if (host == "localhost") {
    address.host = "127.0.0.1";
  } else if (host.front() == '[' && host.back() == ']') {
    auto ip = canonical_ip(AF_INET6, host.substr(1, host.size() - 2));
    if (!ip) return refuse(text, "between the brackets stands an IPv6 address, as in [::1]:8080");
    address.host = *std::move(ip);
  } else if (auto ip = canonical_ip(AF_INET, host)) {
    address.host = *std::move(ip);
  } else if (host.front() == '[' || host.find(':') != std::string_view::npos) {
    return refuse(text, "an IPv6 address stands in brackets, as in [::1]:8080");
  } else {
    return refuse(text, "the host is an IP address or localhost; names are not looked up");
  }
  return address;
}

}  // namespace kaon::config
