#include "config/function_spec.h"

#include "config/function.h"

namespace kaon::config {
namespace {

constexpr Field kWorkersFields[] = {
    {.key = "min",
     .type = Type::kInteger,
     .help = "Workers that are kept when there is nothing to do.",
     .default_value = "0",
     .min = 0,
     .max = kMaxWorkers},
    {.key = "max",
     .type = Type::kInteger,
     .help = "Workers at most; the runtime's own limit when not given.",
     .min = 1,
     .max = kMaxWorkers,
     .example = "8"},
    {.key = "concurrency",
     .type = Type::kInteger,
     .help = "Events that one worker handles at a time; the runtime's own number when not given.",
     .min = 1,
     .max = kMaxConcurrency,
     .example = "1"},
    {.key = "idle_timeout_ms",
     .type = Type::kInteger,
     .help = "After so long without an event a worker above `min` ends.",
     .default_value = "60000",
     .min = 0,
     .max = kMaxTimeoutMs},
};
constexpr Spec kWorkers = {"workers", "How many workers run the function.", kWorkersFields};

constexpr std::string_view kIsolations[] = {"none", "sandbox"};

constexpr Field kFields[] = {
    {.key = "name", .type = Type::kString, .help = "The function's name.", .required = true, .example = "thumbnails"},
    {.key = "description",
     .type = Type::kString,
     .help = "What the function does, for people.",
     .example = "Makes images smaller."},
    {.key = "runtime", .type = Type::kString, .help = "How the function runs.", .required = true, .example = "native"},
    {.key = "handler",
     .type = Type::kString,
     .help = "What the runtime calls; each runtime says how it is written.",
     .example = "thumbs.cc"},
    {.key = "workers",
     .type = Type::kSection,
     .help = "How many workers run the function.",
     .default_value = "{}",
     .section = &kWorkers},
    {.key = "timeout_ms",
     .type = Type::kInteger,
     .help = "An event that takes longer has failed; a request may ask for less, never for more.",
     .default_value = "30000",
     .min = 1,
     .max = kMaxTimeoutMs},
    {.key = "max_in_flight",
     .type = Type::kInteger,
     .help = "Events that are accepted and not yet settled; further ones are pushed back to the source.",
     .default_value = "4096",
     .min = 1,
     .max = kMaxInFlight},
    {.key = "queue_timeout_ms",
     .type = Type::kInteger,
     .help = "How long an event waits for a free worker before it is pushed back.",
     .default_value = "10000",
     .min = 0,
     .max = kMaxTimeoutMs},
    {.key = "environment",
     .type = Type::kStringMap,
     .help = "Environment variables for the function; no secrets.",
     .example = "{LANG: C.UTF-8}"},
    {.key = "triggers",
     .type = Type::kSection,
     .help = "Event sources by name, each with a `kind` and the keys of that kind; one `http` trigger when not given.",
     .example = "{web: {kind: http}}"},
    {.key = "isolation",
     .type = Type::kChoice,
     .help = "`none`: the function has no boundary; `sandbox` is not in this version.",
     .choices = kIsolations,
     .example = "none"},
    {.key = "bindings", .type = Type::kSection, .help = "Data systems by name; not in this version."},
    {.key = "sandbox", .type = Type::kSection, .help = "The sandbox in detail; not in this version."},
};

}  // namespace

const Spec& function_spec() {
  static constexpr Spec kSpec = {"function.yaml", "The function's file: what it is, how it runs, and where its events come from.",
                                 kFields};
  return kSpec;
}

bool is_function_name(std::string_view name) {
  if (name.empty() || name.size() > 63 || name.front() == '-' || name.back() == '-') return false;
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  return true;
}

}  // namespace kaon::config
