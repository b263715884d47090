#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>

#include "base/fd.h"
#include "base/json.h"
#include "base/printable.h"
#include "cli/commands.h"

namespace kaon::cli {
namespace {

constexpr const char* kAbout =
    "Kaon takes events from any source, hands each to a function in any language, and settles it with its source.";
constexpr const char* kExitCodes =
    "Exit codes: 0 done, 1 the function failed, 64 not in this build, 65 bad input, 66 not found, 69 disconnected,\n"
    "70 a bug, 75 try again later, 77 not allowed, 124 timed out.";

void add_output(CLI::App* command, Output& output) {
  command->add_option("--output", output, "text or json")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Output>{{"text", Output::kText}, {"json", Output::kJson}}))
      ->default_str("text");
}

void add_run(CLI::App& app, RunOptions& run) {
  CLI::App* command = app.add_subcommand("run", "Run a function and serve its triggers");
  command->footer("Examples:\n  kaon run examples/hello\n  kaon run handler.cc --port 9000\n  kaon run /usr/bin/md5sum");
  command->add_option("target", run.target, "An executable, a .cc or .so file, a folder, or a function.yaml")->default_str(".");
  command->add_option("--name", run.name, "The function's name; the file's or folder's when not given");
  auto* port = command->add_option_function<int>(
      "--port", [&run](int value) { run.listen = "127.0.0.1:" + std::to_string(value); }, "Port of loopback for its HTTP triggers");
  port->check(CLI::Range(1, 65535))->type_name("PORT");
  command->add_option("--listen", run.listen, "Address for its HTTP triggers: host:port, [v6]:port or unix:/path")->excludes(port);
  command->add_option("--admin", run.admin, "Address of /healthz, /readyz and /metrics, or off; the port after the trigger's when not given");
  command->add_flag("--watch", run.watch, "Build and take over on each change of the function's files");
  command->add_option("--set", run.settings, "key=value: overrides a setting of the runtime")->type_name("KEY=VALUE");
  command->add_option("--loops", run.loops, "Event loops; one for each core when not given")->check(CLI::Range(1u, 64u));
  command->add_option("--drain-ms", run.drain_ms, "How long a stop waits for what is in flight")->check(CLI::Range(0, 3'600'000))->capture_default_str();
  command->add_option("--log-level", run.log_level, "debug, info, warning or error")->capture_default_str();
  command->add_option("--log-format", run.log_format, "text or json")->check(CLI::IsMember({"text", "json"}))->capture_default_str();
}

void add_invoke(CLI::App& app, InvokeOptions& invoke) {
  CLI::App* command = app.add_subcommand("invoke", "Send one event to a running function; print result, status, time and logs");
  command->footer("Examples:\n  kaon invoke hello 'some text'\n  kaon invoke thumbnail --file photo.jpg --quiet > small.jpg");
  command->add_option("function", invoke.function, "Its name; may be left out when one function runs");
  auto* data = command->add_option("data", invoke.data, "The body");
  command->add_option("--file", invoke.file, "Take the body from a file; - is standard input")->excludes(data);
  command->add_option("--header", invoke.headers, "Name: value")->type_name("HEADER");
  command->add_option("--type", invoke.type, "The event's type");
  command->add_option("--subject", invoke.subject, "The event's subject");
  command->add_option("--content-type", invoke.content_type, "The body's media type");
  command->add_option("--timeout-ms", invoke.timeout_ms, "A shorter deadline than the function's")->check(CLI::Range(1, 3'600'000));
  command->add_flag("--quiet", invoke.quiet, "Print the body alone");
  add_output(command, invoke.output);
}

// The commands beside those that a newcomer needs; shown by `kaon help all`.
constexpr std::string_view kFurther[] = {"ps", "lint", "docs", "schema", "log-level", "metrics", "version"};

int help(CLI::App& app, bool all) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    bool further = std::find(std::begin(kFurther), std::end(kFurther), command->get_name()) != std::end(kFurther);
    command->group(further && !all ? "" : further ? "Further commands" : "Commands");
  }
  fputs(app.help().c_str(), stdout);
  return 0;
}

}  // namespace

Parts::Parts(std::span<const runtime::Component* const> all_runtimes, std::span<const trigger::Component* const> all_triggers,
             std::string version_text)
    : runtimes(all_runtimes), triggers(all_triggers), version(std::move(version_text)) {
  for (auto* each : runtimes) runtime_entries.push_back({each->kind, &each->spec});
  for (auto* each : triggers) trigger_entries.push_back({each->kind, &each->spec});
}

