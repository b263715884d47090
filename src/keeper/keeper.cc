#include "keeper/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "keeper/channel.h"

namespace kaon::keeper {
namespace {

constexpr Nanos kQuickDeath = kSecond;
constexpr Nanos kFirstPause = 50 * kMillisecond;
constexpr Nanos kLongestPause = 5 * kSecond;
constexpr Nanos kLastWait = 2 * kSecond;

void report(const std::string& message) { dprintf(2, "kaon: %s\n", message.c_str()); }

std::string ending(int status) {
  if (!WIFSIGNALED(status)) return "ended with exit code " + std::to_string(WEXITSTATUS(status));
  const char* name = sigabbrev_np(WTERMSIG(status));
  return "was killed by " + (name ? "SIG" + std::string(name) : "signal " + std::to_string(WTERMSIG(status)));
}

// Something in the keeper's epoll set.
struct Source {
  enum Type { kSignals, kStager, kChannel } type;
  uint32_t interest = 0;
};

struct Generation;

struct ChannelSource : Source {
  ChannelSource(Fd fd, const std::vector<Policy>& policies, Children& children, Channel::Owner* owner)
      : Source{kChannel}, channel(std::move(fd), policies, children, owner) {}
  Channel channel;
  bool closed = false;
};

// What was committed at one time, with its sockets.
struct Version {
  std::string blob;
  std::vector<std::shared_ptr<const Listener>> listeners;
};

// One processor.
struct Generation : Channel::Owner {
  void on_ready_message() override { ready = true; }
  void on_finished_message(int exit_code) override { finished = exit_code & 0xff; }
  pid_t pid = -1;
  std::shared_ptr<const Version> version;
  std::vector<std::unique_ptr<ChannelSource>> channels;
  Nanos started = 0;
  bool ready = false;
  std::optional<int> finished;
};

class Keeper {
 public:
  Keeper(const KeeperOptions& options, int (*processor_main)(ProcessorStart&))
      : options_(options), processor_main_(processor_main), children_(options.max_children) {}

  int run();
  int serve(Fd channel);

 private:
  Result<void> set_up();
  Result<void> set_up_signals();
  void turn(int timeout_ms);
  int timeout() const;

  Result<void> start_stager();
  void on_stager();
  void on_stager_exit(int status);
  Result<void> accept_commit(Commit commit);

  Result<void> start_processor(std::shared_ptr<const Version> version);
  // What escapes from these two must not return through the keeper's own frames: it ends the child.
  [[noreturn]] void become_stager(Fd channel, pid_t keeper) noexcept;
  [[noreturn]] void become_processor(Generation& generation, std::vector<Client> channels, pid_t keeper) noexcept;
  void on_processor_exit(size_t index, int status);
  void restart_later(const Generation& dead, const std::string& how);
  void hand_over();
  void drop(size_t index);

  void on_signals();
  void on_shutdown_signal(int signal);
  void reap();
  void on_channel(ChannelSource& source, uint32_t events);
  void update(Source& source, int fd, uint32_t interest);
  void update_channels();
  void finish(int code);
  void wait_for_all();

  const KeeperOptions& options_;
  int (*processor_main_)(ProcessorStart&);
  std::vector<Policy> policies_;
  Fd epoll_, signals_;
  Source signal_source_{Source::kSignals};
  Source stager_source_{Source::kStager};
  sigset_t mask_before_{};
  rlimit files_before_{};
  bool change_identity_ = false;

  Children children_;
  std::optional<StageReader> stage_;
  pid_t stager_ = -1;
  std::shared_ptr<const Version> version_;                // of the newest processor that shall live
  std::vector<std::unique_ptr<Generation>> generations_;  // oldest first; the last one may not be ready yet
  std::unique_ptr<ChannelSource> served_;                 // of fork_keeper

