#include "config/reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace kaon::config {
namespace {

constexpr size_t kLongestGuess = 64;

Error invalid(std::string message) { return {ErrorCode::kInvalid, std::move(message)}; }

}  // namespace

const Field* find_field(const Spec& spec, std::string_view key) {
  auto field = std::find_if(spec.fields.begin(), spec.fields.end(), [&](const Field& each) { return each.key == key; });
  return field == spec.fields.end() ? nullptr : &*field;
}

std::string unknown_key(std::string_view key, std::string_view where, std::span<const Spec* const> specs) {
  std::vector<std::string_view> keys;
  for (const Spec* spec : specs)
    for (const Field& field : spec->fields) keys.push_back(field.key);
  std::string message = fmt::format("unknown key {}{}", quoted(key), where);
  // Distances to a key of a megabyte would take seconds.
  std::string_view guess = key.size() <= kLongestGuess ? nearest(key, keys) : std::string_view();
  if (!guess.empty()) return message + fmt::format(", did you mean `{}`?", guess);
  if (keys.empty()) return message + ": there are no keys here";
  return message;
}

Result<void> check_item(const Field& field, std::string_view item) {
  if (field.choices.empty() || std::find(field.choices.begin(), field.choices.end(), item) != field.choices.end()) return {};
  return invalid(fmt::format("must hold only {}, found {}", alternatives(field.choices), quoted(item)));
}

Settings::Value default_value(const Field& field) {
  bool scalar = field.type == Type::kString || field.type == Type::kInteger || field.type == Type::kBoolean ||
                field.type == Type::kChoice || field.type == Type::kAddress;
  // A plain scalar is its own text; the parser is not needed for it, and processes start sooner without.
  if (scalar && field.default_value.find_first_of("\"'") == std::string_view::npos) {
    auto value = scalar_value(field, field.default_value, true);
    KAON_CHECK(value.has_value(), field.key, field.default_value, value.error().message);
    return *std::move(value);
  }
  yaml::Document document;
  std::vector<yaml::Problem> problems;
  bool parsed = document.parse(field.default_value, problems);
  KAON_CHECK(parsed && problems.empty(), field.key, field.default_value);
  const Spec spec{"default", "", std::span(&field, 1)};
  std::vector<Diagnostic> diagnostics;
  Reader reader("default", diagnostics);
  Settings holder(spec);
  reader.read_field(field, document.root(), "", holder);
  KAON_CHECK(!reader.failed(), field.key, field.default_value, diagnostics.front().message);
  return holder.value(field);
}

std::string found(const yaml::Node& node) {
  switch (node.kind) {
    case yaml::Kind::kNull: return "nothing";
    case yaml::Kind::kList: return "a list";
    case yaml::Kind::kMap: return "a mapping";
    case yaml::Kind::kScalar: return quoted(node.text);
  }
  return "";
}

void Reader::add(Severity severity, yaml::Mark mark, std::string message, ErrorCode code) {
  if (severity == Severity::kError) failed_ = true;
  if (out_.size() > kMaxDiagnostics) return;
  if (out_.size() == kMaxDiagnostics) {
    message = fmt::format("there are more than {} problems; the others are left out", kMaxDiagnostics);
    code = ErrorCode::kInvalid;
    severity = Severity::kError;
  }
  out_.push_back({file_, mark.line, mark.column, std::move(message), severity, code});
}

void Reader::error(yaml::Mark mark, std::string message, ErrorCode code) {
  add(Severity::kError, mark, std::move(message), code);
}
void Reader::warning(yaml::Mark mark, std::string message) {
  add(Severity::kWarning, mark, std::move(message), ErrorCode::kInvalid);
}

Settings Reader::read(const yaml::Node& map, const Spec& spec, std::string_view where,
                      std::span<const std::string_view> skipped) {
  Settings settings = Settings::defaults(spec);
  const Spec* const specs[] = {&spec};
  for (const auto& [key, value] : map.members) {
    if (std::find(skipped.begin(), skipped.end(), key->text) != skipped.end()) continue;
    if (const Field* field = find_field(spec, key->text)) {
      read_field(*field, *value, where, settings);
    } else {
      error(key->mark, unknown_key(key->text, where, specs));
    }
  }
  require(map, spec, where, settings);
  return settings;
}

void Reader::require(const yaml::Node& map, const Spec& spec, std::string_view where, const Settings& settings) {
  for (const Field& field : spec.fields) {
    if (!field.required || settings.has(field.key)) continue;
    bool written =
        std::any_of(map.members.begin(), map.members.end(), [&](const auto& member) { return member.first->text == field.key; });
    if (!written) error(map.mark, fmt::format("`{}` is missing{}: {}", field.key, where, field.help));
  }
}

