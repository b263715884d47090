#include "config/function.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "config/function_spec.h"
#include "config/reader.h"
#include "config/yaml.h"

namespace kaon::config {
namespace {

constexpr std::string_view kHttp = "http";
// Linux passes no longer string to a program (MAX_ARG_STRLEN), `=` and the final NUL included.
constexpr size_t kMaxVariableBytes = 131'072;

const Entry* find(std::span<const Entry> entries, std::string_view kind) {
  auto entry = std::find_if(entries.begin(), entries.end(), [&](const Entry& each) { return each.kind == kind; });
  return entry == entries.end() ? nullptr : &*entry;
}

const std::pair<const yaml::Node*, const yaml::Node*>* member(const yaml::Node& map, std::string_view key) {
  auto found = std::find_if(map.members.begin(), map.members.end(), [&](const auto& each) { return each.first->text == key; });
  return found == map.members.end() ? nullptr : &*found;
}

std::vector<std::string_view> kinds_of(std::span<const Entry> entries) {
  std::vector<std::string_view> kinds;
  for (const Entry& entry : entries) kinds.push_back(entry.kind);
  return kinds;
}

// "did you mean `exec`?" or "it has `exec` or `native`".
std::string offer(std::string_view kind, std::span<const Entry> entries) {
  std::vector<std::string_view> kinds = kinds_of(entries);
  std::string_view guess = kind.size() <= 64 ? nearest(kind, kinds) : std::string_view();
  if (!guess.empty()) return fmt::format("did you mean `{}`?", guess);
  return kinds.empty() ? "it has none" : fmt::format("it has {}", alternatives(kinds));
}

std::string one_of(std::span<const Entry> entries) {
  return entries.empty() ? "this build has none" : fmt::format("write one of {}", alternatives(kinds_of(entries)));
}

void add_default_trigger(Function& function, const Catalog& catalog) {
  if (const Entry* http = find(catalog.triggers, kHttp))
    function.triggers.push_back({std::string(kHttp), std::string(http->kind), Settings::defaults(*http->spec)});
}

void check_collisions(const Catalog& catalog) {
  for (const Entry& runtime : catalog.runtimes)
    for (const Field& field : runtime.spec->fields) KAON_CHECK(!find_field(function_spec(), field.key), runtime.kind, field.key);
  for (const Entry& trigger : catalog.triggers) KAON_CHECK(!find_field(*trigger.spec, "kind"), trigger.kind);
}

class FunctionReader {
 public:
  FunctionReader(const Catalog& catalog, Reader& reader) : catalog_(catalog), reader_(reader) {}

  Function read(const yaml::Node& root, std::string_view file) {
    Function function;
    function.file = file;
    if (root.kind != yaml::Kind::kMap) {
      reader_.error(root.mark, fmt::format("the file must be a mapping of keys to values, found {}", found(root)));
      return function;
    }
    const Entry* runtime = read_runtime(root);
    Settings common = Settings::defaults(function_spec());
    if (runtime) function.runtime_settings = Settings::defaults(*runtime->spec);
    for (const auto& [key, value] : root.members) read_key(*key, *value, runtime, common, function);
    reader_.require(root, function_spec(), "", common);
    if (runtime)
      reader_.require(root, *runtime->spec, fmt::format(" (runtime `{}` needs it)", runtime->kind), function.runtime_settings);
    if (!member(root, "triggers")) add_default_trigger(function, catalog_);
    check_name(root, common);
    check_workers(root, common);
    check_environment(root, common);
    store(common, function);
    return function;
  }

 private:
  const Entry* read_runtime(const yaml::Node& root) {
    const auto* found = member(root, "runtime");
    if (!found || found->second->kind != yaml::Kind::kScalar) return nullptr;
    const yaml::Node& value = *found->second;
    const Entry* runtime = find(catalog_.runtimes, value.text);
    if (!runtime) {
      reader_.error(
          value.mark,
          fmt::format("runtime {} is not in this build of Kaon, {}", quoted(value.text), offer(value.text, catalog_.runtimes)),
          ErrorCode::kUnimplemented);
    }
    return runtime;
  }

