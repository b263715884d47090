// In-process dispatch: from a source's offer to the settled and released event, no network. Goal: 5 M events/s on one
// thread, with ids, deadlines, metrics and settlement on.
#include <benchmark/benchmark.h>

#include "observe/event_id.h"
#include "processor/fake.h"

namespace kaon::processor {
namespace {

class EchoWorker final : public event::Worker {
 public:
  void handle(event::Call& call) override {
    call.respond({}, call.event().body.view());
    call.release();
  }
};

class EchoRuntime final : public runtime::Runtime {
 public:
  runtime::Capacity capacity() const override { return {0, 0}; }
  Result<std::unique_ptr<event::Worker>> start_worker(runtime::Home&) override {
    return std::unique_ptr<event::Worker>(std::make_unique<EchoWorker>());
  }
};

class CountingExchange final : public event::Exchange {
 public:
  void read_body() override {}
  void respond(const event::ResponseHead&, std::string_view body) override { bytes += body.size(); }
  void start(const event::ResponseHead&) override {}
  bool write(std::string_view, bool) override { return true; }
  void fail(const Error&) override { ++failed; }
  void released() override { event.body = {}; }
  size_t bytes = 0, failed = 0;
};

void dispatch(benchmark::State& state) {
  static constexpr config::Spec kSpec = {"echo", "For the benchmark.", {}};
  static const runtime::Component kEcho = {"echo", "For the benchmark.", kSpec, nullptr, nullptr,
                                           [](runtime::LoadContext) -> Result<std::unique_ptr<runtime::Runtime>> {
                                             return std::unique_ptr<runtime::Runtime>(std::make_unique<EchoRuntime>());
                                           }};
  fake::NoKeeper keeper;
  loop::Loop loop;
  observe::Registry registry(1);
  observe::Families families(registry);
  runtime::Spawner spawner(loop, keeper::Client(std::move(keeper.near)));
  config::Function function;
  function.name = "f";
  auto version = Version::load(function, "v1", "/", kEcho, fake::quiet_log(), 1);
  Shard shard(loop, spawner, families);
  FunctionShard& f = shard.function("f");
  VersionShard& live = f.add_version(std::make_unique<VersionShard>(shard, **version));
  f.set_shares({{&live, 100}}, [](Version&) {});
  TriggerIntake& intake = f.intake("bench");
  observe::EventIds ids(observe::ProcessorId::random(), 0);
  Bytes body = Bytes::copy(std::string(100, 'x'));
  CountingExchange exchange;
  char id[observe::kEventIdSize];
  for (auto _ : state) {
    exchange.event.body = body;
    ids.next(loop.refresh(), id);
    exchange.event.id = {id, sizeof id};
    exchange.event.deadline = kNever;
    intake.offer(exchange);
  }
  if (exchange.failed) state.SkipWithError("events failed");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(dispatch);

}  // namespace
}  // namespace kaon::processor