void Reader::read_field(const Field& field, const yaml::Node& node, std::string_view where, Settings& settings) {
  std::string name = fmt::format("`{}`{}", field.key, where);
  bool scalar = node.kind == yaml::Kind::kScalar;
  switch (field.type) {
    case Type::kStringList: return read_list(field, node, name, settings);
    case Type::kStringMap: return read_map(field, node, name, settings);
    case Type::kSecret: return read_secret(field, node, name, settings);
    case Type::kSection:
      if (node.kind != yaml::Kind::kMap)
        return error(node.mark, fmt::format("{} must be a mapping of keys to values, found {}", name, found(node)));
      KAON_CHECK(field.section != nullptr, field.key);
      settings.put(field, std::vector<Settings>{read(node, *field.section, fmt::format(" in `{}`", field.key), {})});
      return;
    case Type::kString:
      if (!scalar) return error(node.mark, fmt::format("{} must be text, found {}", name, found(node)));
      break;
    case Type::kInteger:
      if (!scalar) return error(node.mark, fmt::format("{} must be an integer, found {}", name, found(node)));
      break;
    case Type::kBoolean:
      if (!scalar) return error(node.mark, fmt::format("{} must be true or false, found {}", name, found(node)));
      break;
    case Type::kChoice:
      if (!scalar)
        return error(node.mark, fmt::format("{} must be {}, found {}", name, alternatives(field.choices), found(node)));
      break;
    case Type::kAddress:
      if (!scalar) return error(node.mark, fmt::format("{} must be an address, found {}", name, found(node)));
      break;
  }
  auto value = scalar_value(field, node.text, node.plain);
  if (!value) return error(node.mark, fmt::format("{} {}", name, value.error().message));
  settings.put(field, *std::move(value));
}

void Reader::read_list(const Field& field, const yaml::Node& node, const std::string& name, Settings& settings) {
  if (node.kind != yaml::Kind::kList) {
    std::string_view hint = node.kind == yaml::Kind::kScalar ? ": put it into brackets, as in [a, b]" : "";
    return error(node.mark, fmt::format("{} must be a list, found {}{}", name, found(node), hint));
  }
  StringList items;
  for (const yaml::Node* item : node.items) {
    if (item->kind != yaml::Kind::kScalar) {
      error(item->mark, fmt::format("{} must hold only texts, found {}", name, found(*item)));
    } else if (auto checked = check_item(field, item->text); !checked) {
      error(item->mark, fmt::format("{} {}", name, checked.error().message));
    } else {
      items.push_back(item->text);
    }
  }
  settings.put(field, std::move(items));
}

void Reader::read_map(const Field& field, const yaml::Node& node, const std::string& name, Settings& settings) {
  if (node.kind != yaml::Kind::kMap)
    return error(node.mark, fmt::format("{} must be a mapping of names to texts, found {}", name, found(node)));
  StringMap values;
  for (const auto& [key, value] : node.members) {
    if (value->kind != yaml::Kind::kScalar) {
      std::string hint = value->kind == yaml::Kind::kNull ? ": write \"\" for an empty text" : "";
      error(value->mark, fmt::format("{} must be text in {}, found {}{}", quoted(key->text), name, found(*value), hint));
    } else {
      values.emplace(key->text, value->text);
    }
  }
  settings.put(field, std::move(values));
}

void Reader::read_secret(const Field& field, const yaml::Node& node, const std::string& name, Settings& settings) {
  bool shaped = node.kind == yaml::Kind::kMap && node.members.size() == 1 && node.members[0].first->text == "secret" &&
                node.members[0].second->kind == yaml::Kind::kScalar;
  if (node.kind == yaml::Kind::kScalar) {
    // What stands there may be the secret itself: the message does not repeat it.
    return error(node.mark,
                 fmt::format("{} is a secret, and its value does not belong into this file: write {{secret: name}} and set "
                             "KAON_SECRET_NAME in the environment",
                             name));
  }
  if (!shaped)
    return error(node.mark, fmt::format("{} must be {{secret: name}}, found {}", name,
                                        node.kind == yaml::Kind::kMap ? "a mapping of other keys" : found(node)));
  const yaml::Node& value = *node.members[0].second;
  if (!is_secret_name(value.text)) return error(value.mark, fmt::format("{} must name a secret: {}", name, kSecretNameRule));
  settings.put(field, value.text);
}

}  // namespace kaon::config
