#include "observe/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/check.h"

namespace kaon::observe {

Random::Random() {
  ssize_t n;
  do n = getrandom(state_.data(), sizeof state_, 0);
  while (n < 0 && errno == EINTR);
  KAON_CHECK(n == static_cast<ssize_t>(sizeof state_), n, errno);
  if ((state_[0] | state_[1] | state_[2] | state_[3]) == 0) state_[0] = 1;  // the one state that stands still
}

}  // namespace kaon::observe
