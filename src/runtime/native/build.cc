#include "runtime/native/build.h"

#include <unistd.h>

#include <array>
#include <filesystem>
#include <system_error>
#include <vector>

#include "runtime/native/compiler.h"
#include "runtime/native/library.h"

namespace kaon::runtime::native {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kSources{".cc", ".cpp", ".cxx", ".c"};

bool is_source(const fs::path& path) {
  std::string extension = path.extension();
  return std::find(kSources.begin(), kSources.end(), extension) != kSources.end();
}

Error file_error(std::string_view what, const std::error_code& error) {
  Error result = errno_error(what, error.value());
  return result;
}

// The only file that could be meant, relative to `folder`.
Result<std::string> guess_handler(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (recognises(it->path()) && it->is_regular_file()) found.push_back(it->path().filename());
  if (error) return file_error("read " + folder, error);
  if (found.size() == 1) return found[0];
  for (const std::string& name : found)
    if (fs::path(name).stem() == "handler") return name;
  if (found.empty())
    return Error{ErrorCode::kNotFound, folder + " has no .cc, .cpp, .cxx, .c or .so file; name one with `handler`"};
  return Error{ErrorCode::kInvalid, folder + " has several sources or libraries; name the one to run with `handler`"};
}

bool stays_inside(const fs::path& path) {
  if (path.empty() || path.is_absolute()) return false;
  for (const fs::path& part : path)
    if (part == "..") return false;
  return true;
}

Result<void> copy_into(const std::string& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  fs::path fresh = to;
  fresh += ".new" + std::to_string(getpid());
  if (!error) fs::copy_file(from, fresh, fs::copy_options::overwrite_existing, error);
  if (!error) fs::rename(fresh, to, error);
  if (error) {
    std::error_code ignored;
    fs::remove(fresh, ignored);
    return file_error("copy " + from + " to " + to.string(), error);
  }
  return {};
}

// The compiled library in the cache.
Result<std::string> compiled(const std::string& source, const std::string& cache, const std::vector<std::string>& flags) {
  KAON_TRY(std::string compiler, find_compiler());
  KAON_TRY(std::string sdk, find_sdk());
  std::string folder = cache + "/native";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return file_error("make " + folder, error);
  Compilation job{source, folder + "/." + std::to_string(getpid()) + ".so", compiler, sdk, flags};
  std::string key = compile_key(job);
  std::string known = folder + "/" + key + ".d";
  if (auto content = content_key(key, known)) {
    std::string library = folder + "/" + *content + ".so";
    if (check_shared_library(library)) return library;
  }
  auto tidy = [&] {
    std::error_code ignored;
    fs::remove(job.output, ignored);
    fs::remove(job.output + ".d", ignored);
  };
  if (auto done = compile(job); !done) {
    tidy();
    return std::move(done).error();
  }
  auto content = content_key(key, job.output + ".d");
  if (!content) {
    tidy();
    return std::move(content).error();
  }
  // Each appears whole, the library first: another build may run beside this one.
  std::string library = folder + "/" + *content + ".so";
  fs::rename(job.output, library, error);
  if (!error) fs::rename(job.output + ".d", known, error);
  tidy();
  if (error) return file_error("write " + library, error);
  return library;
}

}  // namespace

bool recognises(const std::string& path) { return is_source(path) || fs::path(path).extension() == ".so"; }

Result<void> build(BuildContext& context) {
  config::Function& function = context.function;
  if (function.isolation == config::Isolation::kSandbox)
    return Error{ErrorCode::kUnimplemented,
                 "a native function runs inside Kaon and cannot be sandboxed yet; set `isolation: none`"};
  std::error_code error;
  bool single = fs::is_regular_file(context.source, error);
  fs::path root = single ? fs::path(context.source).parent_path() : fs::path(context.source);
  if (function.handler.empty()) {
    if (single) {
      function.handler = fs::path(context.source).filename();
    } else {
      KAON_TRY(function.handler, guess_handler(context.source));
    }
  }
  fs::path handler = fs::path(function.handler).lexically_normal();
  if (!stays_inside(handler))
    return Error{ErrorCode::kInvalid, "handler: `" + function.handler + "` must name a file in the function's folder"};
  if (!recognises(handler))
    return Error{ErrorCode::kInvalid,
                 "handler: `" + function.handler + "` is no .so, and no .cc, .cpp, .cxx or .c to be compiled"};
  fs::path source = root / handler;
  if (!fs::is_regular_file(source, error))
    return Error{ErrorCode::kNotFound,
                 "handler: " + source.string() + " does not exist; set `handler` to a .so, .cc, .cpp, .cxx or .c"};
  fs::path target = fs::path(context.folder) / handler;
  if (is_source(handler)) {
    KAON_TRY(std::string library, compiled(source, context.cache, function.runtime_settings.list(kCompilerFlags)));
    target.replace_extension(".so");
    handler.replace_extension(".so");
    KAON_TRY_VOID(copy_into(library, target));
  } else if (!fs::exists(target, error)) {
    KAON_TRY_VOID(copy_into(source, target));
  }
  KAON_TRY_VOID(check_shared_library(target));
  function.handler = handler;
  return {};
}

}  // namespace kaon::runtime::native
