#include "keeper/keeper.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <sstream>

#include "keeper/testing.h"

namespace kaon::keeper {
namespace {

using namespace testing_support;

struct Shared {
  std::atomic<int> processors, ready, functions, staged;
  std::atomic<pid_t> keeper, processor, function, stager;
  std::atomic<int> port, sockets, terminated;
  int mode;  // what the processor does
  char status[16384];
  char fds[1024];
  char text[256];
};

ListenRequest tcp_request(uint16_t port, uint32_t copies) {
  ListenRequest request{};
  auto& address = reinterpret_cast<sockaddr_in&>(request.address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  request.length = sizeof address;
  request.backlog = 512;
  request.copies = copies;
  return request;
}

int port_of(int fd) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

Fd connect_to(int port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ListenRequest request = tcp_request(static_cast<uint16_t>(port), 1);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&request.address), request.length) != 0) fd.reset();
  return fd;
}

int stage_one(StageContext& context) {
  auto* shared = static_cast<Shared*>(context.user);
  shared->stager = getpid();
  ListenRequest listeners[] = {tcp_request(static_cast<uint16_t>(shared->port.load()), 3)};
  auto done = context.commit("a blob", listeners);
  ++shared->staged;
  if (!done) std::strncpy(shared->text, done.error().message.c_str(), sizeof shared->text - 1);
  return done ? 0 : 3;
}

std::string list_descriptors() {
  std::string text;
  for (int fd = 0; fd < 256; ++fd)
    if (fcntl(fd, F_GETFD) >= 0) text += std::to_string(fd) + " ";
  return text;
}

