#include "runtime/native/native.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <thread>

#include "runtime/native/build.h"
#include "runtime/native/trip.h"

namespace {
thread_local uint64_t t_allocations = 0;
void* allocate(size_t size) {
  ++t_allocations;
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
}  // namespace
[[gnu::noinline]] void* operator new(size_t size) { return allocate(size); }
[[gnu::noinline]] void* operator new[](size_t size) { return allocate(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace kaon::runtime::native {
const Component& component();
namespace {

namespace fs = std::filesystem;

class Lines final : public observe::Sink {
 public:
  void write(observe::Level, std::string_view line) override {
    std::lock_guard lock(mutex_);
    text_ += line;
  }
  bool has(std::string_view part) {
    std::lock_guard lock(mutex_);
    return text_.find(part) != std::string::npos;
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

// A trip that is never released: whoever holds its call may still look at it.
Trip& endless(std::string_view subject) {
  static auto& kept = *new std::vector<std::unique_ptr<Trip>>;  // a thread may look at them until the very end
  return *kept.emplace_back(std::make_unique<Trip>(subject));
}

std::string library(std::string_view name) { return std::string(KAON_NATIVE_FUNCTIONS) + "/" + std::string(name) + ".so"; }

// A function on one loop, in both ways to run it.
class Native : public testing::TestWithParam<bool> {
 protected:
  void load(std::string_view name, Options options = {}) {
    options.inline_ = GetParam();
    auto made = NativeRuntime::make(library(name), options, log_);
    ASSERT_TRUE(made) << made.error().message;
    runtime_ = std::move(made).value();
    auto worker = runtime_->start_worker(loop_);
    ASSERT_TRUE(worker);
    worker_ = std::move(worker).value();
  }
  // Turns the loop until `ready`, five seconds at most.
  template <typename F>
  bool turn_until(F ready) {
    Nanos deadline = monotonic_ns() + 5 * kSecond;
    while (!ready()) {
      if (monotonic_ns() > deadline) return false;
      tick_.start_after(2 * kMillisecond);
      loop_.run_once();
    }
    return true;
  }
  bool finish(Trip& trip) {
    return turn_until([&] { return trip.done(); });
  }
  void go(Trip& trip) {
    trip.send(*worker_);
    ASSERT_TRUE(finish(trip));
  }
  // Sends a call to `lab`, and waits until its handler has it.
  void begin(Trip& trip) {
    int before = running();
    trip.send(*worker_);
    ASSERT_TRUE(turn_until([&] { return running() == before + 1; }));
  }
  int running() {
    std::string counts = ask("counts");
    return std::stoi(counts.substr(counts.rfind(' ')));
  }
  std::string ask(std::string_view what) {
    Trip trip(what);
    go(trip);
    return trip.body;
  }

  std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();
  observe::Log log_{lines_, observe::Format::kText, observe::Level::kInfo};
  loop::Loop loop_;
  loop::Timer tick_{loop_, [] {}};
  std::unique_ptr<NativeRuntime> runtime_;
  std::unique_ptr<event::Worker> worker_;
};

INSTANTIATE_TEST_SUITE_P(Execution, Native, testing::Bool(), [](const auto& info) { return info.param ? "inline" : "pool"; });

TEST_P(Native, Echo) {
  load("echo");
  Trip trip({}, "a body");
  go(trip);
  EXPECT_EQ(trip.status, 200);
  EXPECT_EQ(trip.body, "a body");
}

TEST_P(Native, AttributesInAndAHeadOut) {
  load("echo");
  Trip trip("full");
  event::Header in[] = {{"x-other", "no"}, {"x-kind", "paper"}};
  trip.event.headers = in;
  go(trip);
  EXPECT_EQ(trip.status, 201);
  EXPECT_EQ(trip.content_type, "text/x");
  EXPECT_EQ(trip.body, "made of paper");
  ASSERT_EQ(trip.headers.size(), 1u);
  EXPECT_EQ(trip.headers[0], (std::pair<std::string, std::string>("x-id", "event-1")));
}

TEST_P(Native, WhatIsThrownFailsItsEvent) {
  load("echo");
  Trip thrown("throw"), invalid("invalid"), forged("forge"), after({}, "fine");
  go(thrown);
  ASSERT_TRUE(thrown.error);
  EXPECT_EQ(thrown.error->code, ErrorCode::kUserCode);
  EXPECT_EQ(thrown.error->message, "the handler threw this");
  go(invalid);
  ASSERT_TRUE(invalid.error);
  EXPECT_EQ(invalid.error->code, ErrorCode::kInvalid);
  go(forged);  // a header that would forge another
  ASSERT_TRUE(forged.error);
  EXPECT_TRUE(forged.headers.empty());
  go(after);
  EXPECT_EQ(after.body, "fine");
}

TEST_P(Native, WhatIsThrownAcrossTheBorderFailsItsEvent) {
  load("lab");
  Trip thrown("throw"), number("throw_int");
  go(thrown);
  ASSERT_TRUE(thrown.error);
  EXPECT_EQ(thrown.error->code, ErrorCode::kUserCode);
  EXPECT_EQ(thrown.error->message, "across the border");
  go(number);
  ASSERT_TRUE(number.error);
  EXPECT_EQ(number.error->code, ErrorCode::kUserCode);
}

TEST_P(Native, TheWholeBodyIsCollected) {
  load("echo", {.max_body_bytes = 100});
  Trip trip({}, "one ");
  trip.event.body_complete = false;
  trip.chunks = {"two ", "", "three"};
  go(trip);
  EXPECT_EQ(trip.body, "one two three");
  EXPECT_EQ(trip.reads, 3);

  Trip big({}, "one ");
  big.event.body_complete = false;
  big.chunks = {std::string(60, 'x'), std::string(60, 'x'), "never asked for"};
  go(big);
  ASSERT_TRUE(big.error);
  EXPECT_EQ(big.error->code, ErrorCode::kInvalid);
  EXPECT_EQ(big.reads, 2);
}

TEST_P(Native, AClientThatLeavesBeforeTheBodyIsWhole) {
  load("echo");
  Trip trip;
  trip.event.body_complete = false;
  trip.hold_body = true;
  trip.chunks = {"x"};
  trip.send(*worker_);
  EXPECT_TRUE(trip.wanted);
  trip.call.abandon({ErrorCode::kCancelled, "gone"});
  EXPECT_TRUE(trip.is_released);
  Trip next({}, "next");
  go(next);
  EXPECT_EQ(next.body, "next");
}

TEST_P(Native, AnAnswerFromAnotherThread) {
  load("async");
  std::vector<std::unique_ptr<Trip>> trips;
  for (int i = 0; i < 50; ++i) {
    trips.push_back(std::make_unique<Trip>("thread", "abc"));
    trips.back()->send(*worker_);
  }
  for (auto& trip : trips) {
    ASSERT_TRUE(finish(*trip));
    EXPECT_EQ(trip->body, "later: abc");
  }
}

TEST_P(Native, AStreamedEcho) {
  load("async");
  for (bool held : {false, true}) {
    Trip trip("stream", "head,");
    trip.event.body_complete = false;
    trip.hold_body = held;
    std::string all = "head,";
    for (int i = 0; i < 500; ++i) all += trip.chunks.emplace_back(std::to_string(i) + ",");
    trip.send(*worker_);
    ASSERT_TRUE(turn_until([&] {
      if (trip.wanted) trip.give();
      return trip.done();
    }));
    EXPECT_TRUE(trip.whole());
    EXPECT_TRUE(trip.started);
    EXPECT_EQ(trip.content_type, "text/stream");
    EXPECT_EQ(trip.body, all);
  }
}

TEST_P(Native, AStreamThatIsNotReadPauses) {
  load("async");
  Trip trip("stream");
  trip.event.body_complete = false;
  for (int i = 0; i < 100; ++i) trip.chunks.emplace_back(1000, 'x');
  trip.room = 5000;
  trip.send(*worker_);
  turn_until([&] { return trip.room == 0; });
  for (int i = 0; i < 10; ++i) {
    tick_.start_after(kMillisecond);
    loop_.run_once();
  }
  EXPECT_FALSE(trip.settled);
  EXPECT_LE(trip.body.size(), 6000u);  // the loop may learn of it one chunk late
  trip.drain();
  ASSERT_TRUE(finish(trip));
  EXPECT_TRUE(trip.whole());
  EXPECT_EQ(trip.body.size(), 100'000u);
}

TEST_P(Native, AnAsynchronousHandlerThatThrows) {
  load("async");
  for (auto [what, message] :
       {std::pair("throw", "thrown with the call in hand"), std::pair("drop", "the function dropped the call without an answer"),
        std::pair("throw_in_body", "thrown from on_body")}) {
    Trip trip(what);
    trip.event.body_complete = false;
    trip.chunks = {"x"};
    go(trip);
    ASSERT_TRUE(trip.error) << what;
    EXPECT_EQ(trip.error->code, ErrorCode::kUserCode);
    EXPECT_EQ(trip.error->message, message);
  }
  Trip kept("throw_later");
  kept.send(*worker_);
  ASSERT_TRUE(turn_until([&] { return lines_->has("threw after it had handed on its call"); }));
  EXPECT_FALSE(kept.settled);
  kept.call.abandon({ErrorCode::kCancelled, "gone"});
  ASSERT_TRUE(finish(kept));
}

TEST_P(Native, FinishingTwiceIsAnErrorAndNothingElse) {
  load("lab");
  Trip trip("double");
  go(trip);
  EXPECT_EQ(trip.body, "first");
  EXPECT_FALSE(trip.error);
  EXPECT_TRUE(lines_->has("finished before"));
}

TEST_P(Native, ADeadHandleTouchesNoLaterEvent) {
  load("lab");
  ask("keep");
  // The slot of the kept handle serves this very event.
  EXPECT_EQ(ask("stale"), "-1 -1 0 1");
}

TEST_P(Native, ThingsOutOfOrder) {
  load("lab");
  EXPECT_EQ(ask("order"), "-2 -2 -2 -5");
}

TEST_P(Native, OneOfManyThreadsFinishes) {
  load("lab");
  for (int i = 0; i < 50; ++i) {
    Trip trip("race");
    go(trip);
    EXPECT_EQ(trip.body, "one");
    EXPECT_FALSE(trip.error);
  }
}

TEST_P(Native, ACallThatIsNotFinishedKeepsItsEventUntilItIsCancelled) {
  load("lab");
  std::string before = ask("counts");
  int cancelled, closed, running;
  ASSERT_EQ(sscanf(before.c_str(), "%d %d %d", &cancelled, &closed, &running), 3);
  Trip trip("hold");
  begin(trip);
  EXPECT_FALSE(trip.settled);
  trip.call.expire({ErrorCode::kTimeout, "the deadline has passed"});
  EXPECT_TRUE(trip.settled);
  ASSERT_TRUE(finish(trip));
  EXPECT_EQ(trip.error->code, ErrorCode::kTimeout);
  EXPECT_EQ(trip.body, "");  // "too late" went nowhere
  std::string expected = std::to_string(cancelled + 1) + " " + std::to_string(closed + 1) + " " + std::to_string(running + 1);
  EXPECT_TRUE(turn_until([&] { return ask("counts") == expected; })) << ask("counts") << " is not " << expected;
}

TEST_P(Native, AHandlerThatIgnoresPausesIsStopped) {
  load("lab");
  Trip trip("flood");
  trip.room = 1;
  go(trip);
  ASSERT_TRUE(trip.error);
  EXPECT_LE(trip.body.size(), 20u << 20);
}

TEST_P(Native, RecordsCarryTheEvent) {
  load("lab");
  ask("log");
  EXPECT_TRUE(lines_->has("from the function"));
  EXPECT_TRUE(lines_->has("event=event-1"));
  EXPECT_TRUE(lines_->has("size=12"));
}

TEST_P(Native, TheNextEventMayComeFromTheReleaseOfTheLast) {
  load("echo");
  std::deque<Trip> trips;
  std::function<void()> more = [&] {
    if (trips.size() == 100) return;
    trips.emplace_back("", "again").on_release = more;
    trips.back().send(*worker_);
  };
  more();
  ASSERT_TRUE(turn_until([&] { return trips.size() == 100 && trips.back().done(); }));
  for (Trip& trip : trips) EXPECT_EQ(trip.body, "again");
}

TEST_P(Native, AWorkerThatGoesWithACallInFlight) {
  load("lab");
  Trip& trip = endless("hold");
  begin(trip);
  worker_.reset();
  runtime_.reset();
  EXPECT_TRUE(lines_->has("never finished"));
  EXPECT_FALSE(trip.is_released);
}

class Inline : public Native {};
INSTANTIATE_TEST_SUITE_P(Execution, Inline, testing::Values(true), [](const auto&) { return "inline"; });

TEST_P(Inline, AWarmEventAllocatesNothing) {
  load("echo");
  Trip trip({}, "a body");
  trip.body.reserve(100);
  trip.send(*worker_);
  uint64_t before = t_allocations;
  for (int i = 0; i < 1000; ++i) trip.send(*worker_);
  EXPECT_EQ(t_allocations - before, 0u);
  EXPECT_EQ(trip.body, "a body");
}

TEST_P(Inline, StallsAreCounted) {
  load("lab");
  ask("");
  EXPECT_EQ(runtime_->stalls(), 0u);
  ask("nap");
  EXPECT_EQ(runtime_->stalls(), 1u);
  EXPECT_TRUE(lines_->has("stalled an event loop"));
}

class Pooled : public Native {};
INSTANTIATE_TEST_SUITE_P(Execution, Pooled, testing::Values(false), [](const auto&) { return "pool"; });

TEST_P(Pooled, AWarmEventAllocatesNothing) {
  load("echo");
  Trip trip({}, "a body");
  trip.body.reserve(100);
  auto round = [&] {
    trip.settled = trip.is_released = false;
    trip.send(*worker_);
    while (!trip.done()) loop_.run_once();
  };
  for (int i = 0; i < 10; ++i) round();
  uint64_t before = t_allocations;
  for (int i = 0; i < 1000; ++i) round();
  EXPECT_EQ(t_allocations - before, 0u);
}

TEST_P(Pooled, AHandlerThatBlocksStallsNoLoop) {
  load("lab", {.threads = 2});
  Trip slow("sleep");
  slow.send(*worker_);
  Nanos start = monotonic_ns();
  for (int i = 0; i < 20; ++i) ask("");
  EXPECT_FALSE(slow.settled);
  EXPECT_LT(monotonic_ns() - start, 300 * kMillisecond);
  ASSERT_TRUE(finish(slow));
  EXPECT_EQ(slow.body, "slept");
}

TEST_P(Pooled, ACallThatWaitsForAThreadIsCancelledAtOnce) {
  load("lab", {.threads = 1});
  Trip slow("sleep"), waiting("sleep"), after({}, "after");
  slow.send(*worker_);
  waiting.send(*worker_);
  waiting.call.expire({ErrorCode::kTimeout, "the deadline has passed"});
  EXPECT_TRUE(waiting.is_released);
  after.send(*worker_);
  ASSERT_TRUE(finish(after));
  EXPECT_TRUE(slow.done());
  EXPECT_EQ(after.body, "after");
}

TEST_P(Pooled, ACancellationIsSeenByAHandlerThatAsks) {
  load("lab");
  Trip trip("poll");
  begin(trip);
  trip.call.abandon({ErrorCode::kCancelled, "gone"});
  ASSERT_TRUE(finish(trip));
}

TEST_P(Pooled, ManyEventsOnManyThreads) {
  load("echo", {.threads = 4});
  std::deque<Trip> trips;
  std::deque<std::string> bodies;
  for (int i = 0; i < 5000; ++i) trips.emplace_back("", bodies.emplace_back(std::to_string(i))).send(*worker_);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(finish(trips[i]));
    EXPECT_EQ(trips[i].body, bodies[i]);
  }
}

TEST_P(Pooled, AHandlerThatHangsAtTheEndIsLeftBehind) {
  load("lab");
  begin(endless("hang"));
  worker_.reset();
  Nanos start = monotonic_ns();
  runtime_.reset();
  EXPECT_LT(monotonic_ns() - start, 4500 * kMillisecond);
  EXPECT_TRUE(lines_->has("did not return before the end"));
}

TEST(Loading, SaysWhatIsWrong) {
  observe::Log log(std::make_shared<Lines>(), observe::Format::kText, observe::Level::kInfo);
  auto why = [&](const std::string& path) {
    auto made = NativeRuntime::make(path, {}, log);
    return made ? std::string("loaded") : made.error().message;
  };
  EXPECT_NE(why(library("old_abi")).find("built for version 999 of the native interface, this Kaon has version 1"),
            std::string::npos);
  EXPECT_NE(why(library("no_symbol")).find("does not export `kaon_function`"), std::string::npos);
  EXPECT_EQ(why(library("init_fails")), "the function's init failed: no model.bin beside the library");
  EXPECT_NE(why(library("missing")).find("No such file"), std::string::npos);
  EXPECT_NE(why(__FILE__).find("not a shared library"), std::string::npos);
  EXPECT_NE(why("/proc/self/exe").find(": "), std::string::npos);
}

// A folder that goes with the test.
class Build : public testing::Test {
 protected:
  Build() {
    char name[] = "/tmp/kaon-native-test-XXXXXX";
    root_ = mkdtemp(name);
    for (const char* folder : {"/source", "/version", "/cache"}) fs::create_directory(root_ + folder);
    function_.runtime_settings = config::Settings::defaults(component().spec);
  }
  ~Build() override { fs::remove_all(root_); }
  void write(std::string_view name, std::string_view text) { std::ofstream(root_ + "/source/" + std::string(name)) << text; }
  Result<void> run() {
    BuildContext context{function_, root_ + "/source", root_ + "/version", root_ + "/cache"};
    return component().build(context);
  }
  size_t cached() {
    size_t count = 0;
    for (auto& entry : fs::directory_iterator(root_ + "/cache/native")) count += entry.path().extension() == ".so";
    return count;
  }

  std::string root_;
  config::Function function_;
};

constexpr std::string_view kHello =
    "#include <kaon.hpp>\n#include \"word.h\"\nkaon::Response handle(kaon::Event&) { return WORD; }\nKAON_HANDLER(handle)\n";

TEST_F(Build, CompilesCachesAndRuns) {
  write("hello.cc", kHello);
  write("word.h", "#define WORD \"first\"\n");
  auto built = run();
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(function_.handler, "hello.so");
  EXPECT_EQ(cached(), 1u);

  Nanos start = monotonic_ns();
  function_.handler = "hello.cc";
  ASSERT_TRUE(run());
  EXPECT_LT(monotonic_ns() - start, 200 * kMillisecond) << "the cache was not used";
  EXPECT_EQ(cached(), 1u);

  write("word.h", "#define WORD \"second\"\n");
  function_.handler = "hello.cc";
  ASSERT_TRUE(run());
  EXPECT_EQ(cached(), 2u);

  observe::Log log(std::make_shared<Lines>(), observe::Format::kText, observe::Level::kInfo);
  auto runtime = component().load({function_, "v", root_ + "/version", log});
  ASSERT_TRUE(runtime) << runtime.error().message;
  loop::Loop loop;
  auto worker = static_cast<NativeRuntime&>(**runtime).start_worker(loop);
  ASSERT_TRUE(worker);
  Trip trip;
  trip.send(**worker);
  while (!trip.done()) loop.run_once();
  EXPECT_EQ(trip.body, "second");
}

TEST_F(Build, CompilerErrorsAreTheMessage) {
  write("broken.cc", "int f() { return undeclared_name; }\n");
  auto built = run();
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::kInvalid);
  EXPECT_NE(built.error().message.find("broken.cc does not compile:"), std::string::npos);
  EXPECT_NE(built.error().message.find("undeclared_name"), std::string::npos);
  EXPECT_EQ(cached(), 0u);
  for (auto& entry : fs::directory_iterator(root_ + "/cache/native")) ADD_FAILURE() << entry.path() << " is left behind";
}

TEST_F(Build, CSourcesAndFlags) {
  write("plain.c",
        "#include <kaon.h>\nstatic void handle(void* context, kaon_call call) { (void)context, (void)call; }\n"
        "int answer = ANSWER;\nKAON_EXPORT const kaon_descriptor kaon_function = "
        "{KAON_ABI_VERSION, sizeof(kaon_descriptor), 0, \"c\", 0, handle, 0};\n");
  ASSERT_FALSE(run());
  function_.handler.clear();
  ASSERT_TRUE(function_.runtime_settings.set("compiler_flags", "-DANSWER=42"));
  auto built = run();
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_TRUE(Library::open(root_ + "/version/plain.so"));
}

TEST_F(Build, HandlersThatAreRefused) {
  auto why = [&](std::string handler) {
    function_.handler = std::move(handler);
    auto built = run();
    return built ? std::string("built") : built.error().message;
  };
  EXPECT_NE(why("").find("has no .cc"), std::string::npos);
  EXPECT_NE(why("../hello.cc").find("must name a file in the function's folder"), std::string::npos);
  EXPECT_NE(why("/etc/passwd.so").find("must name a file in the function's folder"), std::string::npos);
  EXPECT_NE(why("handler.py").find("is no .so"), std::string::npos);
  EXPECT_NE(why("absent.cc").find("does not exist"), std::string::npos);
  write("text.so", "this is text");
  EXPECT_NE(why("text.so").find("not a shared library"), std::string::npos);
  write("a.cc", "");
  write("b.cc", "");
  EXPECT_NE(why("").find("several"), std::string::npos);
  function_.isolation = config::Isolation::kSandbox;
  EXPECT_NE(why("a.cc").find("isolation: none"), std::string::npos);
}

TEST(Component, Recognises) {
  for (const char* path : {"a.cc", "/x/a.cpp", "a.cxx", "a.c", "lib.so"}) EXPECT_TRUE(component().recognises(path)) << path;
  for (const char* path : {"a.h", "a.py", "so", "a.so.1", "cc"}) EXPECT_FALSE(component().recognises(path)) << path;
}

}  // namespace
}  // namespace kaon::runtime::native
