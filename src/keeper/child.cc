#include "keeper/child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KAON_SHARES_SHADOW 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KAON_SHARES_SHADOW 1
#endif

namespace kaon::keeper {
namespace {

struct Start {
  const ChildPlan* plan;
  pid_t parent;
  volatile Step step;
  volatile int error;
};

// Runs between clone and exec, in the keeper's memory and while the keeper is stopped: no allocation, no locks, no
// exceptions. The raw system calls keep glibc from telling the keeper's (absent) threads about a changed uid.
class Entry {
 public:
  explicit Entry(Start& start) : start_(start), plan_(*start.plan) {}

  int run() {
    if (!step(Step::kSession, setsid())) return 127;
    if (!descriptors()) return 127;
    if (!step(Step::kFolder, plan_.folder >= 0 ? fchdir(plan_.folder) : chdir("/"))) return 127;
    if (!limits() || !identity()) return 127;
    // After the change of uid, which clears it. The parent may have died before this.
    if (!step(Step::kParent, prctl(PR_SET_PDEATHSIG, SIGKILL))) return 127;
    if (getppid() != start_.parent) return 127;
    umask(022);
    sigset_t none;
    sigemptyset(&none);
    if (!step(Step::kSession, sigprocmask(SIG_SETMASK, &none, nullptr))) return 127;
    if (plan_.executable >= 0)
      syscall(SYS_execveat, plan_.executable, "", plan_.arguments, plan_.environment, AT_EMPTY_PATH);
    else
      execve(plan_.path, plan_.arguments, plan_.environment);
    step(Step::kExec, -1);
    return 127;
  }

 private:
  bool step(Step step, long result) {
    if (result >= 0) return true;
    start_.error = errno;
    start_.step = step;
    return false;
  }

  bool descriptors() {
    // The keeper holds 0 to 2 itself, so that what it received never lies there and dup2 clears FD_CLOEXEC.
    for (int i = 0; i < 3; ++i)
      if (!step(Step::kDescriptors, dup2(plan_.standard[i], i))) return false;
    // Marked, not closed: the executable's and the folder's descriptors are still needed.
    return step(Step::kDescriptors, syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */));
  }

  bool limits() {
    rlimit core{0, 0};
    rlimit files{plan_.policy->descriptors_soft, plan_.policy->descriptors_hard};
    return step(Step::kLimits, setrlimit(RLIMIT_CORE, &core)) && step(Step::kLimits, setrlimit(RLIMIT_NOFILE, &files));
  }

  bool identity() {
    const Policy& policy = *plan_.policy;
    if (policy.change_identity) {
      if (!step(Step::kIdentity, syscall(SYS_setgroups, 0, nullptr)) ||
          !step(Step::kIdentity, syscall(SYS_setresgid, policy.gid, policy.gid, policy.gid)) ||
          !step(Step::kIdentity, syscall(SYS_setresuid, policy.uid, policy.uid, policy.uid)))
        return false;
    }
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    return step(Step::kPrivileges, syscall(SYS_capset, &header, none)) &&
           step(Step::kPrivileges, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  }

  Start& start_;
  const ChildPlan& plan_;
};

#ifdef KAON_SHARES_SHADOW
// A sanitizer's shadow memory must not see a second stack: a fork, and the failing step by a pipe. _Fork runs no handlers
// of pthread_atfork; libuv's closes descriptors by numbers that are somebody else's in a keeper made by fork_keeper.
pid_t launch(Start& start, bool with_pidfd, int& pidfd) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return -1;
  Fd reader(fds[0]), writer(fds[1]);
  pid_t pid = _Fork();
  if (pid == 0) {
    int code = Entry(start).run();
    int report[2] = {static_cast<int>(start.step), start.error};
    _exit(write(writer.get(), report, sizeof report) < 0 ? 126 : code);
  }
  if (pid < 0) return -1;
  writer.reset();
  int report[2];
  if (read(reader.get(), report, sizeof report) == static_cast<ssize_t>(sizeof report)) {
    start.step = static_cast<Step>(report[0]);
    start.error = report[1];
  }
  if (with_pidfd) pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  return pid;
}
#else
pid_t launch(Start& start, bool with_pidfd, int& pidfd) {
  // One at a time: CLONE_VFORK stops the keeper until the child has left this stack.
  alignas(64) static char stack[64 << 10];
  auto child_main = [](void* argument) -> int { _exit(Entry(*static_cast<Start*>(argument)).run()); };
  return clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD | (with_pidfd ? CLONE_PIDFD : 0), &start,
               &pidfd);
}
#endif

}  // namespace

ChildResult start_child(const ChildPlan& plan, bool with_pidfd) {
  Start start{&plan, getpid(), Step::kNone, 0};
  int pidfd = -1;
  pid_t pid = launch(start, with_pidfd, pidfd);
  ChildResult result;
  if (pid < 0) {
    result.step = Step::kClone;
    result.error = errno;
    return result;
  }
  result.pidfd.reset(pidfd);
  if (start.step == Step::kNone) {
    result.pid = pid;
    return result;
  }
  result.step = start.step;
  result.error = start.error;
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return result;
}

}  // namespace kaon::keeper
