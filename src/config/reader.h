#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"
#include "config/settings.h"
#include "config/spec.h"
#include "config/yaml.h"

// How settings are read from YAML; the room's own.
namespace kaon::config {

inline constexpr std::string_view kSecretNameRule = "1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit";
inline constexpr size_t kMaxDiagnostics = 100;

// Null: the Spec has no such key.
const Field* find_field(const Spec& spec, std::string_view key);
// "unknown key `trigers`, did you mean `triggers`?"; `where` is empty or " in `workers`".
std::string unknown_key(std::string_view key, std::string_view where, std::span<const Spec* const> specs);
// One item of a kStringList against the field's choices.
Result<void> check_item(const Field& field, std::string_view item);
// The field's default, by the same rules as a file's value; one that is refused is a bug (KAON_CHECK).
Settings::Value default_value(const Field& field);
// "a list", "nothing", "`abc`".
std::string found(const yaml::Node& node);

class Reader {
 public:
  Reader(std::string_view file, std::vector<Diagnostic>& out) : file_(file), out_(out) {}

  void error(yaml::Mark mark, std::string message, ErrorCode code = ErrorCode::kInvalid);
  void warning(yaml::Mark mark, std::string message);
  bool failed() const { return failed_; }

  // The settings of `spec` from the members of a map. Keys in `skipped` belong to others; further unknown ones are
  // reported. `where` is appended to a key's name in messages: " in `workers`".
  Settings read(const yaml::Node& map, const Spec& spec, std::string_view where, std::span<const std::string_view> skipped);
  // The parts of `read`.
  void read_field(const Field& field, const yaml::Node& node, std::string_view where, Settings& settings);
  void require(const yaml::Node& map, const Spec& spec, std::string_view where, const Settings& settings);

 private:
  void add(Severity severity, yaml::Mark mark, std::string message, ErrorCode code);
  void read_list(const Field& field, const yaml::Node& node, const std::string& name, Settings& settings);
  void read_map(const Field& field, const yaml::Node& node, const std::string& name, Settings& settings);
  void read_secret(const Field& field, const yaml::Node& node, const std::string& name, Settings& settings);

  std::string file_;
  std::vector<Diagnostic>& out_;
  bool failed_ = false;
};

}  // namespace kaon::config
