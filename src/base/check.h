#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace kaon {

// A bug. Thrown by KAON_CHECK only; caught only where an event is dispatched, a task is rooted or a thread starts.
class CheckFailure : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void check_failed(const char* file, int line, const char* condition, std::string operands);

namespace check_detail {
inline std::string show(std::string_view value) { return std::string(value); }
inline std::string show(const void* value) { return value ? "pointer" : "null"; }
template <typename T>
  requires(std::is_arithmetic_v<T>)
std::string show(T value) { return std::to_string(value); }
template <typename T>
  requires(std::is_enum_v<T>)
std::string show(T value) { return std::to_string(static_cast<long long>(value)); }

template <typename... Values>
[[noreturn, gnu::cold, gnu::noinline]] void fail(const char* file, int line, const char* condition, const Values&... values) {
  std::string text;
  ((text += text.empty() ? "" : ", ", text += show(values)), ...);
  check_failed(file, line, condition, std::move(text));
}
}  // namespace check_detail
}  // namespace kaon

// KAON_CHECK(condition, operands…): an invariant; when it does not hold, throws CheckFailure with the operands' values.
#define KAON_CHECK(condition, ...)                                                                                    \
  do {                                                                                                                \
    if (!(condition)) [[unlikely]]                                                                                    \
      ::kaon::check_detail::fail(__FILE__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__);                          \
  } while (false)