  void read_key(const yaml::Node& key, const yaml::Node& value, const Entry* runtime, Settings& common, Function& function) {
    if (key.text == "triggers") return read_triggers(value, function);
    if (key.text == "bindings" || key.text == "sandbox") {
      return reader_.error(key.mark, fmt::format("`{}` is not in this version of Kaon: remove it", key.text),
                           ErrorCode::kUnimplemented);
    }
    if (const Field* field = find_field(function_spec(), key.text)) {
      reader_.read_field(*field, value, "", common);
      if (key.text == "isolation" && common.text("isolation") == "sandbox") {
        reader_.error(value.mark,
                      "`isolation: sandbox` is not in this version of Kaon: write `isolation: none` or leave it out; "
                      "either way the function has no boundary",
                      ErrorCode::kUnimplemented);
      }
      return;
    }
    if (runtime) {
      if (const Field* field = find_field(*runtime->spec, key.text))
        return reader_.read_field(*field, value, "", function.runtime_settings);
    }
    unknown(key, runtime);
  }

  void unknown(const yaml::Node& key, const Entry* runtime) {
    for (const Entry& other : catalog_.runtimes) {
      if (!find_field(*other.spec, key.text)) continue;
      // Without a known runtime nobody can say whether the key is right.
      if (runtime)
        reader_.error(key.mark,
                      fmt::format("`{}` is a key of runtime `{}`, and this is `{}`", key.text, other.kind, runtime->kind));
      return;
    }
    std::vector<const Spec*> specs = {&function_spec()};
    for (const Entry& entry : catalog_.runtimes)
      if (!runtime || runtime == &entry) specs.push_back(entry.spec);
    reader_.error(key.mark, unknown_key(key.text, "", specs));
  }

  void read_triggers(const yaml::Node& node, Function& function) {
    if (node.kind != yaml::Kind::kMap) {
      return reader_.error(node.mark, fmt::format("`triggers` must be a mapping of names to triggers, found {}", found(node)));
    }
    if (node.members.size() > kMaxTriggers) {
      return reader_.error(node.mark,
                           fmt::format("there are {} triggers, at most {} are allowed", node.members.size(), kMaxTriggers));
    }
    for (const auto& [name, value] : node.members) read_trigger(*name, *value, function);
  }

  void read_trigger(const yaml::Node& name, const yaml::Node& node, Function& function) {
    if (!is_function_name(name.text)) {
      reader_.error(name.mark, fmt::format("{} is not a trigger's name: {}", quoted(name.text), kFunctionNameRule));
    }
    if (node.kind != yaml::Kind::kMap) {
      return reader_.error(
          node.mark, fmt::format("trigger {} must be a mapping of keys to values, found {}", quoted(name.text), found(node)));
    }
    const auto* kind = member(node, "kind");
    if (!kind)
      return reader_.error(node.mark, fmt::format("trigger {} has no `kind`: {}", quoted(name.text), one_of(catalog_.triggers)));
    if (kind->second->kind != yaml::Kind::kScalar) {
      return reader_.error(kind->second->mark,
                           fmt::format("`kind` in trigger {} must be text, found {}", quoted(name.text), found(*kind->second)));
    }
    const Entry* entry = find(catalog_.triggers, kind->second->text);
    if (!entry) {
      return reader_.error(kind->second->mark,
                           fmt::format("trigger kind {} is not in this build of Kaon, {}", quoted(kind->second->text),
                                       offer(kind->second->text, catalog_.triggers)),
                           ErrorCode::kUnimplemented);
    }
    static constexpr std::string_view kOwn[] = {"kind"};
    Settings settings = reader_.read(node, *entry->spec, fmt::format(" in trigger {}", quoted(name.text)), kOwn);
    function.triggers.push_back({name.text, std::string(entry->kind), std::move(settings)});
  }

  void check_name(const yaml::Node& root, const Settings& common) {
    if (!common.has("name") || is_function_name(common.text("name"))) return;
    reader_.error(member(root, "name")->second->mark,
                  fmt::format("{} is not a function's name: {}", quoted(common.text("name")), kFunctionNameRule));
  }

  void check_workers(const yaml::Node& root, const Settings& common) {
    const auto* found = member(root, "workers");
    if (!found) return;
    const Settings& workers = *common.section("workers");
    if (!workers.has("max")) return;
    if (workers.integer("min") > workers.integer("max")) {
      reader_.error(found->second->mark, fmt::format("`min` in `workers` is {}, more than `max`, which is {}",
                                                     workers.integer("min"), workers.integer("max")));
    } else if (workers.integer("min") == workers.integer("max")) {
      if (const auto* idle = member(*found->second, "idle_timeout_ms"))
        reader_.warning(idle->first->mark, "`idle_timeout_ms` in `workers` has no effect: `min` equals `max`");
    }
  }

