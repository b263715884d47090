// A channel's requests, as children of a real keeper.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <set>

#include "keeper/keeper.h"
#include "keeper/testing.h"

namespace kaon::keeper {
namespace {

using namespace std::string_literals;
using namespace testing_support;

// One keeper with a channel, and the processes that it starts for the test.
class Spawns : public testing::Test {
 protected:
  void SetUp() override { open({}); }
  void open(const KeeperOptions& options) {
    auto forked = fork_keeper(options);
    ASSERT_TRUE(forked) << forked.error().message;
    keeper_ = forked->pid;
    client_.emplace(std::move(forked->client));
  }
  void TearDown() override {
    client_.reset();
    if (keeper_ > 0) waitpid(keeper_, nullptr, 0);
  }

  SpawnRequest request(std::initializer_list<std::string_view> arguments) {
    arguments_ = arguments;
    SpawnRequest request;
    request.id = ++last_id_;
    request.path = arguments_.front();
    request.arguments = arguments_;
    request.environment = environment_;
    request.standard_input = null_.get();
    request.standard_output = out_.write.get();
    request.standard_error = 2;
    return request;
  }

  Reply next_reply() {
    Reply reply{};
    pollfd ready{client_->fd(), POLLIN, 0};
    EXPECT_EQ(poll(&ready, 1, 5000), 1) << "no reply";
    auto got = client_->receive({&reply, 1}, {&pidfd_, 1});
    EXPECT_TRUE(got) << (got ? "" : got.error().message);
    EXPECT_EQ(reply.header.magic, kMagic);
    return reply;
  }

  // Starts it, waits for its end, answers what it wrote.
  std::string output(const SpawnRequest& request, int* status = nullptr) {
    auto sent = client_->spawn(request);
    EXPECT_TRUE(sent) << (sent ? "" : sent.error().message);
    out_.write.reset();
    std::string text = read_all(out_.read.get());
    Reply reply = next_reply();
    if (!request.quiet) {
      EXPECT_EQ(reply.header.kind, static_cast<uint16_t>(Kind::kSpawned)) << std::strerror(reply.error);
      reply = next_reply();
    }
    EXPECT_EQ(reply.header.kind, static_cast<uint16_t>(Kind::kExited)) << std::strerror(reply.error);
    EXPECT_EQ(reply.header.id, request.id);
    if (status) *status = reply.status;
    last_ = reply;
    return text;
  }

  Error failure(const SpawnRequest& request) {
    EXPECT_TRUE(client_->spawn(request));
    Reply reply = next_reply();
    EXPECT_EQ(reply.header.kind, static_cast<uint16_t>(Kind::kFailed));
    return spawn_error(reply, request.path);
  }

  // A message that no client would send.
  Reply answer_to(std::string_view bytes, std::vector<int> fds = {}) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
    }
    EXPECT_EQ(sendmsg(client_->fd(), &message, 0), static_cast<ssize_t>(bytes.size()));
    return next_reply();
  }

