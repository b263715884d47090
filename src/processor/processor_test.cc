#include "processor/processor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <new>

#include "processor/fake.h"

namespace {
std::atomic<long> g_allocations{0};
}
// Every allocation of C++ code in this program is counted; malloc and free do the work.
[[gnu::noinline]] void* operator new(size_t size) {
  ++g_allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace kaon::processor {
namespace {

// The handler and the capacity that the next loaded version gets.
fake::Handler g_handler;
runtime::Capacity g_capacity;

constexpr config::Spec kSpec = {"fake", "For tests.", {}};
const runtime::Component kRuntime = {"fake", "For tests.", kSpec, nullptr, nullptr,
                                     [](runtime::LoadContext) -> Result<std::unique_ptr<runtime::Runtime>> {
                                       return std::unique_ptr<runtime::Runtime>(std::make_unique<fake::Runtime>(g_handler, g_capacity));
                                     }};
const runtime::Component* const kRuntimes[] = {&kRuntime};

// One loop, one function, no triggers.
class ShardTest : public testing::Test {
 protected:
  ShardTest() : registry_(1), families_(registry_), spawner_(loop_, keeper::Client(std::move(keeper_.near))) {
    shard_ = std::make_unique<Shard>(loop_, spawner_, families_);
    peers_ = shard_.get();
    shard_->set_peers({&peers_, 1});
  }
  ~ShardTest() override { shard_.reset(); }

  static config::Function function() {
    config::Function made;
    made.name = "f";
    made.runtime = "fake";
    return made;
  }
  VersionShard& add(config::Function function, runtime::Capacity capacity, const std::string& digest = "v1") {
    g_capacity = capacity;
    auto loaded = Version::load(std::move(function), digest, "/", kRuntime, fake::quiet_log(), 1);
    versions_.push_back(std::move(loaded).value());
    return shard_->function("f").add_version(std::make_unique<VersionShard>(*shard_, *versions_.back()));
  }
  void go_live(VersionShard& version) {
    shard_->function("f").set_shares({{&version, 100}}, [this](Version& gone) { left_.push_back(gone.digest()); });
  }
  fake::Exchange& offer() {
    exchanges_.push_back(std::make_unique<fake::Exchange>(answers_));
    shard_->function("f").intake("t").offer(*exchanges_.back());
    return *exchanges_.back();
  }
  void run_for(Nanos time) {
    loop::Timer end(loop_, [this] { done_ = true; });
    done_ = false;
    end.start_after(time);
    while (!done_) loop_.run_once();
  }
  static void answer(event::Call& call) {
    call.respond({}, call.event().id);
    call.release();
  }

  fake::NoKeeper keeper_;
  loop::Loop loop_;
  observe::Registry registry_;
  observe::Families families_;
  runtime::Spawner spawner_;
  std::vector<std::unique_ptr<Version>> versions_;
  std::vector<std::unique_ptr<fake::Exchange>> exchanges_;
  std::unique_ptr<Shard> shard_;
  Shard* peers_;
  fake::Answers answers_;
  std::vector<event::Call*> held_;
  std::vector<std::string> left_;
  bool done_ = false;
};

TEST_F(ShardTest, AnInlineAnswerIsSettledAndReleased) {
  g_handler = answer;
  go_live(add(function(), {0, 0}));
  for (int i = 0; i < 3; ++i) offer();
  EXPECT_EQ(answers_.done, 3);
  EXPECT_EQ(answers_.released, 3);
  EXPECT_EQ(shard_->in_flight(), 0u);
}

TEST_F(ShardTest, AWarmEventAllocatesNothing) {
  g_handler = [](event::Call& call) {
    call.respond({}, "ok");
    call.release();
  };
  go_live(add(function(), {0, 0}));
  TriggerIntake& intake = shard_->function("f").intake("t");
  fake::Exchange exchange(answers_);
  auto offer_some = [&] {
    for (int i = 0; i < 100; ++i) {
      exchange.event.deadline = kNever;
      intake.offer(exchange);
    }
  };
  offer_some();
  long before = g_allocations;
  offer_some();
  EXPECT_EQ(g_allocations - before, 0);
  EXPECT_EQ(answers_.done, 200);
}

TEST_F(ShardTest, WithoutAVersionAnEventIsRefusedAndReleased) {
  offer();
  EXPECT_EQ(answers_.errors, std::vector{ErrorCode::kOverloaded});
  EXPECT_EQ(answers_.released, 1);
}

TEST_F(ShardTest, EventsWaitForAWorkerInOrder) {
  g_handler = [this](event::Call& call) { held_.push_back(&call); };
  go_live(add(function(), {2, 1}));
  for (int i = 0; i < 5; ++i) offer();
  ASSERT_EQ(held_.size(), 2u);
  EXPECT_EQ(shard_->in_flight(), 5u);
  for (size_t i = 0; i < 5; ++i) answer(*held_[i]);
  EXPECT_EQ(held_.size(), 5u);
  EXPECT_EQ(answers_.done, 5);
  EXPECT_EQ(answers_.released, 5);
}

TEST_F(ShardTest, AWaitingEventIsRefusedWhenThePatienceOfTheQueueEnds) {
  g_handler = [this](event::Call& call) { held_.push_back(&call); };
  config::Function impatient = function();
  impatient.queue_timeout_ms = 5;
  go_live(add(std::move(impatient), {1, 1}));
  offer();
  offer();
  run_for(20 * kMillisecond);
  EXPECT_EQ(answers_.errors, std::vector{ErrorCode::kOverloaded});
  EXPECT_EQ(answers_.released, 1);
  answer(*held_.front());
  EXPECT_EQ(answers_.done, 1);
  EXPECT_EQ(shard_->in_flight(), 0u);
}

TEST_F(ShardTest, PastMaxInFlightAnEventIsRefusedAtOnce) {
  g_handler = [this](event::Call& call) { held_.push_back(&call); };
  config::Function small = function();
  small.max_in_flight = 2;
  go_live(add(std::move(small), {1, 1}));
  for (int i = 0; i < 3; ++i) offer();
  EXPECT_EQ(answers_.errors, std::vector{ErrorCode::kOverloaded});
  answer(*held_[0]);
  answer(*held_[1]);
}

struct Cancelled final : event::Work {
  void on_body(std::string_view, bool) override {}
  void on_writable() override {}
  void on_cancel(const Error& why) override { code = why.code; }
  ErrorCode code = ErrorCode::kInternal;
};

TEST_F(ShardTest, TheDeadlineSettlesAndTheWorkerReleasesLater) {
  Cancelled work;
  g_handler = [&](event::Call& call) {
    call.set_work(work);
    held_.push_back(&call);
  };
  config::Function quick = function();
  quick.timeout_ms = 5;
  go_live(add(std::move(quick), {1, 1}));
  offer();
  run_for(20 * kMillisecond);
  EXPECT_EQ(answers_.errors, std::vector{ErrorCode::kTimeout});
  EXPECT_EQ(work.code, ErrorCode::kTimeout);
  EXPECT_EQ(answers_.released, 0);
  EXPECT_EQ(shard_->in_flight(), 1u);
  answer(*held_.front());  // too late: ignored, and released
  EXPECT_EQ(answers_.done, 0);
  EXPECT_EQ(answers_.released, 1);
}

TEST_F(ShardTest, ARequestedDeadlineIsShortenedAndNeverExtended) {
  std::vector<Nanos> deadlines;
  g_handler = [&](event::Call& call) {
    deadlines.push_back(call.event().deadline - monotonic_ns());
    answer(call);
  };
  config::Function usual = function();
  usual.timeout_ms = 1000;
  VersionShard& version = add(std::move(usual), {0, 0});
  go_live(version);
  for (Nanos asked : {10 * kMillisecond, 60 * kSecond}) {
    fake::Exchange exchange(answers_);
    exchange.event.deadline = monotonic_ns() + asked;
    version.accept(exchange, "t");
  }
  EXPECT_LE(deadlines[0], 10 * kMillisecond);
  EXPECT_LE(deadlines[1], kSecond);
  EXPECT_GT(deadlines[1], kSecond / 2);
}

TEST_F(ShardTest, AClientThatLeavesFreesItsPlaceInTheQueue) {
  g_handler = [this](event::Call& call) { held_.push_back(&call); };
  go_live(add(function(), {1, 1}));
  offer();
  fake::Exchange& waiting = offer();
  waiting.call->abandon({ErrorCode::kDisconnected, "gone"});
  EXPECT_EQ(answers_.released, 1);
  EXPECT_EQ(shard_->in_flight(), 1u);
  answer(*held_.front());
}

TEST_F(ShardTest, ACancelledQueueMayRunWhatItHoldsMeanwhile) {
  g_handler = [this](event::Call& call) { held_.push_back(&call); };
  go_live(add(function(), {2, 1}));
  ASSERT_TRUE(versions_.front()->permits()->try_acquire());  // another loop's
  for (int i = 0; i < 4; ++i) offer();
  ASSERT_EQ(held_.size(), 1u);
  versions_.front()->permits()->release();  // its wake-up is still on its way
  shard_->cancel_all({ErrorCode::kOverloaded, "stop"});
  EXPECT_EQ(answers_.failed, 4);
  for (event::Call* call : held_) call->release();
  EXPECT_EQ(answers_.released, 4);
  EXPECT_EQ(shard_->in_flight(), 0u);
}

TEST_F(ShardTest, AWorkerThatThrowsFailsItsOwnEvent) {
  int handled = 0;
  g_handler = [&](event::Call& call) {
    if (++handled == 1) KAON_CHECK(handled == 0, handled);
    answer(call);
  };
  go_live(add(function(), {1, 1}));
  offer();
  offer();
  EXPECT_EQ(answers_.errors, std::vector{ErrorCode::kInternal});
  EXPECT_EQ(answers_.done, 1);
}

TEST_F(ShardTest, ANewVersionTakesOverAndTheOldOneFinishes) {
  g_handler = [this](event::Call& call) { held_.push_back(&call); };
  VersionShard& first = add(function(), {4, 1}, "v1");
  go_live(first);
  offer();
  VersionShard& second = add(function(), {4, 1}, "v2");
  go_live(second);
  offer();
  EXPECT_EQ(second.in_flight(), 1u);
  run_for(2 * kMillisecond);
  EXPECT_TRUE(left_.empty());
  answer(*held_[0]);
  run_for(2 * kMillisecond);
  EXPECT_EQ(left_, std::vector<std::string>{"v1"});
  answer(*held_[1]);
  EXPECT_EQ(answers_.done, 2);
}

TEST_F(ShardTest, WeightsAreExactInEachHundred) {
  std::map<std::string, int> got;
  g_handler = [&](event::Call& call) { answer(call); };
  VersionShard& first = add(function(), {0, 0}, "v1");
  VersionShard& second = add(function(), {0, 0}, "v2");
  shard_->function("f").set_shares({{&first, 80}, {&second, 20}}, [](Version&) {});
  for (int i = 0; i < 1000; ++i) ++got[shard_->function("f").pick()->version().digest()];
  EXPECT_EQ(got["v1"], 800);
  EXPECT_EQ(got["v2"], 200);
}

TEST(Permits, AWaitingLoopIsNamedAndOneThatNeedsNoneIsPassedOver) {
  Permits permits(1);
  EXPECT_TRUE(permits.acquire_or_wait(0));
  EXPECT_FALSE(permits.acquire_or_wait(1));
  EXPECT_FALSE(permits.acquire_or_wait(2));
  EXPECT_EQ(permits.release(), 1);
  EXPECT_EQ(permits.pass_on(), 2);  // loop 1 has nothing to do any more
  EXPECT_TRUE(permits.acquire_or_wait(2));
  EXPECT_EQ(permits.pass_on(), -1);
  EXPECT_EQ(permits.release(), -1);
}

// Each thread is a loop with rounds to do; it sleeps only when it was told that it will be named.
TEST(Permits, NobodyStarvesAndNoMoreThanTheCountAreHeld) {
  constexpr int kThreads = 3, kRounds = 20000;
  Permits permits(2);
  std::atomic<int> held{0}, most{0};
  std::vector<std::atomic<bool>> wake(kThreads);
  auto tell = [&](int loop) {
    if (loop >= 0) wake[static_cast<size_t>(loop)].store(true);
  };
  auto work = [&](int id) {
    for (int round = 0; round < kRounds; ++round) {
      while (!permits.acquire_or_wait(id))
        while (!wake[static_cast<size_t>(id)].exchange(false)) std::this_thread::yield();
      int now = ++held;
      for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {}
      --held;
      tell(permits.release());
    }
    tell(permits.pass_on());
  };
  std::vector<std::thread> threads;
  for (int id = 0; id < kThreads; ++id) threads.emplace_back(work, id);
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 2);
}

// Several loops, the whole processor.
TEST(Processor, DrainsWhatIsInFlightBeforeItEnds) {
  observe::Registry registry(2);
  observe::Families families(registry);
  std::vector<LoopParts> parts;
  std::vector<fake::NoKeeper> keepers(2);
  for (int i = 0; i < 2; ++i) {
    auto loop = std::make_unique<loop::Loop>(i);
    auto spawner = std::make_unique<runtime::Spawner>(*loop, keeper::Client(std::move(keepers[static_cast<size_t>(i)].near)));
    parts.push_back({std::move(loop), std::move(spawner), nullptr});
  }
  event::Call* held = nullptr;
  g_handler = [&](event::Call& call) { held = &call; };
  g_capacity = {1, 1};
  fake::Answers answers;
  fake::Exchange exchange(answers);
  Processor processor(std::move(parts), kRuntimes, {}, registry, families, fake::quiet_log());
  std::unique_ptr<loop::Timer> later;
  config::Function function;
  function.name = "f";
  function.runtime = "fake";
  processor.home().post([&] {
    processor.deploy(function, "v1", "/", [&](Result<void> deployed) {
      ASSERT_TRUE(deployed) << deployed.error().message;
      EXPECT_TRUE(processor.ready());
      processor.shard(0).function("f").intake("t").offer(exchange);
      processor.shut_down(monotonic_ns() + 10 * kSecond);
      later = std::make_unique<loop::Timer>(processor.home(), [&] {
        EXPECT_EQ(answers.failed, 0);
        held->respond({}, "late but whole");
        held->release();
      });
      later->start_after(30 * kMillisecond);
    });
  });
  processor.run();
  later.reset();
  EXPECT_EQ(answers.done, 1);
  EXPECT_EQ(answers.body, "late but whole");
}

}  // namespace
}  // namespace kaon::processor