  unsigned restarts_ = 0, failed_starts_ = 0, quick_deaths_ = 0;
  Nanos restart_at_ = 0;
  bool stopping_ = false, interrupted_ = false;
  std::optional<int> exit_code_;
};

Result<void> Keeper::set_up() {
  for (int fd = 0; fd < 3; ++fd)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return Error{ErrorCode::kInternal, "cannot open /dev/null"};
  if (getrlimit(RLIMIT_NOFILE, &files_before_) != 0) return errno_error("getrlimit", errno);
  rlimit all{files_before_.rlim_max, files_before_.rlim_max};
  setrlimit(RLIMIT_NOFILE, &all);
  change_identity_ = may_change_identity();
  policies_.push_back(
      {change_identity_, options_.function_uid, options_.function_gid, files_before_.rlim_cur, files_before_.rlim_max});
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return errno_error("epoll_create1", errno);
  return set_up_signals();
}

Result<void> Keeper::set_up_signals() {
  struct sigaction old;
  bool ignores_hangup = sigaction(SIGHUP, nullptr, &old) == 0 && old.sa_handler == SIG_IGN;
  // Nothing is handled or ignored in the keeper, so that a child has nothing to reset.
  for (int number = 1; number <= SIGRTMAX; ++number) {
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    sigaction(number, &plain, nullptr);
  }
  sigset_t taken, blocked;
  sigemptyset(&taken);
  for (int number : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&taken, number);
  if (!ignores_hangup) sigaddset(&taken, SIGHUP);
  blocked = taken;
  sigaddset(&blocked, SIGHUP);
  sigaddset(&blocked, SIGPIPE);
  if (sigprocmask(SIG_BLOCK, &blocked, &mask_before_) != 0) return errno_error("sigprocmask", errno);
  for (int number : {SIGCHLD, SIGTERM, SIGINT, SIGPIPE}) sigdelset(&mask_before_, number);
  signals_.reset(signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return errno_error("signalfd", errno);
  update(signal_source_, signals_.get(), EPOLLIN);
  return {};
}

void Keeper::update(Source& source, int fd, uint32_t interest) {
  if (interest == source.interest) return;
  epoll_event event{interest, {.ptr = &source}};
  epoll_ctl(epoll_.get(), source.interest == 0 ? EPOLL_CTL_ADD : interest == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, &event);
  source.interest = interest;
}

void Keeper::update_channels() {
  auto each = [&](ChannelSource& source) {
    update(source, source.channel.fd(), source.closed ? 0u : uint32_t{source.channel.waiting() ? EPOLLOUT : EPOLLIN});
  };
  for (auto& generation : generations_)
    for (auto& source : generation->channels) each(*source);
  if (served_) each(*served_);
}

int Keeper::timeout() const {
  if (restart_at_ == 0) return -1;
  Nanos left = restart_at_ - monotonic_ns();
  return left <= 0 ? 0 : static_cast<int>((left + kMillisecond - 1) / kMillisecond);
}

void Keeper::turn(int timeout_ms) {
  // One event at a time: whatever handles it may remove any other source.
  epoll_event event;
  if (epoll_wait(epoll_.get(), &event, 1, timeout_ms) == 1) {
    auto* source = static_cast<Source*>(event.data.ptr);
    switch (source->type) {
      case Source::kSignals:
        on_signals();
        break;
      case Source::kStager:
        on_stager();
        break;
      case Source::kChannel:
        on_channel(static_cast<ChannelSource&>(*source), event.events);
        break;
    }
  }
  update_channels();
}

void Keeper::on_channel(ChannelSource& source, uint32_t events) {
  if (events & EPOLLOUT) source.channel.flush();
  bool open = events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? source.channel.receive() : true;
  if (!open) {
    source.closed = true;
    children_.abandon(source.channel);
  }
  hand_over();
}

// --- the stager ---

Result<void> Keeper::start_stager() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno_error("socketpair", errno);
  Fd ours(pair[0]), theirs(pair[1]);
  pid_t keeper = getpid();
  stager_ = fork();
  if (stager_ < 0) return errno_error("fork", errno);
  if (stager_ == 0) {
    ours.reset();
    become_stager(std::move(theirs), keeper);
  }
  stage_.emplace(std::move(ours));
  update(stager_source_, stage_->fd(), EPOLLIN);
  return {};
}

void Keeper::become_stager(Fd channel, pid_t keeper) noexcept {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != keeper) _exit(0);
  epoll_.reset();
  signals_.reset();
  setrlimit(RLIMIT_NOFILE, &files_before_);
  sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
  StageContext context(std::move(channel), options_.user);
  int code = options_.stage(context);
  fflush(nullptr);
  _exit(code);
}

void Keeper::on_stager() {
  auto got = stage_->read();
  while (got && stage_->complete()) {
    Commit commit = stage_->take();
    auto accepted = stopping_ ? Error{ErrorCode::kCancelled, "stopping"} : accept_commit(std::move(commit));
    stage_->answer(accepted);
    if (!accepted && !version_ && !stopping_) {
      report(accepted.error().message);
      return finish(error_row(accepted.error().code).exit_code);
    }
  }
  if (got) return;
  update(stager_source_, stage_->fd(), 0);
  if (got.error().code == ErrorCode::kInvalid) report(got.error().message);
}

void Keeper::on_stager_exit(int status) {
  stager_ = -1;
  on_stager();  // it may have committed and ended at once
  if (version_ || exit_code_) return;
  if (WIFEXITED(status)) return finish(WEXITSTATUS(status));
  report("the preparation of the function " + ending(status));
  finish(error_row(ErrorCode::kInternal).exit_code);
}

Result<void> Keeper::accept_commit(Commit commit) {
  auto version = std::make_shared<Version>();
  version->blob = std::move(commit.blob);
  for (const ListenRequest& request : commit.listeners) {
    auto same = [&](const std::shared_ptr<const Listener>& listener) {
      return std::memcmp(&listener->request, &request, sizeof request) == 0;
    };
    if (version_) {
      auto found = std::find_if(version_->listeners.begin(), version_->listeners.end(), same);
      if (found != version_->listeners.end()) {
        version->listeners.push_back(*found);
        continue;
      }
    }
    KAON_TRY(Listener listener, open_listener(request));
    version->listeners.push_back(std::make_shared<const Listener>(std::move(listener)));
  }
  // A newcomer that is not ready yet is overtaken.
  if (generations_.size() > 1 && !generations_.back()->ready)
    kill(generations_.back()->pid, SIGKILL), drop(generations_.size() - 1);
  failed_starts_ = 0;
  restart_at_ = 0;
  KAON_TRY_VOID(start_processor(version));
  version_ = version;
  return {};
}

// --- the processor ---

Result<void> Keeper::start_processor(std::shared_ptr<const Version> version) {
  auto generation = std::make_unique<Generation>();
  generation->version = std::move(version);
  generation->started = monotonic_ns();
  std::vector<Client> theirs;
  for (unsigned i = 0; i < std::max(1u, options_.channels); ++i) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return errno_error("socketpair", errno);
    generation->channels.push_back(std::make_unique<ChannelSource>(Fd(pair[0]), policies_, children_, generation.get()));
    theirs.emplace_back(Fd(pair[1]));
  }
  pid_t keeper = getpid();
  pid_t pid = fork();
  if (pid < 0) return errno_error("start the processor: fork", errno);
  if (pid == 0) become_processor(*generation, std::move(theirs), keeper);
  generation->pid = pid;
  generations_.push_back(std::move(generation));
  update_channels();
  return {};
}

