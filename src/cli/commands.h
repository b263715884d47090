#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/function.h"
#include "runtime/component.h"
#include "trigger/component.h"

namespace kaon::cli {

// The components that main wired in.
struct Parts {
  Parts(std::span<const runtime::Component* const> runtimes, std::span<const trigger::Component* const> triggers,
        std::string version);
  config::Catalog catalog() const { return {runtime_entries, trigger_entries}; }

  std::span<const runtime::Component* const> runtimes;
  std::span<const trigger::Component* const> triggers;
  std::string version;
  std::vector<config::Entry> runtime_entries, trigger_entries;
};

enum class Output : uint8_t { kText, kJson };

struct RunOptions {
  std::string target = ".";  // a file, a folder or a function.yaml
  std::string name;          // of the function; empty: guessed
  std::string listen;        // overrides every http trigger's
  std::string admin;         // address of the admin listener; empty: the port after the first trigger's; "off"
  std::string log_level = "info";
  std::string log_format = "text";
  unsigned loops = 0;  // 0: one for each core
  int drain_ms = 10'000;
  bool watch = false;
  std::vector<std::string> settings;  // key=value for the runtime
};

struct InvokeOptions {
  std::string function;  // empty: the only one that runs
  std::string data;
  std::string file;  // "-": standard input
  std::vector<std::string> headers;
  std::string type, subject, content_type;
  int timeout_ms = 0;
  bool quiet = false;  // the body alone
  Output output = Output::kText;
};

struct InitOptions {
  std::string template_name;
  std::string folder;
};

// Each answers the exit code; what went wrong is one line on standard error.
int run(const Parts& parts, const RunOptions& options);
int init(const Parts& parts, const InitOptions& options);
int invoke(const InvokeOptions& options);
int ps(Output output);
int logs(const std::string& function, const std::string& event);
int log_level(const std::string& function, const std::string& level);
int metrics(const std::string& function);
int lint(const Parts& parts, const std::string& target, Output output);
int docs(const Parts& parts, const std::string& folder);
int schema(const Parts& parts);
int version(const Parts& parts, Output output);

// Prints "kaon: <message>" and answers the error's exit code.
int report(const Error& error);

Result<std::string> read_file(const std::string& path, size_t limit);
// Follows no symbolic link. `fresh`: kInvalid where there is such a file already; else it is replaced.
Result<void> write_file(const std::string& path, std::string_view text, int mode = 0644, bool fresh = false);

// The command line, whole.
int main(int argc, char** argv, const Parts& parts);

}  // namespace kaon::cli
