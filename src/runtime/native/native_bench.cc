#include <benchmark/benchmark.h>

#include "runtime/native/native.h"
#include "runtime/native/trip.h"

namespace kaon::runtime::native {
namespace {

class Nowhere final : public observe::Sink {
  void write(observe::Level, std::string_view) override {}
};

// An exchange that costs nothing, so that what is measured is the runtime's.
struct Blank final : event::Exchange, event::Call::Owner {
  TripCall call;
  size_t bytes = 0;
  bool over = false;
  void read_body() override {}
  void respond(const event::ResponseHead&, std::string_view body) override { bytes += body.size(); }
  void start(const event::ResponseHead&) override {}
  bool write(std::string_view, bool) override { return true; }
  void fail(const Error&) override {}
  void released() override {}
  void on_settled(event::Call&) override {}
  void on_released(event::Call&) override { over = true; }
};

struct Setup {
  loop::Loop loop;
  std::unique_ptr<NativeRuntime> runtime;
  std::unique_ptr<event::Worker> worker;
  explicit Setup(bool inline_) {
    observe::Log log(std::make_shared<Nowhere>(), observe::Format::kText, observe::Level::kError);
    runtime =
        NativeRuntime::make(std::string(KAON_NATIVE_FUNCTIONS) + "/echo.so", {.inline_ = inline_, .threads = 2}, log).value();
    worker = runtime->start_worker(loop).value();
  }
};

void inline_echo(benchmark::State& state) {
  Setup setup(true);
  std::string body(100, 'x');
  Blank blank;
  blank.event.body = Bytes::borrowed(body);
  for (auto _ : state) {
    blank.call.open(blank, blank);
    setup.worker->handle(blank.call);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(inline_echo);

// `range` events in flight.
void pool_echo(benchmark::State& state) {
  Setup setup(false);
  std::string body(100, 'x');
  std::vector<Blank> blanks(static_cast<size_t>(state.range(0)));
  for (Blank& blank : blanks) blank.event.body = Bytes::borrowed(body);
  for (auto _ : state) {
    for (Blank& blank : blanks) {
      blank.over = false;
      blank.call.open(blank, blank);
      setup.worker->handle(blank.call);
    }
    for (Blank& blank : blanks)
      while (!blank.over) setup.loop.run_once();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(pool_echo)->Arg(1)->Arg(64)->UseRealTime();

}  // namespace
}  // namespace kaon::runtime::native