void close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned from = 3;
  for (int fd : kept) {
    if (static_cast<unsigned>(fd) > from) syscall(SYS_close_range, from, static_cast<unsigned>(fd) - 1, 0u);
    from = static_cast<unsigned>(fd) + 1;
  }
  syscall(SYS_close_range, from, ~0u, 0u);
}

void Keeper::become_processor(Generation& generation, std::vector<Client> channels, pid_t keeper) noexcept {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != keeper) _exit(0);
  // Out of the terminal's foreground group: a Ctrl-C comes from the keeper, once.
  setpgid(0, 0);
  std::vector<int> kept;
  ProcessorStart start{options_.user, generation.version->blob, {}, std::move(channels), options_.processor, restarts_};
  start.identity.change = change_identity_;
  start.identity.parent = keeper;
  for (const auto& listener : generation.version->listeners) {
    start.listeners.push_back({listener->request, {}});
    for (const Fd& fd : listener->sockets) start.listeners.back().sockets.push_back(fd.get());
    kept.insert(kept.end(), start.listeners.back().sockets.begin(), start.listeners.back().sockets.end());
  }
  for (const Client& client : start.channels) kept.push_back(client.fd());
  // The processor may give its channels away, and they may be closed before it ends.
  Client last(Fd(fcntl(start.channels.front().fd(), F_DUPFD_CLOEXEC, 3)));
  kept.push_back(last.fd());
  close_all_but(std::move(kept));
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
  int code = processor_main_(start);
  fflush(nullptr);
  // Without it the code would look like a crash's. A keeper that cannot be told sees a crash, which is what it is.
  if (!last.finished(code)) code = error_row(ErrorCode::kInternal).exit_code;
  _exit(code);
}

