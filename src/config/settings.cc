#include "config/settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "config/address.h"
#include "config/diagnostic.h"
#include "config/reader.h"

namespace kaon::config {
namespace {

constexpr std::string_view type_phrase(Type type) {
  switch (type) {
    case Type::kString: return "text";
    case Type::kInteger: return "an integer";
    case Type::kBoolean: return "true or false";
    case Type::kChoice: return "one word";
    case Type::kStringList: return "a list of texts";
    case Type::kStringMap: return "a mapping of names to texts";
    case Type::kAddress: return "an address";
    case Type::kSecret: return "{secret: name}";
    case Type::kSection: return "a mapping";
  }
  return "";
}

Error invalid(std::string message) { return {ErrorCode::kInvalid, std::move(message)}; }

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  if (text.empty()) return parts;
  for (size_t start = 0;;) {
    size_t end = text.find(separator, start);
    parts.push_back(text.substr(start, end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

std::string range_text(const Field& field) {
  std::string_view unit = unit_of(field.key);
  std::string tail = unit.empty() ? "" : fmt::format(" {}", unit);
  if (field.min != INT64_MIN && field.max != INT64_MAX) return fmt::format("from {} to {}{}", field.min, field.max, tail);
  if (field.min != INT64_MIN) return fmt::format("at least {}{}", field.min, tail);
  return fmt::format("at most {}{}", field.max, tail);
}

Result<Settings::Value> integer_value(const Field& field, std::string_view text, bool plain) {
  std::string_view digits = text.starts_with('-') || text.starts_with('+') ? text.substr(1) : text;
  bool number = !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!plain && number) return invalid(fmt::format("must be an integer, found the text {}: remove the quotes", quoted(text)));
  if (!number) return invalid(fmt::format("must be an integer, found {}", quoted(text)));
  // 010 is eight to YAML 1.1 and ten to YAML 1.2.
  if (digits.size() > 1 && digits[0] == '0')
    return invalid(fmt::format("must be an integer, found {}: remove the leading zeros", quoted(text)));
  auto magnitude = parse_uint(digits);
  bool negative = text[0] == '-';
  bool fits = magnitude && *magnitude <= static_cast<uint64_t>(INT64_MAX);
  int64_t value = fits ? static_cast<int64_t>(*magnitude) * (negative ? -1 : 1) : 0;
  if (fits && value >= field.min && value <= field.max) return Settings::Value(value);
  if (field.min == INT64_MIN && field.max == INT64_MAX)
    return invalid(fmt::format("is {}: it does not fit into 64 bits", quoted(text)));
  return invalid(fmt::format("is {}: it must be {}", fits ? fmt::format("{}", value) : quoted(text), range_text(field)));
}

}  // namespace

std::string_view unit_of(std::string_view key) {
  static constexpr std::string_view kUnits[] = {"ms", "s", "bytes", "percent"};
  size_t underscore = key.rfind('_');
  if (underscore == std::string_view::npos) return {};
  for (std::string_view unit : kUnits)
    if (key.substr(underscore + 1) == unit) return unit;
  return {};
}

std::string alternatives(std::span<const std::string_view> words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
    fmt::format_to(std::back_inserter(out), "`{}`", words[i]);
  }
  return out;
}

bool is_secret_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && is_alphanumeric(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

Result<Settings::Value> scalar_value(const Field& field, std::string_view text, bool plain) {
  switch (field.type) {
    case Type::kString: return Settings::Value(std::string(text));
    case Type::kInteger: return integer_value(field, text, plain);
    case Type::kBoolean:
      if (text == "true" && plain) return Settings::Value(true);
      if (text == "false" && plain) return Settings::Value(false);
      if (text == "true" || text == "false")
        return invalid(fmt::format("must be true or false, found the text {}: remove the quotes", quoted(text)));
      return invalid(fmt::format("must be true or false, found {}", quoted(text)));
    case Type::kChoice: {
      if (std::find(field.choices.begin(), field.choices.end(), text) != field.choices.end())
        return Settings::Value(std::string(text));
      std::string message = fmt::format("must be {}, found {}", alternatives(field.choices), quoted(text));
      return invalid(std::move(message));
    }
    case Type::kAddress: {
      auto address = parse_address(text);
      if (!address) return invalid(fmt::format("must be an address: {}", address.error().message));
      return Settings::Value(address->text());
    }
    default: return invalid(fmt::format("must be {}, found {}", type_phrase(field.type), quoted(text)));
  }
}

Settings::Settings(const Spec& spec) : spec_(&spec), values_(spec.fields.size()) {}

Settings Settings::defaults(const Spec& spec) {
  Settings settings(spec);
  for (const Field& field : spec.fields)
    if (!field.default_value.empty()) settings.put(field, default_value(field));
  return settings;
}

size_t Settings::index(std::string_view key) const {
  KAON_CHECK(spec_ != nullptr, key);
  const Field* field = find_field(*spec_, key);
  KAON_CHECK(field != nullptr, spec_->name, key);
  return static_cast<size_t>(field - spec_->fields.data());
}

template <typename T>
const T& Settings::get(std::string_view key, std::initializer_list<Type> types) const {
  static const T kEmpty{};
  size_t at = index(key);
  Type type = spec_->fields[at].type;
  KAON_CHECK(std::find(types.begin(), types.end(), type) != types.end(), spec_->name, key, type);
  const T* value = std::get_if<T>(&values_[at]);
  return value ? *value : kEmpty;
}

bool Settings::has(std::string_view key) const { return values_[index(key)].index() != 0; }
const std::string& Settings::text(std::string_view key) const {
  return get<std::string>(key, {Type::kString, Type::kChoice, Type::kAddress});
}
int64_t Settings::integer(std::string_view key) const { return get<int64_t>(key, {Type::kInteger}); }
bool Settings::flag(std::string_view key) const { return get<bool>(key, {Type::kBoolean}); }
const StringList& Settings::list(std::string_view key) const { return get<StringList>(key, {Type::kStringList}); }
const StringMap& Settings::map(std::string_view key) const { return get<StringMap>(key, {Type::kStringMap}); }
const std::string& Settings::secret_name(std::string_view key) const { return get<std::string>(key, {Type::kSecret}); }
const Settings* Settings::section(std::string_view key) const {
  const auto& inner = get<std::vector<Settings>>(key, {Type::kSection});
  return inner.empty() ? nullptr : &inner.front();
}

const Settings::Value& Settings::value(const Field& field) const { return values_[index(field.key)]; }
void Settings::put(const Field& field, Value value) { values_[index(field.key)] = std::move(value); }

Result<void> Settings::set(std::string_view key, std::string_view text) {
  size_t dot = key.find('.');
  std::string_view first = key.substr(0, dot);
  const Field* field = spec_ ? find_field(*spec_, first) : nullptr;
  if (!field) return invalid(unknown_key(first, {}, spec_ ? std::span(&spec_, 1) : std::span<const Spec* const>()));
  if (dot != std::string_view::npos) {
    if (field->type != Type::kSection || !field->section)
      return invalid(fmt::format("`{}` must be {}: it has no keys of its own", first, type_phrase(field->type)));
    const Settings* present = section(first);
    Settings inner = present ? *present : defaults(*field->section);
    KAON_TRY_VOID(inner.set(key.substr(dot + 1), text));
    put(*field, std::vector<Settings>{std::move(inner)});
    return {};
  }
  if (text.find('\0') != std::string_view::npos) return invalid(fmt::format("`{}` holds a NUL byte", key));
  switch (field->type) {
    case Type::kStringList: {
      StringList items;
      for (std::string_view part : split(text, ',')) items.emplace_back(part);
      return set(key, std::move(items));
    }
    case Type::kStringMap: {
      StringMap values;
      for (std::string_view part : split(text, ',')) {
        size_t equals = part.find('=');
        if (equals == std::string_view::npos || equals == 0)
          return invalid(fmt::format("`{}` must be name=value, separated by commas, found {}", key, quoted(part)));
        values.insert_or_assign(std::string(part.substr(0, equals)), std::string(part.substr(equals + 1)));
      }
      return set(key, std::move(values));
    }
    case Type::kSecret:
      // What was typed may be the secret itself: the message does not repeat it.
      if (!is_secret_name(text)) return invalid(fmt::format("`{}` must be the name of a secret: {}", key, kSecretNameRule));
      put(*field, std::string(text));
      return {};
    case Type::kSection:
      return invalid(fmt::format("`{}` is a section: set one of its keys, as in {}.{}", key, key,
                                 field->section && !field->section->fields.empty() ? field->section->fields[0].key : "key"));
    default: {
      auto value = scalar_value(*field, text, true);
      if (!value) return invalid(fmt::format("`{}` {}", key, value.error().message));
      put(*field, *std::move(value));
      return {};
    }
  }
}

Result<void> Settings::set(std::string_view key, StringList items) {
  const Field* field = spec_ ? find_field(*spec_, key) : nullptr;
  if (!field) return invalid(unknown_key(key, {}, spec_ ? std::span(&spec_, 1) : std::span<const Spec* const>()));
  if (field->type != Type::kStringList)
    return invalid(fmt::format("`{}` must be {}, found a list", key, type_phrase(field->type)));
  for (const std::string& item : items) {
    if (item.find('\0') != std::string::npos) return invalid(fmt::format("`{}` holds a NUL byte", key));
    if (auto checked = check_item(*field, item); !checked) return invalid(fmt::format("`{}` {}", key, checked.error().message));
  }
  put(*field, std::move(items));
  return {};
}

Result<void> Settings::set(std::string_view key, StringMap values) {
  const Field* field = spec_ ? find_field(*spec_, key) : nullptr;
  if (!field) return invalid(unknown_key(key, {}, spec_ ? std::span(&spec_, 1) : std::span<const Spec* const>()));
  if (field->type != Type::kStringMap)
    return invalid(fmt::format("`{}` must be {}, found a mapping", key, type_phrase(field->type)));
  for (const auto& [name, value] : values)
    if (name.find('\0') != std::string::npos || value.find('\0') != std::string::npos)
      return invalid(fmt::format("`{}` holds a NUL byte", key));
  put(*field, std::move(values));
  return {};
}

bool Settings::operator==(const Settings& other) const { return spec_ == other.spec_ && values_ == other.values_; }

}  // namespace kaon::config
