#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/diagnostic.h"
#include "config/settings.h"
#include "config/spec.h"

namespace kaon::config {

struct Trigger {
  std::string name;
  std::string kind;
  Settings settings;  // by the component's Spec, defaults filled in
};

enum class Isolation : uint8_t { kUnset, kNone, kSandbox };

// A parsed function.yaml. The values are checked; paths are as written, relative to `folder`.
struct Function {
  std::string name;
  std::string runtime;  // a component's kind
  std::string handler;
  std::string description;
  struct Workers {
    unsigned min = 0;
    unsigned max = 0;          // 0: the runtime's own default
    unsigned concurrency = 0;  // 0: the runtime's own default
    int64_t idle_timeout_ms = 60'000;
  } workers;
  int64_t timeout_ms = 30'000;
  unsigned max_in_flight = 4096;                   // events accepted and not yet settled
  int64_t queue_timeout_ms = 10'000;               // waiting for a free worker
  std::map<std::string, std::string> environment;  // plain values
  std::vector<Trigger> triggers;                   // in the order of the file
  Isolation isolation = Isolation::kUnset;
  Settings runtime_settings;  // by the runtime component's Spec
  std::string file;           // where it was read from, for messages
};

// One component that a function.yaml may name.
struct Entry {
  std::string_view kind;
  const Spec* spec;  // never null
};

// The components of this build. The spans and the Specs outlive every Settings that was made with them.
struct Catalog {
  std::span<const Entry> runtimes;
  std::span<const Entry> triggers;
};

// The keys that every function has, whatever its runtime. `triggers`, `bindings` and `sandbox` are sections without
// a Spec here.
const Spec& function_spec();

// Names of functions and triggers: 1 to 63 of [a-z0-9-], a letter or a digit at both ends.
bool is_function_name(std::string_view name);

// Reads the text of a function.yaml, which may be hostile: size, depth, aliases and the number of values are bounded.
// `file` is for messages. Errors are kInvalid, or kUnimplemented where this build or version lacks what it names; the
// message is the first problem as one line, "function.yaml:3:1: error: …", and the number of the others.
Result<Function> parse_function(std::string_view yaml, std::string_view file, const Catalog& catalog);

// Every problem and warning, in the order of the file; empty when all is well.
std::vector<Diagnostic> lint_function(std::string_view yaml, std::string_view file, const Catalog& catalog);

// A function without a file, all defaults, with the trigger that a file without `triggers` gets: one of kind http named
// `http`, where the catalog has it. `runtime` is of the catalog; a name that is none is kInvalid.
Result<Function> make_function(std::string_view name, std::string_view runtime, const Catalog& catalog);

// YAML with every value written out, defaults too, so that later defaults do not change it. parse_function with the
// same catalog gives back the same function, if the texts are UTF-8. Equal functions give equal bytes.
std::string write_function(const Function& function, const Catalog& catalog);

}  // namespace kaon::config
