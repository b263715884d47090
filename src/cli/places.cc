#include "cli/places.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "base/text.h"
#include "cli/client.h"

namespace kaon::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

Result<Places> places() {
  Places found{environment("KAON_STATE_DIR"), environment("KAON_RUN_DIR")};
  bool root = geteuid() == 0;
  if (found.state.empty()) {
    std::string home = environment("HOME"), state = environment("XDG_STATE_HOME");
    if (root) found.state = "/var/lib/kaon";
    else if (!state.empty()) found.state = state + "/kaon";
    else if (!home.empty()) found.state = home + "/.local/state/kaon";
    else return Error{ErrorCode::kInvalid, "HOME is not set; set KAON_STATE_DIR to a folder where versions can be kept"};
  }
  if (found.run.empty()) {
    std::string runtime = environment("XDG_RUNTIME_DIR");
    if (root) found.run = "/run/kaon";
    else if (!runtime.empty()) found.run = runtime + "/kaon";
    else found.run = "/tmp/kaon-" + std::to_string(geteuid());
  }
  for (const std::string& path : {found.state, found.run})
    if (path.front() != '/') return Error{ErrorCode::kInvalid, "`" + path + "` must be an absolute path"};
  return found;
}

Result<void> make_folder(const std::string& path, int mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    std::string part = path.substr(0, slash);
    bool last = slash == std::string::npos || slash + 1 == path.size();
    if (mkdir(part.c_str(), static_cast<mode_t>(last ? mode : mode | 0755)) != 0 && errno != EEXIST)
      return errno_error("make folder " + part, errno);
    if (last) break;
  }
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) return errno_error("look at folder " + path, errno);
  bool mine = S_ISDIR(status.st_mode) && (status.st_uid == geteuid() || status.st_uid == 0);
  if (!mine || (status.st_mode & 022) != 0)
    return Error{ErrorCode::kDenied, path + " is not a folder of this user's alone; remove it, or name another by KAON_STATE_DIR or KAON_RUN_DIR"};
  return {};
}

std::string control_socket(const Places& places, const std::string& function, int pid) {
  return places.run + "/" + function + "." + std::to_string(pid) + ".sock";
}

Result<std::vector<RunningFunction>> running_functions() {
  KAON_TRY(Places found, places());
  std::vector<RunningFunction> running;
  std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(found.run.c_str()), closedir);
  if (!folder) return running;  // nothing has ever run
  while (dirent* entry = readdir(folder.get())) {
    std::string_view name = entry->d_name;
    if (!name.ends_with(".sock")) continue;
    name.remove_suffix(5);
    size_t dot = name.rfind('.');
    if (dot == std::string_view::npos) continue;
    auto pid = parse_uint(name.substr(dot + 1));
    if (!pid || *pid > INT32_MAX) continue;
    std::string socket = found.run + "/" + entry->d_name;
    if (auto connection = connect_unix(socket); !connection) {
      if (connection.error().code == ErrorCode::kDisconnected) unlink(socket.c_str());
      continue;
    }
    running.push_back({std::string(name.substr(0, dot)), static_cast<int>(*pid), std::move(socket)});
  }
  std::sort(running.begin(), running.end(), [](auto& a, auto& b) { return std::tie(a.function, a.pid) < std::tie(b.function, b.pid); });
  return running;
}

Result<RunningFunction> find_running(const std::string& function) {
  KAON_TRY(std::vector<RunningFunction> running, running_functions());
  if (!function.empty()) std::erase_if(running, [&](auto& each) { return each.function != function; });
  if (running.empty())
    return Error{ErrorCode::kNotFound, function.empty() ? "no function runs; start one with `kaon run`"
                                                        : "no function called `" + function + "` runs; `kaon ps` lists them"};
  if (running.size() > 1 && function.empty()) {
    std::string message = "several functions run; name one of";
    for (auto& each : running) message += " " + each.function;
    return Error{ErrorCode::kInvalid, message};
  }
  return running.front();
}

}  // namespace kaon::cli
