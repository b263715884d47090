#include "base/sha256.h"

#include <gtest/gtest.h>

#include <array>

namespace kaon {

struct Sha256Portable {
  static std::array<uint32_t, 8> after(const uint8_t* block, bool portable) {
    Sha256 hash;
    if (portable) hash.block_portably(block);
    else hash.block(block);
    return hash.state_;
  }
};

namespace {

// On a machine without the instructions both are the same code.
TEST(Sha256, TheInstructionsAgreeWithThePortableCode) {
  uint8_t block[64];
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 64; ++i) block[i] = static_cast<uint8_t>(round * 31 + i * (round + 3));
    EXPECT_EQ(Sha256Portable::after(block, true), Sha256Portable::after(block, false));
  }
}

TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(Sha256::hex_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256::hex_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256::hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256::hex_of(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesAreTheWhole) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
  for (size_t size = 0; size <= text.size(); ++size) {
    std::string whole = Sha256::hex_of(text.substr(0, size));
    for (size_t piece : {1, 7, 63, 64, 65}) {
      Sha256 hash;
      for (size_t at = 0; at < size; at += piece) hash.update(std::string_view(text).substr(at, std::min(piece, size - at)));
      ASSERT_EQ(Sha256::hex(hash.finish()), whole) << size << " bytes in pieces of " << piece;
    }
  }
}

}  // namespace
}  // namespace kaon