int report(const Error& error) {
  std::string line = "kaon: ";
  line += error.message;
  line += '\n';
  fputs(line.c_str(), stderr);
  return error_row(error.code).exit_code;
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error("open " + path, errno);
  std::string text;
  char buffer[64 << 10];
  for (;;) {
    ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read " + path, errno);
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > limit) return Error{ErrorCode::kInvalid, path + " is larger than " + std::to_string(limit) + " bytes"};
  }
}

Result<void> write_file(const std::string& path, std::string_view text, int mode, bool fresh) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (fresh ? O_EXCL : O_TRUNC), mode));
  if (!fd && errno == EEXIST) return Error{ErrorCode::kInvalid, path + " exists already; nothing was written"};
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return errno_error("write " + path, errno);
  return {};
}

int version(const Parts& parts, Output output) {
  if (output == Output::kText) {
    printf("kaon %s\n", parts.version.c_str());
    return 0;
  }
  std::string out;
  JsonWriter json(out);
  json.object().member("version", std::string_view(parts.version)).key("runtimes").array();
  for (auto* each : parts.runtimes) json.value(each->kind);
  json.end_array().key("triggers").array();
  for (auto* each : parts.triggers) json.value(each->kind);
  json.end_array().end_object();
  puts(out.c_str());
  return 0;
}

int main(int argc, char** argv, const Parts& parts) {
  CLI::App app(kAbout, "kaon");
  app.footer("`kaon help all` shows every command, `kaon COMMAND --help` one of them with examples.\n" + std::string(kExitCodes));
  app.set_help_flag();
  bool wants_help = false;
  app.add_flag("-h,--help", wants_help, "Show this help");
  RunOptions run_options;
  InvokeOptions invoke_options;
  InitOptions init_options;
  std::string function, event, level, target = ".", folder, topic;
  Output output = Output::kText;

  CLI::App* init_command = app.add_subcommand("init", "Make a new function from a template");
  init_command->footer("Example:\n  kaon init shell my-function");
  init_command->add_option("template", init_options.template_name, "shell or native")->required();
  init_command->add_option("folder", init_options.folder, "Where; a folder of the template's name when not given");
  add_run(app, run_options);
  add_invoke(app, invoke_options);
  CLI::App* logs_command = app.add_subcommand("logs", "Show the newest log records of a running function");
  logs_command->add_option("function", function, "Its name");
  logs_command->add_option("--event", event, "Only those of one event");
  CLI::App* ps_command = app.add_subcommand("ps", "List running functions, their versions and counts");
  add_output(ps_command, output);
  CLI::App* lint_command = app.add_subcommand("lint", "Check a function.yaml; every problem with its line and column");
  lint_command->add_option("target", target, "A folder or a function.yaml")->default_str(".");
  add_output(lint_command, output);
  CLI::App* docs_command = app.add_subcommand("docs", "Write the reference pages of all settings as Markdown");
  docs_command->add_option("folder", folder, "Where to write them; standard output when not given");
  CLI::App* schema_command = app.add_subcommand("schema", "Print the JSON Schema of function.yaml, for editors");
  CLI::App* level_command = app.add_subcommand("log-level", "Show or change the log level of a running function");
  level_command->add_option("function", function, "Its name")->required();
  level_command->add_option("level", level, "debug, info, warning or error");
  CLI::App* metrics_command = app.add_subcommand("metrics", "Print the metrics of a running function's processor");
  metrics_command->add_option("function", function, "Its name");
  CLI::App* version_command = app.add_subcommand("version", "Print the version");
  add_output(version_command, output);
  CLI::App* help_command = app.add_subcommand("help", "Show this help; `help all` shows every command");
  help_command->add_option("topic", topic, "all");

  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) command->set_help_flag("-h,--help", "Show this help");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::string message;
    append_printable(message, error.what());
    return report({ErrorCode::kInvalid, message + "; see `kaon --help`"});
  }
  auto chosen = app.get_subcommands();
  if (chosen.empty() || chosen.front() == help_command || wants_help) return help(app, topic == "all");
  CLI::App* command = chosen.front();
  if (command == init_command) return init(parts, init_options);
  if (command == logs_command) return logs(function, event);
  if (command == ps_command) return ps(output);
  if (command == lint_command) return lint(parts, target, output);
  if (command == docs_command) return docs(parts, folder);
  if (command == schema_command) return schema(parts);
  if (command == level_command) return log_level(function, level);
  if (command == metrics_command) return metrics(function);
  if (command == version_command) return version(parts, output);
  if (command->get_name() == "invoke") return invoke(invoke_options);
  return run(parts, run_options);
}

}  // namespace kaon::cli
