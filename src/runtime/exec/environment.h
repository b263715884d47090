#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "event/event.h"

namespace kaon::runtime::exec {

inline constexpr size_t kMaxEnvironmentBytes = 64 << 10;

// The environment of the function contract for one event after another; reuses its memory.
class Environment {
 public:
  Environment(std::string_view function, std::string_view version, const std::map<std::string, std::string>& variables);

  // "NAME=value" for each variable, good until the next call. kInvalid: a value with a NUL byte, or more than
  // kMaxEnvironmentBytes. An extension whose name could be mistaken for something else is left out.
  Result<std::span<const std::string_view>> build(const event::Event& event, Nanos now, std::string_view log_level);

 private:
  void add(std::string_view prefix, std::string_view name, std::string_view value);
  void add_number(std::string_view name, uint64_t value);
  bool has(std::string_view name) const;

  std::vector<std::string> fixed_;
  std::string memory_;
  std::vector<size_t> ends_;
  std::vector<std::string_view> views_;
};

// The variable of an extension attribute: "CE_" and the name in capitals; empty when the name has other characters than
// letters and digits of ASCII and `_`, or is one of the attributes that have a variable of their own.
std::string extension_variable(std::string_view name);

}  // namespace kaon::runtime::exec
