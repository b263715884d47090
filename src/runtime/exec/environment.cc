#include "runtime/exec/environment.h"

#include <algorithm>
#include <charconv>

namespace kaon::runtime::exec {
namespace {

constexpr std::string_view kDefaultPath = "/usr/local/bin:/usr/bin:/bin";
constexpr std::string_view kAttributes[] = {"CE_ID",   "CE_SOURCE",          "CE_TYPE",        "CE_SUBJECT",
                                            "CE_TIME", "CE_DATACONTENTTYPE", "CE_SPECVERSION", "CE_DATASCHEMA"};
constexpr size_t kMaxName = 64;
constexpr size_t kMaxExtensions = 128;

}  // namespace

std::string extension_variable(std::string_view name) {
  if (name.empty() || name.size() > kMaxName) return {};
  std::string variable = "CE_";
  for (char c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_') return {};
    variable += c;
  }
  if (std::find(std::begin(kAttributes), std::end(kAttributes), variable) != std::end(kAttributes)) return {};
  return variable;
}

Environment::Environment(std::string_view function, std::string_view version,
                         const std::map<std::string, std::string>& variables) {
  // A file's own variables cannot change what the platform says; they may replace PATH.
  if (!variables.contains("PATH")) fixed_.push_back("PATH=" + std::string(kDefaultPath));
  for (const auto& [name, value] : variables)
    if (!name.starts_with("CE_") && !name.starts_with("KAON_") && name != "TRACEPARENT") fixed_.push_back(name + "=" + value);
  fixed_.push_back("KAON_FUNCTION=" + std::string(function));
  fixed_.push_back("KAON_VERSION=" + std::string(version));
}

void Environment::add(std::string_view prefix, std::string_view name, std::string_view value) {
  memory_ += prefix;
  memory_ += name;
  memory_ += '=';
  memory_ += value;
  ends_.push_back(memory_.size());
}

void Environment::add_number(std::string_view name, uint64_t value) {
  char text[24];
  add("", name, {text, static_cast<size_t>(std::to_chars(text, text + sizeof text, value).ptr - text)});
}

bool Environment::has(std::string_view name) const {
  size_t begin = 0;
  for (size_t end : ends_) {
    std::string_view each = std::string_view(memory_).substr(begin, end - begin);
    if (each.starts_with(name) && each.size() > name.size() && each[name.size()] == '=') return true;
    begin = end;
  }
  return false;
}

Result<std::span<const std::string_view>> Environment::build(const event::Event& event, Nanos now, std::string_view log_level) {
  memory_.clear();
  ends_.clear();
  views_.assign(fixed_.begin(), fixed_.end());
  size_t total = 0;
  for (std::string_view each : views_) total += each.size() + 1;
  auto add_present = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) add("", name, value);
  };
  add("", "CE_SPECVERSION", "1.0");
  add("", "CE_ID", event.id);
  add("", "CE_SOURCE", event.source);
  add("", "CE_TYPE", event.type);
  add_present("CE_SUBJECT", event.subject);
  add_present("CE_TIME", event.time);
  add_present("CE_DATACONTENTTYPE", event.datacontenttype);
  if (event.extensions.size() > kMaxExtensions)
    return Error{ErrorCode::kInvalid, "the event has more than 128 extension attributes"};
  for (const event::Header& extension : event.extensions) {
    std::string variable = extension_variable(extension.name);
    if (!variable.empty() && !has(variable)) add("", variable, extension.value);
  }
  add_present("KAON_TRIGGER", event.trigger);
  add_present("KAON_METHOD", event.method);
  add_present("KAON_PATH", event.path);
  add_present("KAON_QUERY", event.query);
  add_number("KAON_ATTEMPT", event.position.attempt);
  if (event.deadline != kNever)
    add_number("KAON_DEADLINE_MS", static_cast<uint64_t>(std::max<Nanos>(event.deadline - now, 0) / kMillisecond));
  add("", "KAON_LOG_LEVEL", log_level);
  add_present("TRACEPARENT", event.traceparent);
  total += memory_.size() + ends_.size();
  if (total > kMaxEnvironmentBytes)
    return Error{ErrorCode::kInvalid,
                 "the event's attributes make an environment of more than 64 KiB; send less in attributes and more in the body"};
  if (memory_.find('\0') != memory_.npos) return Error{ErrorCode::kInvalid, "an attribute of the event holds a NUL byte"};
  size_t begin = 0;
  for (size_t end : ends_) {
    views_.push_back(std::string_view(memory_).substr(begin, end - begin));
    begin = end;
  }
  return std::span<const std::string_view>(views_);
}

}  // namespace kaon::runtime::exec
