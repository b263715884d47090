#include "runtime/spawner.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "keeper/keeper.h"

namespace kaon::runtime {
namespace {

class Recorder final : public Child {
 public:
  void on_spawned(pid_t spawned) override { pid = spawned; }
  void on_failed(const Error& why) override {
    failed = true;
    error = why;
  }
  void on_exit(int how, const Usage& used) override {
    exited = true;
    status = how;
    usage = used;
    if (again) std::exchange(again, nullptr)();
  }
  pid_t pid = 0;
  bool failed = false, exited = false;
  int status = 0;
  Error error;
  Usage usage;
  std::function<void()> again;
};

class SpawnerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto keeper = keeper::fork_keeper();
    ASSERT_TRUE(keeper) << keeper.error().message;
    keeper_ = keeper->pid;
    loop_.emplace();
    spawner_.emplace(*loop_, std::move(keeper->client));
  }
  void TearDown() override {
    spawner_.reset();
    turn();
    loop_.reset();
    waitpid(keeper_, nullptr, 0);
  }
  void turn() {
    loop::Timer wake(*loop_, [] {});
    wake.start_after(5 * kMillisecond);
    loop_->run_once();
  }
  bool until(const std::function<bool()>& done) {
    Nanos end = monotonic_ns() + 60 * kSecond;
    while (!done() && monotonic_ns() < end) turn();
    return done();
  }
  Result<void> spawn(Recorder& child, std::initializer_list<std::string_view> arguments, bool quiet = false) {
    keeper::SpawnRequest request;
    std::vector<std::string_view> list(arguments);
    request.path = list[0];
    request.arguments = list;
    request.standard_input = request.standard_output = request.standard_error = null_.get();
    request.quiet = quiet;
    return spawner_->spawn(request, child);
  }

  pid_t keeper_ = -1;
  std::optional<loop::Loop> loop_;
  std::optional<Spawner> spawner_;
  Fd null_{open("/dev/null", O_RDWR | O_CLOEXEC)};
};

TEST_F(SpawnerTest, TellsOfTheStartAndTheEnd) {
  Recorder child;
  ASSERT_TRUE(spawn(child, {"/bin/sh", "-c", "exit 3"}));
  EXPECT_TRUE(child.running());
  ASSERT_TRUE(until([&] { return child.exited; }));
  EXPECT_GT(child.pid, 0);
  EXPECT_EQ(WEXITSTATUS(child.status), 3);
  EXPECT_GT(child.usage.max_rss_kib, 0);
  EXPECT_FALSE(child.running());
}

TEST_F(SpawnerTest, AFailedStartNamesTheProgram) {
  Recorder child;
  std::string path = "/no/such";
  ASSERT_TRUE(spawn(child, {path}, true));
  path = "overwritten";
  ASSERT_TRUE(until([&] { return child.failed; }));
  EXPECT_EQ(child.error.message.substr(0, 21), "cannot start /no/such");
  EXPECT_FALSE(child.exited);
}

TEST_F(SpawnerTest, KillsByChildAndOnlyThatOne) {
  Recorder one, two;
  ASSERT_TRUE(spawn(one, {"/bin/sleep", "100"}));
  ASSERT_TRUE(spawn(two, {"/bin/sleep", "100"}));
  spawner_->kill(one, SIGKILL);
  ASSERT_TRUE(until([&] { return one.exited; }));
  EXPECT_EQ(WTERMSIG(one.status), SIGKILL);
  EXPECT_FALSE(two.exited);
  spawner_->kill(one, SIGKILL);  // nothing: its slot may be another's by now
  Recorder three;
  ASSERT_TRUE(spawn(three, {"/bin/sleep", "100"}));
  spawner_->kill(one, SIGKILL);
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_FALSE(three.exited || two.exited);
  spawner_->kill(two, SIGKILL);
  spawner_->kill(three, SIGKILL);
  EXPECT_TRUE(until([&] { return two.exited && three.exited; }));
}

TEST_F(SpawnerTest, AChildMayGoAndMayBeUsedAgainInsideItsEnd) {
  {
    Recorder gone;
    ASSERT_TRUE(spawn(gone, {"/bin/true"}));
  }
  Recorder child;
  int rounds = 0;
  std::function<void()> next = [&] {
    if (++rounds < 50) {
      child.exited = false;
      child.again = next;
      EXPECT_TRUE(spawn(child, {"/bin/true"}, true));
    }
  };
  next();
  EXPECT_TRUE(until([&] { return rounds == 50; }));
}

TEST_F(SpawnerTest, ABurstIsWorkedOffInFull) {
  std::vector<std::unique_ptr<Recorder>> children;
  for (int i = 0; i < 400; ++i) {
    children.push_back(std::make_unique<Recorder>());
    ASSERT_TRUE(spawn(*children.back(), {"/bin/true"}, true));
  }
  EXPECT_TRUE(until([&] { return std::all_of(children.begin(), children.end(), [](auto& child) { return child->exited; }); }));
}

TEST_F(SpawnerTest, ADeadKeeperFailsEveryChild) {
  Recorder one, two;
  ASSERT_TRUE(spawn(one, {"/bin/sleep", "100"}));
  ASSERT_TRUE(spawn(two, {"/bin/sleep", "100"}));
  ASSERT_TRUE(until([&] { return one.pid > 0 && two.pid > 0; }));
  kill(keeper_, SIGKILL);
  EXPECT_TRUE(until([&] { return one.failed && two.failed; }));
  EXPECT_EQ(one.error.code, ErrorCode::kDisconnected);
  Recorder three;
  EXPECT_FALSE(spawn(three, {"/bin/true"}));
}

}  // namespace
}  // namespace kaon::runtime
