#pragma once
#include <cstddef>
#include <memory>
#include <string_view>

#include "base/result.h"

namespace kaon::secret {

// The value of a secret. It cannot be printed, logged or turned into a string by accident: there is no conversion and
// no formatter, only `reveal`. Its memory is overwritten when it is destroyed; a move takes the memory along, so there
// is only ever one copy. The bytes may be anything, NULs too.
class Secret {
 public:
  Secret() = default;  // empty
  // A copy of `value`; whoever made the original wipes it.
  static Secret copy(std::string_view value);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  // Lives as long as this object is neither moved from nor assigned to. For the call that needs it, not for keeping.
  std::string_view reveal() const { return {data_.get(), size_}; }
  bool empty() const { return size_ == 0; }

 private:
  friend class Loader;
  explicit Secret(size_t capacity);
  void wipe();

  std::unique_ptr<char[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

template <typename Stream>
void operator<<(Stream&, const Secret&) = delete;

}  // namespace kaon::secret