  pid_t keeper_ = -1;
  std::optional<Client> client_;
  Fd null_{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  Pipe out_;
  std::vector<std::string_view> arguments_, environment_ = {"PATH=/usr/bin:/bin"};
  uint64_t last_id_ = 0;
  int pidfd_ = -1;
  Reply last_{};
};

TEST_F(Spawns, RunsAProgramAndReportsItsEnd) {
  int status = -1;
  EXPECT_EQ(output(request({"/bin/sh", "-c", "echo \"$0 $1 $PATH\"; exit 7", "a b", "c"}), &status), "a b c /usr/bin:/bin\n");
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_GT(last_.max_rss_kib, 0);
}

TEST_F(Spawns, AQuietStartHasOneAnswer) {
  SpawnRequest quiet = request({"/bin/true"});
  quiet.quiet = true;
  EXPECT_EQ(output(quiet), "");
}

TEST_F(Spawns, TheChildHasThreeDescriptorsAndNoMore) {
  Fd leak(::open("/etc/passwd", O_RDONLY));  // of the test, not close-on-exec: the keeper must not have it either
  EXPECT_EQ(output(request({"/bin/sh", "-c", "ls /proc/$$/fd"})), "0\n1\n2\n");
}

TEST_F(Spawns, TheChildHasNoPrivileges) {
  std::string status = "\n" + output(request({"/bin/cat", "/proc/self/status"}));
  EXPECT_EQ(status_line(status, "CapEff"), "0000000000000000");
  EXPECT_EQ(status_line(status, "CapPrm"), "0000000000000000");
  EXPECT_EQ(status_line(status, "CapInh"), "0000000000000000");
  EXPECT_EQ(status_line(status, "CapAmb"), "0000000000000000");
  EXPECT_EQ(status_line(status, "NoNewPrivs"), "1");
  EXPECT_EQ(status_line(status, "SigBlk"), "0000000000000000");
  EXPECT_EQ(status_line(status, "SigIgn"), "0000000000000000");
  if (getuid() == 0) {
    EXPECT_EQ(status_line(status, "CapBnd"), "0000000000000000");
    EXPECT_EQ(status_line(status, "Uid"), "61101\t61101\t61101\t61101");
    EXPECT_EQ(status_line(status, "Gid"), "61101\t61101\t61101\t61101");
    EXPECT_EQ(status_line(status, "Groups"), "");
  }
}

TEST_F(Spawns, TheChildLeadsASessionAndDumpsNoCore) {
  EXPECT_EQ(output(request({"/bin/sh", "-c", "set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 = $6 ] && ulimit -c"})), "0\n");
}

TEST_F(Spawns, TheEnvironmentIsExactlyTheRequests) {
  environment_ = {"A=1", "EMPTY=", "B=x y"};
  EXPECT_EQ(output(request({"/usr/bin/env"})), "A=1\nEMPTY=\nB=x y\n");
}

TEST_F(Spawns, ALargeRequestTravelsInSealedMemory) {
  std::string big(100 << 10, 'x');
  std::string variable = "BIG=" + big;
  environment_ = {variable};
  EXPECT_EQ(output(request({"/usr/bin/env"})), variable + "\n");
}

TEST_F(Spawns, StartsInAFolderAndByDescriptor) {
  Fd folder(::open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC));
  Fd program(::open("/bin/pwd", O_PATH | O_CLOEXEC));
  SpawnRequest by_fd = request({"pwd"});
  by_fd.path = {};
  by_fd.executable = program.get();
  by_fd.folder = folder.get();
  EXPECT_EQ(output(by_fd), "/usr\n");
}

TEST_F(Spawns, HandsOutAPidfd) {
  SpawnRequest with = request({"/bin/sleep", "100"});
  with.pidfd = true;
  ASSERT_TRUE(client_->spawn(with));
  Reply reply = next_reply();
  ASSERT_EQ(reply.header.kind, static_cast<uint16_t>(Kind::kSpawned));
  ASSERT_GE(pidfd_, 0);
  Fd pidfd(pidfd_);
  pollfd ended{pidfd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 0), 0);
  ASSERT_TRUE(client_->kill(with.id, SIGKILL));
  EXPECT_EQ(poll(&ended, 1, 5000), 1);
}

TEST_F(Spawns, FailuresNameTheStepAndWhatToDo) {
  SpawnRequest missing = request({"/no/such/program"});
  Error error = failure(missing);
  EXPECT_EQ(error.code, ErrorCode::kUserCode);
  EXPECT_EQ(
      error.message,
      "cannot start /no/such/program: no such file; if it is a script, check that the interpreter on its first line exists");
  error = failure(request({"/etc/passwd"}));
  EXPECT_EQ(error.message, "cannot start /etc/passwd: permission denied; make it executable (chmod +x) and readable");
  char script[] = "/tmp/kaon-noexec-XXXXXX";
  Fd file(mkstemp(script));
  ASSERT_EQ(write(file.get(), "echo hello\n", 11), 11);
  fchmod(file.get(), 0755);
  file.reset();
  error = failure(request({script}));
  EXPECT_EQ(error.message,
            "cannot start "s + script + ": it is not a program for this machine; a script needs a first line such as #!/bin/sh");
  unlink(script);
  Fd no_folder(::open("/etc/passwd", O_PATH | O_CLOEXEC));
  SpawnRequest elsewhere = request({"/bin/true"});
  elsewhere.folder = no_folder.get();
  error = failure(elsewhere);
  EXPECT_NE(error.message.find("its folder cannot be entered: Not a directory"), std::string::npos) << error.message;
  EXPECT_EQ(output(request({"/bin/echo", "and", "it", "still", "works"})), "and it still works\n");
}

TEST_F(Spawns, AKillTakesTheWholeGroup) {
  ASSERT_TRUE(client_->spawn(request({"/bin/sh", "-c", "sleep 1000 & echo $!; wait"})));
  Reply reply = next_reply();
  char text[32] = {};
  ASSERT_GT(read(out_.read.get(), text, sizeof text - 1), 0);
  pid_t grandchild = atoi(text);
  ASSERT_TRUE(alive(grandchild));
  ASSERT_TRUE(client_->kill(reply.header.id, SIGKILL));
  reply = next_reply();
  EXPECT_EQ(reply.header.kind, static_cast<uint16_t>(Kind::kExited));
  EXPECT_TRUE(WIFSIGNALED(reply.status) && WTERMSIG(reply.status) == SIGKILL);
  EXPECT_TRUE(eventually([&] { return !alive(grandchild); }));
  EXPECT_TRUE(client_->kill(reply.header.id, SIGKILL)) << "a child that has gone is no error";
}

