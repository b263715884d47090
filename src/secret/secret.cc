#include "secret/secret.h"

#include <string.h>

#include <utility>

namespace kaon::secret {

Secret::Secret(size_t capacity) : data_(std::make_unique<char[]>(capacity)), capacity_(capacity) {}

Secret Secret::copy(std::string_view value) {
  Secret secret(value.size());
  if (!value.empty()) memcpy(secret.data_.get(), value.data(), value.size());
  secret.size_ = value.size();
  return secret;
}

Secret::Secret(Secret&& other) noexcept
    : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)), capacity_(std::exchange(other.capacity_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  wipe();
  data_ = std::move(other.data_);
  size_ = std::exchange(other.size_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  return *this;
}

Secret::~Secret() { wipe(); }

// Compilers remove a memset of memory that is about to be freed; explicit_bzero stays.
void Secret::wipe() {
  if (data_) explicit_bzero(data_.get(), capacity_);
  size_ = 0;
}

}  // namespace kaon::secret