  void check_environment(const yaml::Node& root, const Settings& common) {
    const auto* found = member(root, "environment");
    if (!found || found->second->kind != yaml::Kind::kMap) return;
    for (const auto& [key, value] : found->second->members) {
      const std::string& name = key->text;
      auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
      if (name.empty() || !std::all_of(name.begin(), name.end(), word) || (name[0] >= '0' && name[0] <= '9')) {
        reader_.error(key->mark,
                      fmt::format("{} is not a variable's name: letters, digits and `_`, the first no digit", quoted(name)));
      } else if (name.starts_with("CE_") || name.starts_with("KAON_") || name == "TRACEPARENT") {
        reader_.error(key->mark,
                      fmt::format("{} in `environment` is set by Kaon for each event: choose another name", quoted(name)));
      } else if (auto given = common.map("environment").find(name);
                 given != common.map("environment").end() && name.size() + given->second.size() + 2 > kMaxVariableBytes) {
        reader_.error(key->mark, fmt::format("{} in `environment` has {} bytes; Linux passes at most {}, the name included",
                                             quoted(name), given->second.size(), kMaxVariableBytes - 2));
      }
    }
  }

  static void store(const Settings& common, Function& function) {
    function.name = common.text("name");
    function.description = common.text("description");
    function.runtime = common.text("runtime");
    function.handler = common.text("handler");
    const Settings& workers = *common.section("workers");
    function.workers.min = static_cast<unsigned>(workers.integer("min"));
    function.workers.max = static_cast<unsigned>(workers.integer("max"));
    function.workers.concurrency = static_cast<unsigned>(workers.integer("concurrency"));
    function.workers.idle_timeout_ms = workers.integer("idle_timeout_ms");
    function.timeout_ms = common.integer("timeout_ms");
    function.max_in_flight = static_cast<unsigned>(common.integer("max_in_flight"));
    function.queue_timeout_ms = common.integer("queue_timeout_ms");
    function.environment = common.map("environment");
    if (common.has("isolation")) function.isolation = common.text("isolation") == "none" ? Isolation::kNone : Isolation::kSandbox;
  }

  const Catalog& catalog_;
  Reader& reader_;
};

Function read(std::string_view yaml, std::string_view file, const Catalog& catalog, std::vector<Diagnostic>& diagnostics) {
  check_collisions(catalog);
  Reader reader(file, diagnostics);
  yaml::Document document;
  std::vector<yaml::Problem> problems;
  bool usable = document.parse(yaml, problems);
  for (yaml::Problem& problem : problems) reader.error(problem.mark, std::move(problem.message));
  Function function;
  if (usable) function = FunctionReader(catalog, reader).read(document.root(), file);
  std::stable_sort(diagnostics.begin(), diagnostics.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  return function;
}

}  // namespace

Result<Function> parse_function(std::string_view yaml, std::string_view file, const Catalog& catalog) {
  std::vector<Diagnostic> diagnostics;
  Function function = read(yaml, file, catalog, diagnostics);
  std::erase_if(diagnostics, [](const Diagnostic& each) { return each.severity == Severity::kWarning; });
  if (diagnostics.empty()) return function;
  std::string message = diagnostics[0].text();
  if (diagnostics.size() > 1) message += fmt::format(" ({} more: `kaon lint` shows them)", diagnostics.size() - 1);
  return Error{diagnostics[0].code, std::move(message)};
}

std::vector<Diagnostic> lint_function(std::string_view yaml, std::string_view file, const Catalog& catalog) {
  std::vector<Diagnostic> diagnostics;
  read(yaml, file, catalog, diagnostics);
  return diagnostics;
}

Result<Function> make_function(std::string_view name, std::string_view runtime, const Catalog& catalog) {
  check_collisions(catalog);
  if (!is_function_name(name))
    return Error{ErrorCode::kInvalid, fmt::format("{} is not a function's name: {}", quoted(name), kFunctionNameRule)};
  const Entry* entry = find(catalog.runtimes, runtime);
  if (!entry) {
    return Error{ErrorCode::kUnimplemented,
                 fmt::format("runtime {} is not in this build of Kaon, {}", quoted(runtime), offer(runtime, catalog.runtimes))};
  }
  Function function;
  function.name = name;
  function.runtime = runtime;
  function.runtime_settings = Settings::defaults(*entry->spec);
  add_default_trigger(function, catalog);
  return function;
}

}  // namespace kaon::config