TEST_F(Spawns, WhatTheMainProcessLeavesBehindIsKilled) {
  std::string text = output([&] {
    SpawnRequest leaves = request({"/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 </dev/null & echo $!"});
    return leaves;
  }());
  pid_t grandchild = atoi(text.c_str());
  ASSERT_GT(grandchild, 0);
  EXPECT_TRUE(eventually([&] { return !alive(grandchild); }));
}

TEST_F(Spawns, ClosingTheChannelKillsItsChildren) {
  ASSERT_TRUE(client_->spawn(request({"/bin/sleep", "1000"})));
  pid_t child = next_reply().pid;
  ASSERT_TRUE(alive(child));
  client_.reset();
  EXPECT_TRUE(eventually([&] { return !alive(child); }));
}

TEST_F(Spawns, AKeeperThatIsKilledTakesItsChildrenAlong) {
  ASSERT_TRUE(client_->spawn(request({"/bin/sleep", "1000"})));
  pid_t child = next_reply().pid;
  ASSERT_TRUE(alive(child));
  kill(keeper_, SIGKILL);
  EXPECT_TRUE(eventually([&] { return !alive(child); }));
}

TEST_F(Spawns, HasALimit) {
  TearDown();
  KeeperOptions options;
  options.max_children = 2;
  open(options);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(client_->spawn(request({"/bin/sleep", "1000"})));
    EXPECT_EQ(next_reply().header.kind, static_cast<uint16_t>(Kind::kSpawned));
  }
  Error error = failure(request({"/bin/sleep", "1000"}));
  EXPECT_EQ(error.code, ErrorCode::kOverloaded);
}

TEST_F(Spawns, TheClientRefusesNulBytesAndTooMuch) {
  auto sent = client_->spawn(request({"/bin/echo", std::string_view("a\0b", 3)}));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::kInvalid);
  std::string huge(kMaxBytes, 'x');
  sent = client_->spawn(request({"/bin/echo", huge}));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().message, "arguments and environment exceed 1 MiB");
}

