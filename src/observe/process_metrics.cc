#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <string_view>

#include "base/clock.h"
#include "base/fd.h"
#include "observe/metrics.h"

namespace kaon::observe {
namespace {

// What a file of /proc holds, up to the buffer's size.
std::string_view read_file(const char* path, std::span<char> buffer) {
  Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
  return n > 0 ? std::string_view(buffer.data(), static_cast<size_t>(n)) : std::string_view();
}

// The `index`th number, from 0, of words with one space between.
double word(std::string_view text, int index) {
  for (; index > 0; --index) {
    size_t space = text.find(' ');
    if (space == text.npos) return NAN;
    text.remove_prefix(space + 1);
  }
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? static_cast<double>(value) : NAN;
}

double cpu_seconds(const void*) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](timeval t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double resident_bytes(const void*) {
  char buffer[256];
  return word(read_file("/proc/self/statm", buffer), 1) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double open_fds(const void*) {
  DIR* folder = opendir("/proc/self/fd");
  if (!folder) return NAN;
  int count = -1;  // the folder's own descriptor
  while (dirent* entry = readdir(folder)) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

double max_fds(const void*) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return NAN;
  return limit.rlim_cur == RLIM_INFINITY ? INFINITY : static_cast<double>(limit.rlim_cur);
}

double start_time() {
  char buffer[1024];
  std::string_view stat = read_file("/proc/self/stat", buffer);
  size_t name_end = stat.rfind(')');  // the name may hold spaces and parentheses
  if (name_end == stat.npos || name_end + 2 > stat.size()) return NAN;
  double ticks = word(stat.substr(name_end + 2), 19) / static_cast<double>(sysconf(_SC_CLK_TCK));
  timespec since_boot{};  // counts suspended time, as the start's ticks do
  clock_gettime(CLOCK_BOOTTIME, &since_boot);
  double up = static_cast<double>(since_boot.tv_sec) + static_cast<double>(since_boot.tv_nsec) / 1e9;
  return static_cast<double>(wall_ns()) / 1e9 - (up - ticks);
}

}  // namespace

void declare_process_metrics(Registry& registry) {
  registry.callback("process_cpu_seconds_total", "User and system CPU time of the processor.", "counter", cpu_seconds);
  registry.callback("process_resident_memory_bytes", "Resident memory of the processor.", "gauge", resident_bytes);
  registry.callback("process_open_fds", "Open file descriptors of the processor.", "gauge", open_fds);
  registry.callback("process_max_fds", "The limit of open file descriptors.", "gauge", max_fds);
  registry.callback("process_start_time_seconds", "When the processor started, since the Unix epoch.", "gauge",
                    [](const void*) {
                      static const double started = start_time();  // asked once, as the clock may be set later
                      return started;
                    });
}

}  // namespace kaon::observe
