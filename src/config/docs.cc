#include "config/docs.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/settings.h"

namespace kaon::config {
namespace {

std::string type_text(const Field& field) {
  switch (field.type) {
    case Type::kString: return "text";
    case Type::kInteger: return "integer";
    case Type::kBoolean: return "`true` or `false`";
    case Type::kChoice: return alternatives(field.choices);
    case Type::kStringList: return field.choices.empty() ? "list of texts" : "list of " + alternatives(field.choices);
    case Type::kStringMap: return "mapping of names to texts";
    case Type::kAddress: return "address";
    case Type::kSecret: return "`{secret: name}`";
    case Type::kSection: return field.section ? "section" : "mapping";
  }
  return "";
}

std::string default_text(const Field& field) {
  if (field.required) return "**required**";
  if (field.type == Type::kSection || field.default_value.empty()) return "";
  return fmt::format("`{}`", field.default_value);
}

std::string range_text(const Field& field) {
  if (field.type != Type::kInteger) return "";
  std::string range;
  if (field.min != INT64_MIN && field.max != INT64_MAX) {
    range = fmt::format("{} to {}", field.min, field.max);
  } else if (field.min != INT64_MIN) {
    range = fmt::format("at least {}", field.min);
  } else if (field.max != INT64_MAX) {
    range = fmt::format("at most {}", field.max);
  }
  std::string_view unit = unit_of(field.key);
  if (unit.empty()) return range;
  return range.empty() ? std::string(unit) : fmt::format("{} {}", range, unit);
}

// A bar would end the table's cell.
std::string cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

void append_table(std::string& out, const Spec& spec) {
  if (spec.fields.empty()) {
    out += "It has no keys of its own.\n";
    return;
  }
  out += "| key | type | default | range | what it does |\n|---|---|---|---|---|\n";
  for (const Field& field : spec.fields) {
    fmt::format_to(std::back_inserter(out), "| `{}` | {} | {} | {} | {} |\n", field.key, cell(type_text(field)),
                   cell(default_text(field)), range_text(field), cell(field.help));
  }
}

void append_sections(std::string& out, const Spec& spec, const std::string& prefix) {
  for (const Field& field : spec.fields) {
    if (field.type != Type::kSection || !field.section) continue;
    std::string path = prefix + std::string(field.key);
    fmt::format_to(std::back_inserter(out), "\n## `{}`\n\n{}\n\n", path, field.section->help);
    append_table(out, *field.section);
    append_sections(out, *field.section, path + ".");
  }
}

bool in_example(const Field& field) {
  if (field.type == Type::kSection && field.section) {
    return std::any_of(field.section->fields.begin(), field.section->fields.end(), in_example);
  }
  return field.required || !field.example.empty();
}

void append_example(std::string& out, const Spec& spec, size_t indent) {
  for (const Field& field : spec.fields) {
    if (!in_example(field)) continue;
    out.append(indent, ' ');
    if (field.type == Type::kSection && field.section) {
      fmt::format_to(std::back_inserter(out), "{}:\n", field.key);
      append_example(out, *field.section, indent + 2);
      continue;
    }
    std::string_view example = field.example;
    if (example.empty())
      example = field.type == Type::kSecret   ? "{secret: name}"
                : field.type == Type::kChoice ? field.choices[0]
                                              : field.default_value;
    fmt::format_to(std::back_inserter(out), "{}: {}\n", field.key, example.empty() ? "…" : example);
  }
}

}  // namespace

std::string reference_page(const Spec& spec, std::string_view title) {
  std::string out = fmt::format("# {}\n\n{}\n\n", title, spec.help);
  append_table(out, spec);
  append_sections(out, spec, "");
  std::string example;
  append_example(example, spec, 0);
  if (!example.empty()) fmt::format_to(std::back_inserter(out), "\n## Example\n\n```yaml\n{}```\n", example);
  return out;
}

}  // namespace kaon::config
