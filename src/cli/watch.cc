#include "cli/watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "cli/client.h"

namespace kaon::cli {
namespace {

constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB;
constexpr int kQuietMs = 40;      // editors write a file in several steps
constexpr int kTakeOverMs = 60'000;

// Watches a folder and those beneath it; of a single file its folder, since editors replace files. Watching anew what is
// watched already changes nothing.
Result<void> watch_all(int fd, const std::string& source) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  bool single = !fs::is_directory(source, ignored);
  std::string root = single ? fs::path(source).parent_path().string() : source;
  if (inotify_add_watch(fd, root.c_str(), kEvents) < 0) return errno_error("watch " + root, errno);
  if (single) return {};
  for (auto entry = fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied, ignored);
       !ignored && entry != fs::recursive_directory_iterator(); entry.increment(ignored)) {
    if (!entry->is_directory(ignored) || entry->is_symlink(ignored)) continue;
    if (entry->path().filename() == ".git") entry.disable_recursion_pending();
    else if (inotify_add_watch(fd, entry->path().c_str(), kEvents) < 0) return errno_error("watch " + entry->path().string(), errno);
  }
  return {};
}

// Waits for a change and for the quiet behind it.
void wait_for_change(int fd) {
  char events[16 << 10];
  pollfd ready{fd, POLLIN, 0};
  int patience = -1;
  while (poll(&ready, 1, patience) != 0) {
    if (read(fd, events, sizeof events) < 0 && errno != EINTR && errno != EAGAIN) return;
    patience = kQuietMs;
  }
}

}  // namespace

Result<void> watch(Stager& stager, std::string version, const std::string& control) {
  Fd fd(inotify_init1(IN_CLOEXEC));
  if (!fd) return errno_error("watch files", errno);
  for (;;) {
    KAON_TRY_VOID(watch_all(fd.get(), stager.source()));
    wait_for_change(fd.get());
    auto staged = stager.stage();
    if (!staged) {
      fprintf(stderr, "kaon: %s\nkaon: version %s keeps serving\n", staged.error().message.c_str(), version.c_str());
      continue;
    }
    if (staged->id == version) continue;
    auto reply = request(control, "PUT", "/v1/functions/" + stager.function().name + "/versions/" + staged->id, {}, "", kTakeOverMs);
    if (!reply || reply->status >= 400) {
      Error error = reply ? reply_error(*reply) : reply.error();
      fprintf(stderr, "kaon: %s\nkaon: version %s keeps serving\n", error.message.c_str(), version.c_str());
      continue;
    }
    fprintf(stderr, "kaon: version %s took over from %s\n", staged->id.c_str(), version.c_str());
    version = staged->id;
  }
}

}  // namespace kaon::cli
