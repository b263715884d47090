#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/json.h"
#include "config/function.h"

namespace kaon::config {
namespace {

// A JSON string is a YAML string in double quotes, but for DEL, which is not printable to YAML.
std::string literal(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  for (size_t at = 0; (at = out.find('\x7f', at)) != std::string::npos;) out.replace(at, 1, "\\u007f");
  return out;
}

bool known(std::span<const Entry> entries, std::string_view kind) {
  return std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.kind == kind; });
}

void line(std::string& out, int indent, std::string_view key, std::string_view value) {
  out.append(static_cast<size_t>(indent), ' ');
  out += key;
  out += ':';
  if (!value.empty()) out += ' ';
  out += value;
  out += '\n';
}

void write_map(std::string& out, int indent, std::string_view key, const StringMap& values) {
  if (values.empty()) return line(out, indent, key, "{}");
  line(out, indent, key, "");
  for (const auto& [name, value] : values) line(out, indent + 2, literal(name), literal(value));
}

void write_list(std::string& out, int indent, std::string_view key, const StringList& items) {
  if (items.empty()) return line(out, indent, key, "[]");
  line(out, indent, key, "");
  for (const std::string& item : items) {
    out.append(static_cast<size_t>(indent) + 2, ' ');
    out += "- " + literal(item) + '\n';
  }
}

bool write_settings(std::string& out, int indent, const Settings& settings);

void write_field(std::string& out, int indent, const Field& field, const Settings& settings) {
  switch (field.type) {
    case Type::kString:
    case Type::kChoice:
    case Type::kAddress: return line(out, indent, field.key, literal(settings.text(field.key)));
    case Type::kInteger: return line(out, indent, field.key, fmt::format("{}", settings.integer(field.key)));
    case Type::kBoolean: return line(out, indent, field.key, settings.flag(field.key) ? "true" : "false");
    case Type::kStringList: return write_list(out, indent, field.key, settings.list(field.key));
    case Type::kStringMap: return write_map(out, indent, field.key, settings.map(field.key));
    case Type::kSecret:
      return line(out, indent, field.key, fmt::format("{{secret: {}}}", literal(settings.secret_name(field.key))));
    case Type::kSection: {
      std::string inner;
      if (!write_settings(inner, indent + 2, *settings.section(field.key))) return line(out, indent, field.key, "{}");
      line(out, indent, field.key, "");
      out += inner;
    }
  }
}

// False: there was nothing to write.
bool write_settings(std::string& out, int indent, const Settings& settings) {
  if (!settings.spec()) return false;
  bool any = false;
  for (const Field& field : settings.spec()->fields) {
    if (!settings.has(field.key)) continue;
    any = true;
    write_field(out, indent, field, settings);
  }
  return any;
}

}  // namespace

std::string write_function(const Function& function, const Catalog& catalog) {
  KAON_CHECK(known(catalog.runtimes, function.runtime), function.runtime);
  std::string out;
  line(out, 0, "name", literal(function.name));
  if (!function.description.empty()) line(out, 0, "description", literal(function.description));
  line(out, 0, "runtime", literal(function.runtime));
  if (!function.handler.empty()) line(out, 0, "handler", literal(function.handler));
  write_settings(out, 0, function.runtime_settings);
  line(out, 0, "workers", "");
  line(out, 2, "min", fmt::format("{}", function.workers.min));
  if (function.workers.max != 0) line(out, 2, "max", fmt::format("{}", function.workers.max));
  if (function.workers.concurrency != 0) line(out, 2, "concurrency", fmt::format("{}", function.workers.concurrency));
  line(out, 2, "idle_timeout_ms", fmt::format("{}", function.workers.idle_timeout_ms));
  line(out, 0, "timeout_ms", fmt::format("{}", function.timeout_ms));
  line(out, 0, "max_in_flight", fmt::format("{}", function.max_in_flight));
  line(out, 0, "queue_timeout_ms", fmt::format("{}", function.queue_timeout_ms));
  if (!function.environment.empty()) write_map(out, 0, "environment", function.environment);
  if (function.isolation != Isolation::kUnset)
    line(out, 0, "isolation", function.isolation == Isolation::kNone ? "none" : "sandbox");
  line(out, 0, "triggers", function.triggers.empty() ? "{}" : "");
  for (const Trigger& trigger : function.triggers) {
    KAON_CHECK(known(catalog.triggers, trigger.kind), trigger.kind);
    line(out, 2, literal(trigger.name), "");
    line(out, 4, "kind", literal(trigger.kind));
    write_settings(out, 4, trigger.settings);
  }
  return out;
}

}  // namespace kaon::config
