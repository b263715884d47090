#include "runtime/component.h"

#include <algorithm>
#include <thread>

#include "runtime/native/build.h"
#include "runtime/native/native.h"

namespace kaon::runtime::native {

const Component& component();

namespace {

constexpr std::string_view kExecutions[] = {"pool", "inline"};

constexpr config::Field kFields[] = {
    {.key = kExecution,
     .type = config::Type::kChoice,
     .help =
         "Where the handler runs: on threads of the function's own, where it may block, or inline on the event loop, which is "
         "fastest and where it must never block.",
     .default_value = "pool",
     .choices = kExecutions},
    {.key = kThreads,
     .type = config::Type::kInteger,
     .help = "Threads of a pool, at most; without it one for each core, two at least. `workers.max` limits it further.",
     .min = 1,
     .max = 1024,
     .example = "8"},
    {.key = kMaxBodyBytes,
     .type = config::Type::kInteger,
     .help = "The longest body that is collected for a handler that takes its body whole; one that streams has no such limit.",
     .default_value = "67108864",
     .min = 1,
     .max = int64_t{1} << 40},
    {.key = kCompilerFlags,
     .type = config::Type::kStringList,
     .help = "Further arguments for the compiler, after the source: options, and libraries to link.",
     .example = "[-O3, -lz]"},
};

constexpr config::Spec kSpec{"native", "A C or C++ function, loaded into Kaon itself.", kFields};

Options options_of(const config::Function& function) {
  const config::Settings& settings = function.runtime_settings;
  Options options;
  options.inline_ = settings.text(kExecution) == "inline";
  options.threads = settings.has(kThreads) ? static_cast<unsigned>(settings.integer(kThreads))
                                           : std::max(2u, std::thread::hardware_concurrency());
  if (function.workers.max != 0) options.threads = std::min(options.threads, function.workers.max);
  options.max_body_bytes = static_cast<size_t>(settings.integer(kMaxBodyBytes));
  return options;
}

Result<std::unique_ptr<Runtime>> load(LoadContext context) {
  if (context.function.isolation == config::Isolation::kSandbox)
    return Error{ErrorCode::kUnimplemented,
                 "a native function runs inside Kaon and cannot be sandboxed yet; set `isolation: none`"};
  KAON_TRY(std::unique_ptr<NativeRuntime> runtime, NativeRuntime::make(context.folder + "/" + context.function.handler,
                                                                       options_of(context.function), std::move(context.log)));
  return std::unique_ptr<Runtime>(std::move(runtime));
}

}  // namespace

const Component& component() {
  static constexpr Component kComponent{
      "native", "Runs a C or C++ function from a shared library, or compiles and runs a source file.", kSpec, recognises, build,
      load};
  return kComponent;
}

}  // namespace kaon::runtime::native
