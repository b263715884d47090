#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "config/spec.h"

namespace kaon::config {

using StringList = std::vector<std::string>;
using StringMap = std::map<std::string, std::string>;

// The settings of one component: checked by its Spec, defaults filled in. A value: copies are independent. The Spec is
// borrowed and outlives every copy (Specs are constants).
//
// A getter takes a key that the Spec has, with the getter's type; anything else is a bug (KAON_CHECK). A key without a
// value and without a default gives the empty value: "", 0, false, no items, null. `has` tells the two apart.
class Settings {
 public:
  Settings() = default;  // of no Spec: it has no keys
  // What a file without any of the keys would give; required keys have no value. A default that its own field refuses
  // is a bug (KAON_CHECK).
  static Settings defaults(const Spec& spec);

  const Spec* spec() const { return spec_; }  // null when default constructed

  bool has(std::string_view key) const;                        // given, or filled in by a default
  const std::string& text(std::string_view key) const;         // kString, kChoice; kAddress in its canonical form
  int64_t integer(std::string_view key) const;                 // kInteger
  bool flag(std::string_view key) const;                       // kBoolean
  const StringList& list(std::string_view key) const;          // kStringList
  const StringMap& map(std::string_view key) const;            // kStringMap
  const Settings* section(std::string_view key) const;         // kSection; null when absent; lives as long as this
  const std::string& secret_name(std::string_view key) const;  // kSecret; what secret::resolve takes

  // Overrides one value by what a person typed, with the checks of the file. `key` may be dotted to reach into a
  // section ("tls.cert"), which comes into being. A list is separated by commas, a map is `name=value` separated by
  // commas, a secret is its name. kInvalid: no such key, or a value out of range; the settings are then unchanged.
  Result<void> set(std::string_view key, std::string_view text);
  // A kStringList, items as they are.
  Result<void> set(std::string_view key, StringList items);
  // A kStringMap, values as they are.
  Result<void> set(std::string_view key, StringMap values);

  // The same Spec and the same values, given or by default.
  bool operator==(const Settings& other) const;

  // std::monostate: no value. A section is a vector of one.
  using Value = std::variant<std::monostate, std::string, int64_t, bool, StringList, StringMap, std::vector<Settings>>;
  const Value& value(const Field& field) const;
  // Stores what the caller has checked.
  void put(const Field& field, Value value);

 private:
  explicit Settings(const Spec& spec);
  friend class Reader;
  friend Value default_value(const Field& field);
  size_t index(std::string_view key) const;
  template <typename T>
  const T& get(std::string_view key, std::initializer_list<Type> types) const;

  const Spec* spec_ = nullptr;
  std::vector<Value> values_;  // by the index of the field
};

// "ms", "bytes", … as the key's ending says; empty: none.
std::string_view unit_of(std::string_view key);
// "`a`, `b` or `c`".
std::string alternatives(std::span<const std::string_view> words);
// The names that `{secret: name}` may hold: 1 to 64 of [A-Za-z0-9._-], the first a letter or a digit.
bool is_secret_name(std::string_view name);

// Checks one scalar as the field's type wants it, and converts it. `plain`: it stood without quotes. The error names
// neither key nor place; the caller does.
Result<Settings::Value> scalar_value(const Field& field, std::string_view text, bool plain);

}  // namespace kaon::config