void Keeper::drop(size_t index) {
  for (auto& source : generations_[index]->channels) update(*source, source->channel.fd(), 0);
  generations_.erase(generations_.begin() + static_cast<ptrdiff_t>(index));  // its channels' children are killed
}

// A newcomer is ready: those before it drain and end.
void Keeper::hand_over() {
  if (generations_.size() < 2 || !generations_.back()->ready) return;
  for (size_t i = 0; i + 1 < generations_.size(); ++i) {
    Generation& old = *generations_[i];
    if (old.version) kill(old.pid, SIGTERM);
    old.version.reset();  // told once
  }
}

void Keeper::on_processor_exit(size_t index, int status) {
  Generation& dead = *generations_[index];
  for (auto& source : dead.channels) source->channel.drain();
  bool newest = index + 1 == generations_.size();
  bool deliberate = WIFEXITED(status) && (dead.finished || WEXITSTATUS(status) == 0);
  std::string how = "the processor (pid " + std::to_string(dead.pid) + ") " + ending(status);
  if (stopping_) {
    int code = deliberate ? WEXITSTATUS(status) : error_row(ErrorCode::kInternal).exit_code;
    if (!deliberate) report(how + " while it was stopping");
    drop(index);
    if (generations_.empty()) finish(code);
    return;
  }
  if (!newest) {
    if (!deliberate) report(how + " while it was being replaced");
    return drop(index);
  }
  if (generations_.size() > 1 && !dead.ready) {
    report(how + " before it was ready; the one before it goes on");
    version_ = generations_[index - 1]->version ? generations_[index - 1]->version : version_;
    return drop(index);
  }
  if (deliberate) return finish(WEXITSTATUS(status));
  restart_later(dead, how);
  drop(index);
}

void Keeper::restart_later(const Generation& dead, const std::string& how) {
  Nanos now = monotonic_ns();
  failed_starts_ = dead.ready ? 0 : failed_starts_ + 1;
  quick_deaths_ = now - dead.started < kQuickDeath ? quick_deaths_ + 1 : 0;
  if (failed_starts_ >= std::max(1u, options_.max_failed_starts)) {
    report(how + " before it was ready, " + std::to_string(failed_starts_) + " times in a row; giving up");
    return finish(error_row(ErrorCode::kInternal).exit_code);
  }
  Nanos pause = quick_deaths_ < 2 ? 0 : std::min(kFirstPause << std::min(quick_deaths_ - 2, 10u), kLongestPause);
  report(how + "; starting a new one on the same sockets" +
         (pause > 0 ? " in " + std::to_string(pause / kMillisecond) + " ms" : std::string()));
  restart_at_ = now + pause;
}

// --- signals ---

void Keeper::on_signals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGCHLD)
      reap();
    else
      on_shutdown_signal(static_cast<int>(info.ssi_signo));
  }
}

