#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace kaon::config {

enum class Type : uint8_t {
  kString,
  kInteger,
  kBoolean,
  kChoice,      // one of `choices`
  kStringList,
  kStringMap,   // any keys, string values
  kAddress,     // host:port, [v6]:port, :port, port, unix:/path
  kSecret,      // {secret: name}; its value is never in the settings
  kSection,     // the keys of `section`
};

struct Spec;

// One key of a component's settings, declared once: parsing, lint, the reference, the JSON Schema and forms come from it.
struct Field {
  std::string_view key;   // snake_case, with the unit in the name
  Type type;
  std::string_view help;  // one sentence
  std::string_view default_value = {};  // as it would stand in YAML; empty: none
  bool required = false;
  int64_t min = INT64_MIN;
  int64_t max = INT64_MAX;
  std::span<const std::string_view> choices = {};
  const Spec* section = nullptr;
  std::string_view example = {};
};

struct Spec {
  std::string_view name;
  std::string_view help;
  std::span<const Field> fields;
};

}  // namespace kaon::config
