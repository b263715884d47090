#include "runtime/component.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "runtime/exec/worker.h"

namespace kaon::runtime::exec {

const Component& component();

namespace {

constexpr std::string_view kInputs[] = {"raw"};
constexpr std::string_view kOutputs[] = {"raw", "headers"};

constexpr config::Field kFields[] = {
    {.key = "command",
     .type = config::Type::kStringList,
     .help = "The program and its arguments; {{ subject }}, {{ header.NAME }} and others become parts of single arguments, "
             "without a shell. "
             "A program without `/` is found in PATH, any other one lies in the function's folder. Instead of `handler`.",
     .example = "[convert, \"-\", -resize, \"{{ query.size }}\", \"-\"]"},
    {.key = "input",
     .type = config::Type::kChoice,
     .help = "What the process reads from its standard input: the event's body as it is.",
     .default_value = "raw",
     .choices = kInputs},
    {.key = "output",
     .type = config::Type::kChoice,
     .help = "What its standard output is: the result, or a block of header lines (Status, Content-Type, …), an empty line and "
             "the result.",
     .default_value = "raw",
     .choices = kOutputs,
     .example = "headers"},
    {.key = "content_type",
     .type = config::Type::kString,
     .help = "The media type of a result that does not name its own.",
     .example = "image/png"},
    {.key = "max_output_bytes",
     .type = config::Type::kInteger,
     .help = "A process that writes more has failed; 0 for no limit.",
     .default_value = "1073741824",
     .min = 0},
};

constexpr config::Spec kSpec = {
    "exec", "Runs any program, one process for each event: the body is its standard input, the result its standard output.",
    kFields};

constexpr unsigned kFewestProcesses = 16;
constexpr unsigned kProcessesPerCore = 4;

class ExecRuntime final : public Runtime {
 public:
  explicit ExecRuntime(Program program) : program_(std::move(program)) {}
  Capacity capacity() const override {
    return {std::max(kFewestProcesses, kProcessesPerCore * std::thread::hardware_concurrency()), 1};
  }
  Result<std::unique_ptr<event::Worker>> start_worker(Home& home) override {
    return std::unique_ptr<event::Worker>(std::make_unique<Worker>(program_, home.loop, home.spawner));
  }

 private:
  const Program program_;
};

bool executable_file(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0111) != 0;
}

bool recognises(const std::string& path) {
  if (!executable_file(path)) return false;
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::array<char, 4> start{};
  if (!file || ::read(file.get(), start.data(), start.size()) < 2) return false;
  std::string_view text(start.data(), start.size());
  if (text.starts_with("#!")) return true;
  if (text != "\177ELF") return false;
  // A library is executable on many systems; its name tells.
  return !path.ends_with(".so") && path.find(".so.") == path.npos;
}

// An element of PATH as the invoking user has it, which is what they mean by a bare name.
Result<std::string> find_in_path(const std::string& name) {
  const char* variable = std::getenv("PATH");
  std::string_view path = variable && *variable ? variable : "/usr/local/bin:/usr/bin:/bin";
  while (!path.empty()) {
    std::string_view folder = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(path.size(), folder.size() + 1));
    if (!folder.starts_with('/')) continue;
    std::string file = std::string(folder) + "/" + name;
    if (executable_file(file)) return file;
  }
  return Error{ErrorCode::kNotFound, "command: no program `" + name + "` in PATH"};
}

Result<std::string> resolve(const std::string& name, const std::string& folder, bool is_handler) {
  bool bare = name.find('/') == name.npos;
  bool inside = executable_file(folder + "/" + name);
  if (bare && !is_handler) {
    auto found = find_in_path(name);
    if (!found && inside) found.error().message += "; for the file of that name in the function's folder write `./" + name + "`";
    if (!found && !inside)
      found.error().message += "; install it, or write a path that begins with `./` for a file of the function";
    return found;
  }
  std::string file = name.starts_with('/') ? name : folder + "/" + name;
  struct stat status;
  if (stat(file.c_str(), &status) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) return errno_error("look at " + name, errno);
    return Error{ErrorCode::kNotFound,
                 "no file `" + name + "`" + (name.starts_with('/') ? "" : " in the function's folder") + " to execute"};
  }
  if (!S_ISREG(status.st_mode)) return Error{ErrorCode::kInvalid, "`" + name + "` is not a file that can be executed"};
  if ((status.st_mode & 0111) == 0) return Error{ErrorCode::kDenied, "`" + name + "` is not executable; chmod +x it"};
  return bare ? "./" + name : name;
}

// Leaves the program's path in `handler` and the arguments in `command`.
Result<void> build(BuildContext& context) {
  config::Function& function = context.function;
  config::StringList command = function.runtime_settings.list("command");
  bool is_handler = command.empty();
  if (is_handler && function.handler.empty())
    return Error{ErrorCode::kInvalid,
                 "runtime exec needs a `command`, such as [\"./thumb\", \"{{ subject }}\"], or a `handler`, the file to execute"};
  if (!is_handler && !function.handler.empty())
    return Error{ErrorCode::kInvalid, "`handler` and `command` both name a program; write one of them"};
  if (is_handler) command = {function.handler};
  KAON_TRY(Command checked, Command::parse(command));
  KAON_TRY(function.handler, resolve(command.front(), context.folder, is_handler));
  return function.runtime_settings.set("command", std::move(command));
}

Result<std::unique_ptr<Runtime>> load(LoadContext context) {
  const config::Function& function = context.function;
  const config::Settings& settings = function.runtime_settings;
  KAON_TRY(Command command, Command::parse(settings.list("command")));
  Fd folder(open(context.folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return errno_error("open " + context.folder, errno);
  Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null) return errno_error("open /dev/null", errno);
  return std::unique_ptr<Runtime>(std::make_unique<ExecRuntime>(
      Program{function.name, context.version, function.handler, std::move(command), function.environment,
              settings.text("output") == "headers", settings.text("content_type"),
              static_cast<uint64_t>(settings.integer("max_output_bytes")), std::move(folder), std::move(null), context.log}));
}

}  // namespace

const Component& component() {
  static const Component kComponent = {"exec", "Runs any program, one process for each event.", kSpec, recognises, build, load};
  return kComponent;
}

}  // namespace kaon::runtime::exec
