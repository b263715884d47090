// lint, docs, schema: what the one declaration of the settings gives a person and an editor.
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "base/json.h"
#include "cli/commands.h"
#include "config/diagnostic.h"
#include "config/docs.h"
#include "config/schema.h"

namespace kaon::cli {
namespace {

constexpr size_t kMaxConfiguration = 4 << 20;  // lint itself says what is too large

std::string diagnostics_json(const std::vector<config::Diagnostic>& diagnostics) {
  std::string out;
  JsonWriter json(out);
  json.array();
  for (const config::Diagnostic& each : diagnostics) {
    json.object().member("file", std::string_view(each.file)).member("line", each.line).member("column", each.column);
    json.member("severity", each.severity == config::Severity::kError ? "error" : "warning");
    json.member("message", std::string_view(each.message)).end_object();
  }
  json.end_array();
  out += '\n';
  return out;
}

Result<void> put_page(const std::string& folder, const std::string& name, const std::string& page) {
  if (folder.empty()) {
    fwrite(page.data(), 1, page.size(), stdout);
    return {};
  }
  return write_file(folder + "/" + name + ".md", page);
}

Result<void> put_pages(const Parts& parts, const std::string& folder) {
  if (!folder.empty() && mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return errno_error("make folder " + folder, errno);
  KAON_TRY_VOID(put_page(folder, "function", config::reference_page(config::function_spec(), "function.yaml")));
  for (auto* each : parts.runtimes)
    KAON_TRY_VOID(put_page(folder, "runtime-" + std::string(each->kind), config::reference_page(each->spec, "runtime: " + std::string(each->kind))));
  for (auto* each : parts.triggers)
    KAON_TRY_VOID(put_page(folder, "trigger-" + std::string(each->kind), config::reference_page(each->spec, "kind: " + std::string(each->kind))));
  return {};
}

}  // namespace

int lint(const Parts& parts, const std::string& target, Output output) {
  struct stat status;
  std::string file = stat(target.c_str(), &status) == 0 && S_ISDIR(status.st_mode) ? target + "/function.yaml" : target;
  auto text = read_file(file, kMaxConfiguration);
  if (!text) return report(text.error());
  std::vector<config::Diagnostic> diagnostics = config::lint_function(*text, file, parts.catalog());
  if (output == Output::kJson) {
    fputs(diagnostics_json(diagnostics).c_str(), stdout);
  } else {
    for (const config::Diagnostic& each : diagnostics) puts(each.text().c_str());
    if (diagnostics.empty()) printf("%s: no problems\n", file.c_str());
  }
  for (const config::Diagnostic& each : diagnostics)
    if (each.severity == config::Severity::kError) return error_row(ErrorCode::kInvalid).exit_code;
  return 0;
}

int docs(const Parts& parts, const std::string& folder) {
  auto result = put_pages(parts, folder);
  return result ? 0 : report(result.error());
}

int schema(const Parts& parts) {
  puts(config::function_schema(parts.catalog()).c_str());
  return 0;
}

}  // namespace kaon::cli
