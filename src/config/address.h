#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kaon::config {

// Where to listen or to connect, by number: no name is ever looked up.
//   8080            127.0.0.1, the loopback
//   :8080           0.0.0.0, every IPv4 address of the machine
//   10.0.0.1:8080   localhost:8080 is 127.0.0.1:8080
//   [::1]:8080
//   unix:/run/kaon/web.sock
// Port 0 lets the kernel choose.
struct Address {
  enum class Kind : uint8_t { kTcp, kUnix };
  Kind kind = Kind::kTcp;
  std::string host;  // an IPv4 or IPv6 literal, without brackets, as inet_ntop writes it
  uint16_t port = 0;
  std::string path;  // absolute, at most 107 bytes (sun_path)

  // One spelling for each address: "127.0.0.1:8080", "[::1]:8080", "unix:/run/kaon/web.sock"; it parses to the same.
  std::string text() const;
  bool operator==(const Address&) const = default;
};

Result<Address> parse_address(std::string_view text);

}  // namespace kaon::config