TEST_F(Spawns, HostileRequestsAreRefusedAndHarmNothing) {
  int null = null_.get();
  auto head = [](uint32_t arguments, uint32_t variables, uint32_t bytes, uint32_t flags = 0, uint32_t policy = 0) {
    return SpawnMessage{
        {kMagic, kProtocolVersion, static_cast<uint16_t>(Kind::kSpawn), 99}, policy, flags, arguments, variables, bytes, 0};
  };
  auto packet = [](const SpawnMessage& message, std::string_view rest) {
    return std::string(reinterpret_cast<const char*>(&message), sizeof message) + std::string(rest);
  };
  std::string good("/bin/true\0true\0", 15);
  std::vector<int> three = {null, null, null};
  struct Case {
    const char* name;
    std::string bytes;
    std::vector<int> fds;
  };
  Fd file(::open("/bin/true", O_RDONLY | O_CLOEXEC));
  Fd unsealed(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(write(unsealed.get(), good.data(), good.size()), static_cast<ssize_t>(good.size()));
  Fd short_memory(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(write(short_memory.get(), good.data(), 4), 4);
  ASSERT_EQ(fcntl(short_memory.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  auto bad_magic = head(1, 0, 15);
  bad_magic.header.magic ^= 1;
  auto bad_version = head(1, 0, 15);
  bad_version.header.version = 77;
  auto bad_kind = head(1, 0, 15);
  bad_kind.header.kind = 500;
  const Case cases[] = {
      {"one byte", "x", {}},
      {"half a header", std::string(12, '\0'), {}},
      {"a header alone", packet(head(1, 0, 15), "").substr(0, sizeof(Header)), three},
      {"a wrong magic", packet(bad_magic, good), three},
      {"a wrong version", packet(bad_version, good), three},
      {"a wrong kind", packet(bad_kind, good), three},
      {"no descriptors", packet(head(1, 0, 15), good), {}},
      {"two descriptors", packet(head(1, 0, 15), good), {null, null}},
      {"four descriptors", packet(head(1, 0, 15), good), {null, null, null, null}},
      {"twenty descriptors", packet(head(1, 0, 15), good), std::vector<int>(20, null)},
      {"an unprepared policy", packet(head(1, 0, 15, 0, 1), good), three},
      {"the largest policy", packet(head(1, 0, 15, 0, UINT32_MAX), good), three},
      {"unknown flags", packet(head(1, 0, 15, 1u << 30), good), three},
      {"fewer bytes than said", packet(head(1, 0, 16), good), three},
      {"more bytes than said", packet(head(1, 0, 14), good), three},
      {"no bytes", packet(head(1, 0, 0), ""), three},
      {"4 GiB", packet(head(1, 0, UINT32_MAX), good), three},
      {"no arguments", packet(head(0, 1, 15), good), three},
      {"too many arguments", packet(head(2, 0, 15), good), three},
      {"counts that overflow", packet(head(UINT32_MAX, UINT32_MAX, 15), good), three},
      {"too few arguments", packet(head(1, 0, 17), good + "x\0"s), three},
      {"an end without NUL", packet(head(1, 0, 14), good.substr(0, 14)), three},
      {"an empty path", packet(head(1, 0, 6), "\0true\0"s), three},
      {"a path and an executable", packet(head(1, 0, 15, kExecutable), good), {null, null, null, file.get()}},
      {"memory without seals", packet(head(1, 0, 15, kMemory), ""), {null, null, null, unsealed.get()}},
      {"a file as memory", packet(head(1, 0, 15, kMemory), ""), {null, null, null, file.get()}},
      {"memory that is too short", packet(head(1, 0, 15, kMemory), ""), {null, null, null, short_memory.get()}},
      {"memory and bytes", packet(head(1, 0, 15, kMemory), good), {null, null, null, short_memory.get()}},
      {"a longer message than any", packet(head(1, 0, 15), std::string(40000, 'x')), three},
  };
  auto open_files = [&] {
    int count = 0;
    for (int fd = 0; fd < 64; ++fd) {
      struct stat status;
      count += lstat(("/proc/" + std::to_string(keeper_) + "/fd/" + std::to_string(fd)).c_str(), &status) == 0;
    }
    return count;
  };
  EXPECT_EQ(failure(request({"/no/such/program"})).code, ErrorCode::kUserCode);  // the keeper is up once it has answered
  constexpr int kOwn = 6;                                                        // 0 to 2, epoll, signalfd, channel
  for (const Case& each : cases) {
    Reply reply = answer_to(each.bytes, each.fds);
    EXPECT_EQ(reply.header.kind, static_cast<uint16_t>(Kind::kFailed)) << each.name;
    EXPECT_EQ(reply.step, Step::kRequest) << each.name;
    EXPECT_NE(reply.error, 0) << each.name;
  }
  EXPECT_TRUE(eventually([&] { return open_files() == kOwn; })) << "the keeper leaks descriptors";
  EXPECT_EQ(output(request({"/bin/echo", "fine"})), "fine\n");
}

TEST_F(Spawns, AnIdInUseIsRefusedAndOnlyOwnGroupsAreSignalled) {
  SpawnRequest first = request({"/bin/sleep", "1000"});
  first.standard_output = null_.get();
  ASSERT_TRUE(client_->spawn(first));
  EXPECT_EQ(next_reply().header.kind, static_cast<uint16_t>(Kind::kSpawned));
  SpawnRequest again = request({"/bin/sleep", "1000"});
  again.id = first.id;
  EXPECT_EQ(failure(again).code, ErrorCode::kInternal);
  for (uint64_t id : {uint64_t{0}, uint64_t{1} << 63, static_cast<uint64_t>(getpid())}) ASSERT_TRUE(client_->kill(id, SIGKILL));
  for (int signal : {-1, 0, 65, 1000}) ASSERT_TRUE(client_->kill(first.id, signal));
  EXPECT_EQ(output(request({"/bin/echo", "fine"})), "fine\n");
}

TEST_F(Spawns, AStuckProcessorLosesNothingAndDoesNotStopTheKeeper) {
  constexpr int kCount = 600;
  std::set<uint64_t> ended;
  for (int i = 0; i < kCount; ++i) {
    SpawnRequest quick = request({"/bin/true"});
    ASSERT_TRUE(client_->spawn(quick));
    ASSERT_TRUE(client_->flush());
  }
  usleep(300'000);
  while (ended.size() < kCount) {
    ASSERT_TRUE(client_->flush());
    Reply reply = next_reply();
    if (testing::Test::HasFailure()) break;
    if (reply.header.kind != static_cast<uint16_t>(Kind::kExited)) continue;
    EXPECT_TRUE(ended.insert(reply.header.id).second);
  }
  EXPECT_EQ(ended.size(), kCount);
}
}  // namespace
}  // namespace kaon::keeper
