#include "runtime/native/compiler.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/sha256.h"

namespace kaon::runtime::native {
namespace {

namespace fs = std::filesystem;

constexpr Nanos kTimeLimit = 60 * kSecond;
constexpr size_t kMaxOutput = 64 << 10;

std::string on_path(std::string_view name) {
  if (name.find('/') != std::string_view::npos)
    return access(std::string(name).c_str(), X_OK) == 0 ? fs::absolute(name).string() : "";
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (folder.empty() || folder[0] != '/') continue;  // never from the working directory
    std::string candidate = folder + "/" + std::string(name);
    struct stat info;
    if (stat(candidate.c_str(), &info) == 0 && S_ISREG(info.st_mode) && access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

bool is_sdk(const std::string& folder) { return fs::exists(folder + "/c/kaon.h") && fs::exists(folder + "/cpp/kaon.hpp"); }

std::vector<std::string> arguments(const Compilation& job) {
  bool c = fs::path(job.source).extension() == ".c";
  // -fno-gnu-unique: with it a library could never be unloaded, and two versions of a function would share variables.
  std::vector<std::string> args{job.compiler,
                                "-x",
                                c ? "c" : "c++",
                                c ? "-std=c11" : "-std=c++20",
                                "-O2",
                                "-g1",
                                "-fPIC",
                                "-shared",
                                "-fvisibility=hidden",
                                "-Wall",
                                "-pthread",
                                "-I" + job.sdk + "/c",
                                "-I" + job.sdk + "/cpp"};
  if (job.compiler.find("clang") == std::string::npos && !c) args.push_back("-fno-gnu-unique");
  args.insert(args.end(), {"-MMD", "-MF", job.output + ".d", "-o", job.output, job.source, "-x", "none"});
  args.insert(args.end(), job.flags.begin(), job.flags.end());
  return args;
}

struct Output {
  std::string text;
  bool cut = false;
};

// Until the other end is closed or the deadline. False: the deadline came first.
bool drain(int fd, Nanos deadline, Output& output) {
  char buffer[4096];
  for (;;) {
    Nanos left = deadline - monotonic_ns();
    if (left <= 0) return false;
    pollfd wait{fd, POLLIN, 0};
    int ready = poll(&wait, 1, static_cast<int>(left / kMillisecond) + 1);
    if (ready < 0 && errno != EINTR) return true;
    if (ready <= 0) continue;
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    size_t room = kMaxOutput - output.text.size();
    if (static_cast<size_t>(got) > room) output.cut = true;
    output.text.append(buffer, std::min(static_cast<size_t>(got), room));
  }
}

Result<pid_t> spawn(const std::vector<std::string>& args, int out) {
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, out, 2);
  // A group of its own, so that the passes that the compiler starts end with it; and a plain signal state.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  pid_t child = -1;
  int error = posix_spawn(&child, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return errno_error("start " + args[0], error);
  return child;
}

bool wait_until(pid_t child, Nanos deadline, int& status) {
  for (;;) {
    pid_t got = waitpid(child, &status, WNOHANG);
    if (got == child || (got < 0 && errno != EINTR)) return true;
    if (monotonic_ns() >= deadline) return false;
    usleep(2000);
  }
}

void hash_part(Sha256& hash, std::string_view part) {
  hash.update(std::to_string(part.size()));
  hash.update(":");
  hash.update(part);
}

Result<std::string> read_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_error("read " + path, errno);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// The prerequisites of a make rule: "a.o: b.cc \\\n c.h", with "\ " for a space and "$$" for a dollar.
std::vector<std::string> prerequisites(const std::string& rule) {
  std::vector<std::string> names;
  size_t at = rule.find(": ");
  if (at == std::string::npos) return names;
  std::string name;
  for (at += 2; at <= rule.size(); ++at) {
    char c = at < rule.size() ? rule[at] : '\n';
    char next = at + 1 < rule.size() ? rule[at + 1] : 0;
    if (c == '\\' && (next == ' ' || next == '#'))
      name += rule[++at];
    else if (c == '\\' && next == '\n')
      ++at;
    else if (c == '$' && next == '$')
      name += rule[++at];
    else if (c == ' ' || c == '\n') {
      if (!name.empty()) names.push_back(std::exchange(name, {}));
    } else
      name += c;
  }
  return names;
}

}  // namespace

Result<std::string> find_compiler() {
  if (const char* cxx = std::getenv("CXX"); cxx && *cxx) {
    if (std::string found = on_path(cxx); !found.empty()) return found;
    return Error{ErrorCode::kNotFound,
                 std::string("$CXX names `") + cxx + "`, which is no program; name a C++ compiler or unset it"};
  }
  for (std::string_view name : {"c++", "g++", "clang++"})
    if (std::string found = on_path(name); !found.empty()) return found;
  return Error{ErrorCode::kNotFound, "no C++ compiler found; install one (Debian: apt install g++), or set $CXX"};
}

Result<std::string> find_sdk() {
  if (const char* given = std::getenv("KAON_SDK_DIR"); given && *given) {
    if (is_sdk(given)) return fs::absolute(given).string();
    return Error{ErrorCode::kNotFound, std::string("$KAON_SDK_DIR (") + given + ") has no c/kaon.h and cpp/kaon.hpp"};
  }
  std::error_code error;
  fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    std::string installed = program.parent_path().parent_path() / "share/kaon/sdk";
    if (is_sdk(installed)) return installed;
  }
#ifdef KAON_SDK_SOURCE_DIR
  if (is_sdk(KAON_SDK_SOURCE_DIR)) return std::string(KAON_SDK_SOURCE_DIR);
#endif
  return Error{ErrorCode::kNotFound,
               "the SDK's headers are not beside the program (../share/kaon/sdk); set $KAON_SDK_DIR to them"};
}

Result<void> compile(const Compilation& job) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
  Fd in(ends[0]), out(ends[1]);
  KAON_TRY(pid_t child, spawn(arguments(job), out.get()));
  out.reset();
  Nanos deadline = monotonic_ns() + kTimeLimit;
  Output output;
  int status = 0;
  bool ended = drain(in.get(), deadline, output) && wait_until(child, deadline, status);
  if (!ended) {
    kill(-child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return Error{ErrorCode::kTimeout, "compiling " + job.source + " took longer than 60 s"};
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  std::string message = job.source + " does not compile:\n" + output.text;
  if (output.cut) message += "\n(the rest of the compiler's output is left out)";
  if (WIFSIGNALED(status)) message += "\n(the compiler was killed by signal " + std::to_string(WTERMSIG(status)) + ")";
  return Error{ErrorCode::kInvalid, std::move(message)};
}

std::string compile_key(const Compilation& job) {
  Sha256 hash;
  hash_part(hash, "1");
  // By its file, not by its --version: asking costs as much as a small compilation.
  std::error_code error;
  fs::path compiler = fs::canonical(job.compiler, error);
  struct stat info {};
  stat(compiler.c_str(), &info);
  hash_part(hash, compiler.string());
  hash_part(hash, std::to_string(info.st_size) + "." + std::to_string(info.st_mtim.tv_sec) + "." +
                      std::to_string(info.st_mtim.tv_nsec));
  Compilation plain = job;
  plain.output.clear();
  for (const std::string& arg : arguments(plain)) hash_part(hash, arg);
  return Sha256::hex(hash.finish());
}

Result<std::string> content_key(const std::string& compile_key, const std::string& dependencies) {
  KAON_TRY(std::string rule, read_whole(dependencies));
  Sha256 hash;
  hash_part(hash, compile_key);
  std::vector<std::string> names = prerequisites(rule);
  if (names.empty()) return Error{ErrorCode::kInvalid, dependencies + " names no file"};
  for (const std::string& name : names) {
    KAON_TRY(std::string text, read_whole(name));
    hash_part(hash, name);
    hash_part(hash, text);
  }
  return Sha256::hex(hash.finish());
}

}  // namespace kaon::runtime::native
