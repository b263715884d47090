#pragma once
// What the tests of this room share.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include "base/clock.h"
#include "base/fd.h"

namespace kaon::keeper::testing_support {

inline bool eventually(const std::function<bool()>& condition, Nanos within = 60 * kSecond) {
  Nanos deadline = monotonic_ns() + within;
  while (!condition()) {
    if (monotonic_ns() > deadline) return false;
    usleep(500);
  }
  return true;
}

inline std::string read_all(int fd) {
  std::string text;
  char chunk[4096];
  for (ssize_t n; (n = read(fd, chunk, sizeof chunk)) > 0;) text.append(chunk, static_cast<size_t>(n));
  return text;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::string status_line(const std::string& status, const std::string& name) {
  size_t at = status.find("\n" + name + ":");
  if (at == status.npos) return "absent";
  at = status.find_first_not_of(" \t", at + name.size() + 2);
  return status.substr(at, status.find('\n', at) - at);
}

inline bool alive(pid_t pid) {
  return kill(pid, 0) == 0 && status_line(read_file("/proc/" + std::to_string(pid) + "/status"), "State")[0] != 'Z';
}

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    read.reset(fds[0]);
    write.reset(fds[1]);
  }
  Fd read, write;
};

}  // namespace kaon::keeper::testing_support
