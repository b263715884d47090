#pragma once
#include <array>
#include <bit>
#include <cstdint>

namespace kaon::observe {

// xoshiro256**, seeded by getrandom. For ids that must not meet, not for secrets. Not thread-safe; each loop has its own,
// made after the last fork, because a copied state repeats itself.
class Random {
 public:
  Random();
  uint64_t next() {
    uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace kaon::observe
