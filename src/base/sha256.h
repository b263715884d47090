#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kaon {

// SHA-256 (FIPS 180-4), for naming content. Not hardened against timing: do not feed it secrets.
class Sha256 {
 public:
  using Digest = std::array<uint8_t, 32>;

  void update(std::string_view bytes);
  // The digest of everything so far. The object is spent: neither update nor finish may follow.
  Digest finish();

  // In lower-case hexadecimal, 64 characters.
  static std::string hex(const Digest& digest);
  static std::string hex_of(std::string_view bytes) {
    Sha256 hash;
    hash.update(bytes);
    return hex(hash.finish());
  }

 private:
  friend struct Sha256Portable;  // its test
  void block(const uint8_t* bytes);
  void block_portably(const uint8_t* bytes);
  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> rest_{};
  uint64_t length_ = 0;  // bytes so far
};

}  // namespace kaon
