// The floor of the process-start comparisons: starts a program and waits for it, N times, with nothing around it.
// `clone(CLONE_VM|CLONE_VFORK)` copies no page table, so the size of the parent does not matter.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

extern char** environ;

namespace {

constexpr size_t kStack = 64 * 1024;

[[noreturn]] void die(const char* what) {
  fprintf(stderr, "spawn: %s: %s\n", what, strerror(errno));
  exit(1);
}

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

int64_t cpu_ns() {
  int64_t sum = 0;
  for (int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage;
    getrusage(who, &usage);
    sum += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000'000LL +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
  }
  return sum;
}

// Shared with the child, which runs in the parent's memory until it executes the program.
struct Child {
  char** argv;
  int in = -1;
  int out = -1;
  int failed = 0;
};

int run_child(void* argument) {
  Child& child = *static_cast<Child*>(argument);
  if ((child.in >= 0 && dup2(child.in, 0) < 0) || (child.out >= 0 && dup2(child.out, 1) < 0)) {
    child.failed = errno;
    _exit(127);
  }
  execve(child.argv[0], child.argv, environ);
  child.failed = errno;
  _exit(127);
}

// Feeds `body` and counts what comes back, as both ends allow. A body larger than a pipe must not deadlock.
size_t exchange(int in, int out, std::string_view body) {
  size_t received = 0;
  char buffer[64 * 1024];
  if (body.empty()) close(in);
  bool writing = !body.empty();
  for (;;) {
    if (writing) {
      ssize_t n = write(in, body.data(), body.size());
      if (n > 0) body.remove_prefix(size_t(n));
      if (body.empty() || (n < 0 && errno == EPIPE)) {
        close(in);
        writing = false;
      }
    }
    if (writing) {
      pollfd ready[2] = {{in, POLLOUT, 0}, {out, POLLIN, 0}};
      poll(ready, 2, -1);
      if (!(ready[1].revents & (POLLIN | POLLHUP))) continue;
    }
    ssize_t n = read(out, buffer, sizeof buffer);
    if (n == 0) break;
    if (n > 0) received += size_t(n);
    if (n < 0 && errno != EINTR && errno != EAGAIN) die("read");
  }
  if (writing) close(in);
  return received;
}

void spawn(char** argv, bool pipes, std::string_view body, char* stack) {
  Child child{argv};
  int in[2], out[2];
  if (pipes) {
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) die("pipe2");
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    child.in = in[0];
    child.out = out[1];
  }
  int pid = clone(run_child, stack + kStack, CLONE_VM | CLONE_VFORK | SIGCHLD, &child);
  if (pid < 0) die("clone");
  if (child.failed) {
    errno = child.failed;
    die(argv[0]);
  }
  if (pipes) {
    close(in[0]);
    close(out[1]);
    size_t received = exchange(in[1], out[0], body);
    close(out[0]);
    if (!body.empty() && received != body.size()) {
      fprintf(stderr, "spawn: sent %zu bytes, got %zu back\n", body.size(), received);
      exit(1);
    }
  }
  siginfo_t info;
  while (waitid(P_PID, id_t(pid), &info, WEXITED) < 0) {
    if (errno != EINTR) die("waitid");
  }
  if (info.si_code != CLD_EXITED || info.si_status != 0) {
    fprintf(stderr, "spawn: the program ended with status %d\n", info.si_status);
    exit(1);
  }
}

int usage() {
  fputs("usage: spawn [--count N] [--pipes] [--body BYTES] PROGRAM [ARGUMENT…]\n"
        "Starts PROGRAM (a path) N times, one after the other. --pipes gives it pipes for STDIN and STDOUT; with --body it\n"
        "must copy that many bytes from one to the other.\n",
        stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  long count = 1000, body_size = 0;
  bool pipes = false;
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; ++at) {
    std::string_view option = argv[at];
    if (option == "--pipes") {
      pipes = true;
    } else if (option == "--count" && at + 1 < argc) {
      count = atol(argv[++at]);
    } else if (option == "--body" && at + 1 < argc) {
      body_size = atol(argv[++at]);
      pipes = true;
    } else {
      return usage();
    }
  }
  if (at == argc || count < 1 || body_size < 0) return usage();
  signal(SIGPIPE, SIG_IGN);
  std::string body(size_t(body_size), 'x');
  auto stack = std::make_unique<char[]>(kStack);
  long warm = std::min(count / 10 + 1, 100L);
  for (long i = 0; i < warm; ++i) spawn(argv + at, pipes, body, stack.get());
  std::vector<int64_t> times;
  times.reserve(size_t(count));
  int64_t cpu = cpu_ns();
  for (long i = 0; i < count; ++i) {
    int64_t start = now_ns();
    spawn(argv + at, pipes, body, stack.get());
    times.push_back(now_ns() - start);
  }
  cpu = cpu_ns() - cpu;
  std::sort(times.begin(), times.end());
  auto at_rank = [&](double p) { return double(times[size_t(p * double(times.size() - 1))]) / 1000; };
  auto each = [&](int64_t sum) { return double(sum) / double(count) / 1000; };
  printf("{\"count\": %ld, \"mean_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"min_us\": %.1f, \"cpu_us\": %.1f}\n", count,
         each(std::accumulate(times.begin(), times.end(), int64_t{0})), at_rank(0.5), at_rank(0.99), at_rank(0), each(cpu));
}