// Accepts on its sockets, answers each connection with its pid, until SIGTERM.
int serve(ProcessorStart& start, Shared* shared) {
  static volatile sig_atomic_t stop;
  struct sigaction action {};
  action.sa_handler = [](int) { stop = 1; };
  sigaction(SIGTERM, &action, nullptr);
  EXPECT_TRUE(start.channels[0].ready());
  ++shared->ready;
  std::vector<pollfd> ready;
  for (auto& listener : start.listeners)
    for (int fd : listener.sockets) ready.push_back({fd, POLLIN, 0});
  while (!stop) {
    if (poll(ready.data(), ready.size(), 50) <= 0) continue;
    for (auto& each : ready) {
      if (!(each.revents & POLLIN)) continue;
      Fd client(accept4(each.fd, nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) continue;
      char order = 0;
      if (read(client.get(), &order, 1) == 1 && order == 'x') raise(SIGSEGV);
      std::string answer = std::to_string(getpid()) + " " + std::to_string(each.fd);
      if (write(client.get(), answer.data(), answer.size()) < 0) return 1;
    }
  }
  ++shared->terminated;
  return 0;
}

int start_function(ProcessorStart& start, Shared* shared) {
  std::string_view arguments[] = {"sleep", "1000"};
  Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  SpawnRequest request;
  request.id = 1;
  request.path = "/bin/sleep";
  request.arguments = arguments;
  request.standard_input = request.standard_output = request.standard_error = null.get();
  if (!start.channels.back().spawn(request)) return 1;
  Reply reply{};
  pollfd ready{start.channels.back().fd(), POLLIN, 0};
  poll(&ready, 1, 5000);
  auto got = start.channels.back().receive({&reply, 1});
  if (!got || *got != 1) return 1;
  shared->function = reply.pid;
  ++shared->functions;
  return 0;
}

enum Mode { kServe, kDrop, kExit5, kUnready, kUncaught, kFlaky };

int processor_main(ProcessorStart& start) {
  auto* shared = static_cast<Shared*>(start.user);
  int number = ++shared->processors;
  shared->keeper = getppid();
  shared->processor = getpid();
  std::strncpy(shared->fds, list_descriptors().c_str(), sizeof shared->fds - 1);
  if (!start.listeners.empty()) {
    shared->port = port_of(start.listeners[0].sockets[0]);
    shared->sockets = static_cast<int>(start.listeners[0].sockets.size());
  }
  switch (shared->mode) {
    case kExit5:
      start.channels.clear();
      return 5;
    case kUnready:
      raise(SIGSEGV);
      return 0;
    case kUncaught:
      throw std::runtime_error("uncaught");
    case kFlaky:
      if (number < 3) _exit(70);
      return 0;
    case kDrop: {
      auto dropped = drop_privileges(start.identity);
      if (!dropped) {
        dprintf(2, "%s\n", dropped.error().message.c_str());
        return 8;
      }
      char* const none[] = {nullptr};
      int exec_error = execve("/bin/true", none, none) < 0 ? errno : 0;
      int fork_error = fork() < 0 ? errno : 0;
      std::snprintf(shared->text, sizeof shared->text, "%d %d", exec_error, fork_error);
      Fd file(open("/proc/self/status", O_RDONLY | O_CLOEXEC));
      if (read(file.get(), shared->status, sizeof shared->status - 1) < 0) return 1;
      [[fallthrough]];
    }
    default:
      if (start_function(start, shared) != 0) return 9;
      return serve(start, shared);
  }
}

class Processors : public testing::Test {
 protected:
  void SetUp() override {
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    shared_ = new (memory) Shared{};
    options_.stage = stage_one;
    options_.user = shared_;
    options_.channels = 2;
  }
  void TearDown() override {
    if (keeper_ > 0) {
      kill(keeper_, SIGKILL);
      waitpid(keeper_, nullptr, 0);
    }
    munmap(shared_, sizeof *shared_);
  }
  void start(int mode) {
    shared_->mode = mode;
    keeper_ = fork();
    if (keeper_ == 0) _exit(run_keeper(options_, processor_main));
  }
  void start_ready(int mode) {
    start(mode);
    ASSERT_TRUE(eventually([&] { return shared_->ready >= 1; }));
  }
  int exit_code() {
    int status = 0;
    pid_t pid = 0;
    if (!eventually([&] { return (pid = waitpid(keeper_, &status, WNOHANG)) != 0; })) return -1;
    keeper_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  std::string ask(char order) {
    Fd fd = connect_to(shared_->port);
    if (!fd) return "refused";
    if (write(fd.get(), &order, 1) != 1) return "broken";
    return read_all(fd.get());
  }

  KeeperOptions options_;
  Shared* shared_ = nullptr;
  pid_t keeper_ = -1;
};

TEST_F(Processors, ServesOnTheKeepersSocketsAndEndsWithSigterm) {
  start_ready(kServe);
  EXPECT_EQ(shared_->keeper, keeper_);
  EXPECT_EQ(shared_->sockets, 3);
  EXPECT_EQ(std::string(shared_->fds).substr(0, 6), "0 1 2 ");
  std::istringstream fds(shared_->fds);
  EXPECT_EQ(std::distance(std::istream_iterator<int>(fds), {}), 3 + 3 + 2 + 1) << shared_->fds;
  // Each of the copies gets its share.
  std::map<std::string, int> by_socket;
  for (int i = 0; i < 60; ++i) ++by_socket[ask('a')];
  EXPECT_EQ(by_socket.size(), 3u);
  pid_t function = shared_->function;
  EXPECT_TRUE(alive(function));
  kill(keeper_, SIGTERM);
  EXPECT_EQ(exit_code(), 0);
  EXPECT_EQ(shared_->terminated, 1);
  EXPECT_TRUE(eventually([&] { return !alive(function); }));
}

TEST_F(Processors, GivesUpItsPrivileges) {
  start_ready(kDrop);
  std::string status = shared_->status;
  EXPECT_EQ(status_line(status, "CapEff"), "0000000000000000");
  EXPECT_EQ(status_line(status, "CapPrm"), "0000000000000000");
  EXPECT_EQ(status_line(status, "CapInh"), "0000000000000000");
  EXPECT_EQ(status_line(status, "CapAmb"), "0000000000000000");
  EXPECT_EQ(status_line(status, "NoNewPrivs"), "1");
  EXPECT_EQ(status_line(status, "Seccomp"), "2");
  EXPECT_EQ(shared_->text, std::to_string(EPERM) + " " + std::to_string(EPERM));
  if (getuid() == 0) {
    EXPECT_EQ(status_line(status, "CapBnd"), "0000000000000000");
    EXPECT_EQ(status_line(status, "Uid"), "61100\t61100\t61100\t61100");
    EXPECT_EQ(status_line(status, "Groups"), "");
  }
  // Seen from outside as well, and the keeper can start functions for it.
  std::string outside = read_file("/proc/" + std::to_string(shared_->processor) + "/status");
  EXPECT_EQ(status_line(outside, "CapEff"), "0000000000000000");
  EXPECT_TRUE(alive(shared_->function));
}

TEST_F(Processors, DieWithTheKeeperAndSoDoTheFunctions) {
  start_ready(kDrop);
  pid_t processor = shared_->processor, function = shared_->function;
  ASSERT_TRUE(alive(processor) && alive(function));
  kill(keeper_, SIGKILL);
  EXPECT_TRUE(eventually([&] { return !alive(processor) && !alive(function); }));
}

TEST_F(Processors, ASegmentationFaultRefusesNobody) {
  start_ready(kServe);
  pid_t first = shared_->processor, function = shared_->function;
  Nanos before = monotonic_ns();
  ask('x');
  std::string answer;
  ASSERT_TRUE(eventually([&] {
    answer = ask('a');
    EXPECT_NE(answer, "refused");
    return !answer.empty() && answer != "broken";
  }));
  EXPECT_LT(monotonic_ns() - before, 300 * kMillisecond);
  EXPECT_NE(atoi(answer.c_str()), first);
  EXPECT_EQ(shared_->processors, 2);
  EXPECT_TRUE(eventually([&] { return !alive(function); })) << "functions of the dead processor are killed";
  EXPECT_TRUE(alive(shared_->function));
}

TEST_F(Processors, ADeliberateEndIsTheKeepersExitCode) {
  start(kExit5);
  EXPECT_EQ(exit_code(), 5);
  EXPECT_EQ(shared_->processors, 1);
}

TEST_F(Processors, OneThatIsNeverReadyIsGivenUp) {
  options_.max_failed_starts = 3;
  start(kUnready);
  EXPECT_EQ(exit_code(), 70);
  EXPECT_EQ(shared_->processors, 3);
}

TEST_F(Processors, AnUncaughtExceptionIsACrash) {
  options_.max_failed_starts = 2;
  start(kUncaught);
  EXPECT_EQ(exit_code(), 70);
  EXPECT_EQ(shared_->processors, 2);
}

TEST_F(Processors, ExitWithoutReturningIsRestarted) {
  start(kFlaky);
  EXPECT_EQ(exit_code(), 0);
  EXPECT_EQ(shared_->processors, 3);
}

TEST_F(Processors, ASecondInterruptKills) {
  start_ready(kServe);
  kill(shared_->processor, SIGSTOP);
  kill(keeper_, SIGINT);
  usleep(100'000);
  EXPECT_TRUE(alive(keeper_));
  kill(keeper_, SIGINT);
  EXPECT_EQ(exit_code(), 130);
}

TEST_F(Processors, APortInUseIsAnErrorThatNamesAFreeOne) {
  Fd other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  // Even a socket that would share its port does not share it with a new keeper.
  setsockopt(other.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  setsockopt(other.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ListenRequest any = tcp_request(0, 1);
  ASSERT_EQ(bind(other.get(), reinterpret_cast<sockaddr*>(&any.address), any.length), 0);
  ASSERT_EQ(listen(other.get(), 1), 0);
  shared_->port = port_of(other.get());
  start(kServe);
  EXPECT_EQ(exit_code(), 65);
  EXPECT_EQ(shared_->processors, 0);
  std::string said = "address 127.0.0.1:" + std::to_string(shared_->port) + " is in use; port ";
  EXPECT_EQ(open_listener(tcp_request(static_cast<uint16_t>(shared_->port.load()), 1)).error().message.substr(0, said.size()),
            said);
}

TEST_F(Processors, AStagerThatFailsEndsTheKeeperWithItsCode) {
  options_.stage = [](StageContext&) { return 66; };
  start(kServe);
  EXPECT_EQ(exit_code(), 66);
  EXPECT_EQ(shared_->processors, 0);
}

TEST_F(Processors, ASecondCommitHandsOverWithoutRefusing) {
  options_.stage = [](StageContext& context) {
    auto* shared = static_cast<Shared*>(context.user);
    ListenRequest listeners[] = {tcp_request(0, 2)};
    if (!context.commit("one", listeners)) return 1;
    while (shared->ready < 1) usleep(1000);
    usleep(100'000);
    ++shared->staged;
    if (!context.commit("two", listeners)) return 1;
    return 0;
  };
  start_ready(kServe);
  pid_t first = shared_->processor;
  int port = shared_->port;
  Nanos deadline = monotonic_ns() + 60 * kSecond;
  int answered = 0;
  while (shared_->terminated < 1 && monotonic_ns() < deadline) {
    std::string answer = ask('a');
    EXPECT_NE(answer, "refused");
    ++answered;
  }
  EXPECT_GT(answered, 10);
  EXPECT_EQ(shared_->processors, 2);
  EXPECT_EQ(shared_->port, port);
  EXPECT_TRUE(eventually([&] { return !alive(first); }));
  EXPECT_EQ(atoi(ask('a').c_str()), shared_->processor);
}
}  // namespace
}  // namespace kaon::keeper
