#pragma once
#include <utility>
#include <variant>

#include "base/check.h"
#include "base/error.h"

namespace kaon {

// A value or an Error, with the member names of std::expected.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return checked(); }
  T&& value() && { return std::move(checked()); }
  const T& value() const& { return const_cast<Result*>(this)->checked(); }
  T& operator*() & { return checked(); }
  T&& operator*() && { return std::move(checked()); }
  const T& operator*() const& { return const_cast<Result*>(this)->checked(); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &const_cast<Result*>(this)->checked(); }
  Error& error() & { return std::get<1>(state_); }
  Error&& error() && { return std::move(std::get<1>(state_)); }
  const Error& error() const& { return std::get<1>(state_); }

 private:
  T& checked() {
    KAON_CHECK(has_value(), std::get<1>(state_).message);
    return std::get<0>(state_);
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), failed_(true) {}

  bool has_value() const { return !failed_; }
  explicit operator bool() const { return !failed_; }
  void value() const { KAON_CHECK(!failed_, error_.message); }
  Error& error() & { return error_; }
  Error&& error() && { return std::move(error_); }
  const Error& error() const& { return error_; }

 private:
  Error error_;
  bool failed_ = false;
};

}  // namespace kaon

#define KAON_CONCAT_(a, b) a##b
#define KAON_CONCAT(a, b) KAON_CONCAT_(a, b)
// KAON_TRY(auto x, f()); returns f()'s error from the enclosing function, or declares x.
#define KAON_TRY(declaration, expression) KAON_TRY_(KAON_CONCAT(kaon_try_, __LINE__), declaration, expression)
#define KAON_TRY_(temporary, declaration, expression)                 \
  auto temporary = (expression);                                      \
  if (!temporary) [[unlikely]] return std::move(temporary).error();   \
  declaration = std::move(temporary).value()
#define KAON_TRY_VOID(expression)                                        \
  do {                                                                   \
    if (auto kaon_try = (expression); !kaon_try) [[unlikely]]            \
      return std::move(kaon_try).error();                                \
  } while (false)