void Keeper::on_shutdown_signal(int signal) {
  if (served_) return;  // its end is the channel's
  if (stopping_) {
    if (signal != SIGINT || !interrupted_) {
      interrupted_ = interrupted_ || signal == SIGINT;
      return;
    }
    return finish(error_row(ErrorCode::kCancelled).exit_code);
  }
  stopping_ = true;
  interrupted_ = signal == SIGINT;
  restart_at_ = 0;
  if (stager_ > 0) kill(stager_, SIGTERM);
  for (auto& generation : generations_) kill(generation->pid, SIGTERM);
  if (generations_.empty()) finish(interrupted_ ? error_row(ErrorCode::kCancelled).exit_code : 0);
}

void Keeper::reap() {
  for (;;) {
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    pid_t pid = info.si_pid;
    if (children_.reap(pid)) continue;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (pid == stager_) {
      on_stager_exit(status);
      continue;
    }
    for (size_t i = 0; i < generations_.size(); ++i) {
      if (generations_[i]->pid != pid) continue;
      on_processor_exit(i, status);
      break;
    }
  }
}

void Keeper::finish(int code) {
  if (exit_code_) return;
  exit_code_ = code;
  if (stager_ > 0) kill(stager_, SIGKILL);
  for (auto& generation : generations_) kill(generation->pid, SIGKILL);
  children_.kill_all();
  if (!version_) return;
  for (const auto& listener : version_->listeners)
    if (listener->request.address.ss_family == AF_UNIX)
      unlink(reinterpret_cast<const sockaddr_un&>(listener->request.address).sun_path);
}

int Keeper::run() {
  auto started = set_up();
  if (started && options_.stage) started = start_stager();
  // The stager still has all privileges; the keeper's own later children shall not get back what they have dropped.
  if (started) started = clear_capabilities(true);
  if (started && !options_.stage) started = accept_commit({});
  if (!started) {
    report(started.error().message);
    finish(error_row(started.error().code).exit_code);
  }
  while (!exit_code_) {
    turn(timeout());
    if (exit_code_ || restart_at_ == 0 || monotonic_ns() < restart_at_) continue;
    restart_at_ = 0;
    ++restarts_;
    if (auto again = start_processor(version_); !again) {
      report(again.error().message);
      restart_at_ = monotonic_ns() + kFirstPause;
    }
  }
  wait_for_all();
  return *exit_code_;
}

// The sockets and the children are gone when the keeper is, so that a service manager may start the next one at once.
void Keeper::wait_for_all() {
  Nanos deadline = monotonic_ns() + kLastWait;
  pollfd ready{signals_.get(), POLLIN, 0};
  for (Nanos left; (left = deadline - monotonic_ns()) > 0;) {
    pid_t pid = waitpid(-1, nullptr, WNOHANG);
    if (pid < 0) return;
    if (pid > 0) continue;
    poll(&ready, 1, static_cast<int>(left / kMillisecond + 1));
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) > 0) {
    }
  }
}

int Keeper::serve(Fd channel) {
  close_all_but({channel.get()});
  auto started = set_up();
  if (started) started = clear_capabilities(true);
  if (!started) {
    report(started.error().message);
    return error_row(started.error().code).exit_code;
  }
  served_ = std::make_unique<ChannelSource>(std::move(channel), policies_, children_, nullptr);
  update_channels();
  while (!served_->closed) turn(-1);
  children_.kill_all();
  return 0;
}

}  // namespace

int run_keeper(const KeeperOptions& options, int (*processor_main)(ProcessorStart&)) {
  return Keeper(options, processor_main).run();
}

Result<ForkedKeeper> fork_keeper(const KeeperOptions& options) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return errno_error("socketpair", errno);
  Fd ours(pair[0]), theirs(pair[1]);
  pid_t pid = fork();
  if (pid < 0) return errno_error("fork", errno);
  if (pid == 0) {
    // The channel's other end is closed with everything else; its number may be taken anew by then.
    ours.release();
    _exit(Keeper(options, nullptr).serve(std::move(theirs)));
  }
  return ForkedKeeper{pid, Client(std::move(ours))};
}

}  // namespace kaon::keeper
