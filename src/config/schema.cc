#include "config/schema.h"

#include <algorithm>

#include "base/json.h"
#include "config/function_spec.h"

namespace kaon::config {
namespace {

constexpr char kAddressPattern[] = R"(^([0-9]{1,5}|[^/]*:[0-9]{1,5}|unix:/.*)$)";
constexpr char kSecretPattern[] = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";

// A plain scalar is taken as the text that it is written as, whatever YAML calls it.
void text_types(JsonWriter& json) { json.key("type").array().value("string").value("number").value("boolean").end_array(); }

void strings(JsonWriter& json, std::string_view key, std::span<const std::string_view> values) {
  json.key(key).array();
  for (std::string_view value : values) json.value(value);
  json.end_array();
}

void write_object(JsonWriter& json, const Spec& spec);

void write_type(JsonWriter& json, const Field& field) {
  switch (field.type) {
    case Type::kString: return text_types(json);
    case Type::kInteger:
      json.member("type", "integer");
      if (field.min != INT64_MIN) json.member("minimum", field.min);
      if (field.max != INT64_MAX) json.member("maximum", field.max);
      return;
    case Type::kBoolean: json.member("type", "boolean"); return;
    case Type::kChoice: return strings(json, "enum", field.choices);
    case Type::kStringList:
      json.member("type", "array").key("items").object();
      field.choices.empty() ? text_types(json) : strings(json, "enum", field.choices);
      json.end_object();
      return;
    case Type::kStringMap:
      json.member("type", "object").key("additionalProperties").object();
      text_types(json);
      json.end_object();
      return;
    case Type::kAddress:
      json.key("type").array().value("string").value("integer").end_array().member("pattern", kAddressPattern);
      json.member("minimum", 0).member("maximum", 65535);
      return;
    case Type::kSecret:
      json.member("type", "object").key("properties").object().key("secret").object();
      json.member("type", "string").member("pattern", kSecretPattern).end_object().end_object();
      json.key("required").array().value("secret").end_array().member("additionalProperties", false);
      return;
    case Type::kSection:
      if (field.section) return write_object(json, *field.section);
      json.member("type", "object");
  }
}

void write_default(JsonWriter& json, const Field& field) {
  if (field.default_value.empty()) return;
  switch (field.type) {
    case Type::kInteger:
    case Type::kBoolean: json.key("default").raw(field.default_value); break;
    case Type::kString:
    case Type::kChoice:
    case Type::kAddress: json.member("default", field.default_value); break;
    default: break;
  }
}

void write_field(JsonWriter& json, const Field& field) {
  json.key(field.key).object().member("description", field.help);
  write_type(json, field);
  write_default(json, field);
  json.end_object();
}

void write_required(JsonWriter& json, const Spec& spec) {
  if (std::none_of(spec.fields.begin(), spec.fields.end(), [](const Field& field) { return field.required; })) return;
  json.key("required").array();
  for (const Field& field : spec.fields)
    if (field.required) json.value(field.key);
  json.end_array();
}

void write_object(JsonWriter& json, const Spec& spec) {
  json.member("type", "object").key("properties").object();
  for (const Field& field : spec.fields) write_field(json, field);
  json.end_object();
  write_required(json, spec);
  json.member("additionalProperties", false);
}

void write_kinds(JsonWriter& json, std::string_view description, std::span<const Entry> entries) {
  json.object().member("description", description).key("enum").array();
  for (const Entry& entry : entries) json.value(entry.kind);
  json.end_array().end_object();
}

void open_if(JsonWriter& json, std::string_view key, std::string_view kind) {
  json.object().key("if").object().key("properties").object().key(key).object().member("const", kind).end_object().end_object();
  json.key("required").array().value(key).end_array().end_object().key("then").object();
}

void write_triggers(JsonWriter& json, const Field& field, const Catalog& catalog) {
  json.key("triggers").object().member("description", field.help).member("type", "object");
  json.member("maxProperties", static_cast<uint64_t>(kMaxTriggers));
  json.key("propertyNames").object().member("pattern", kFunctionNamePattern).end_object();
  json.key("additionalProperties").object().member("type", "object").key("properties").object().key("kind");
  write_kinds(json, "The kind of event source.", catalog.triggers);
  json.end_object().key("required").array().value("kind").end_array().key("allOf").array();
  for (const Entry& entry : catalog.triggers) {
    open_if(json, "kind", entry.kind);
    json.member("$ref", "#/$defs/trigger." + std::string(entry.kind)).end_object().end_object();
  }
  json.end_array().end_object().end_object();
}

void write_trigger_definitions(JsonWriter& json, const Catalog& catalog) {
  json.key("$defs").object();
  for (const Entry& entry : catalog.triggers) {
    json.key("trigger." + std::string(entry.kind)).object().member("description", entry.spec->help);
    json.member("type", "object").key("properties").object().key("kind").object().member("const", entry.kind).end_object();
    for (const Field& field : entry.spec->fields) write_field(json, field);
    json.end_object();
    write_required(json, *entry.spec);
    json.member("additionalProperties", false).end_object();
  }
  json.end_object();
}

std::vector<std::string_view> runtime_keys(const Catalog& catalog) {
  std::vector<std::string_view> keys;
  for (const Entry& entry : catalog.runtimes)
    for (const Field& field : entry.spec->fields)
      if (std::find(keys.begin(), keys.end(), field.key) == keys.end()) keys.push_back(field.key);
  return keys;
}

// Beside the common keys, each runtime allows its own and forbids those of the others.
void write_runtimes(JsonWriter& json, const Catalog& catalog, std::span<const std::string_view> keys) {
  json.key("allOf").array();
  for (const Entry& entry : catalog.runtimes) {
    open_if(json, "runtime", entry.kind);
    json.key("properties").object();
    for (const Field& field : entry.spec->fields) write_field(json, field);
    for (std::string_view key : keys) {
      bool own =
          std::any_of(entry.spec->fields.begin(), entry.spec->fields.end(), [&](const Field& field) { return field.key == key; });
      if (!own) json.member(key, false);
    }
    json.end_object();
    write_required(json, *entry.spec);
    json.end_object().end_object();
  }
  json.end_array();
}

void write_common(JsonWriter& json, const Field& field, const Catalog& catalog) {
  if (field.key == "bindings" || field.key == "sandbox") return;  // not in this version
  if (field.key == "triggers") return write_triggers(json, field, catalog);
  if (field.key == "runtime") {
    json.key("runtime");
    return write_kinds(json, field.help, catalog.runtimes);
  }
  if (field.key == "name") {
    json.key("name").object().member("description", field.help);
    text_types(json);
    json.member("pattern", kFunctionNamePattern).end_object();
    return;
  }
  if (field.key == "isolation") {
    json.key("isolation").object().member("description", field.help).key("enum").array().value("none").end_array().end_object();
    return;
  }
  write_field(json, field);
}

}  // namespace

std::string function_schema(const Catalog& catalog) {
  std::string out;
  JsonWriter json(out);
  const Spec& common = function_spec();
  json.object().member("$schema", "https://json-schema.org/draft/2020-12/schema");
  json.member("title", common.name).member("description", common.help).member("type", "object").key("properties").object();
  for (const Field& field : common.fields) write_common(json, field, catalog);
  std::vector<std::string_view> keys = runtime_keys(catalog);
  for (std::string_view key : keys) json.member(key, true);
  json.end_object();
  write_required(json, common);
  json.member("additionalProperties", false);
  write_runtimes(json, catalog, keys);
  write_trigger_definitions(json, catalog);
  json.end_object();
  return out;
}

}  // namespace kaon::config
