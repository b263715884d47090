#include <benchmark/benchmark.h>

#include <unistd.h>

#include "observe/event_id.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "observe/ring_sink.h"
#include "observe/trace.h"

namespace kaon::observe {
namespace {

void counter_add(benchmark::State& state) {
  Registry registry(1);
  Counter& counter = registry.counter("b_total", "B.").at(0);
  for (auto _ : state) counter.add();
  benchmark::DoNotOptimize(counter.value());
}
BENCHMARK(counter_add);

// 10 to 20 µs, as a fast function's are.
void histogram_record_narrow(benchmark::State& state) {
  Registry registry(1);
  Histogram& histogram = registry.histogram("b_seconds", "B.").at(0);
  Nanos value = 10'000;
  for (auto _ : state) {
    histogram.record(value);
    value = value < 20'000 ? value + 37 : 10'000;
  }
}
BENCHMARK(histogram_record_narrow);

void histogram_record_wide(benchmark::State& state) {
  Registry registry(1);
  Histogram& histogram = registry.histogram("b_seconds", "B.").at(0);
  // Values over the whole range, as the branch predictor would otherwise know the answer.
  Nanos values[1'024];
  Random random;
  for (Nanos& value : values) value = static_cast<Nanos>(random.next() >> (30 + random.next() % 24));
  size_t i = 0;
  for (auto _ : state) histogram.record(values[i++ & 1'023]);
}
BENCHMARK(histogram_record_wide);

void scrape_100_versions(benchmark::State& state) {
  Registry registry(8);
  Families families(registry);
  for (int version = 0; version < 100; ++version) {
    for (int shard = 0; shard < 8; ++shard) {
      families.events.at(shard, {"f", std::to_string(version), "web", "done"}).add();
      families.event_duration.at(shard, {"f", std::to_string(version), "web"}).record(version * kMillisecond);
    }
  }
  std::string text;
  for (auto _ : state) {
    text.clear();
    registry.write_text(text);
  }
}
BENCHMARK(scrape_100_versions)->Unit(benchmark::kMicrosecond);

void event_id(benchmark::State& state) {
  EventIds ids(ProcessorId::random(), 0);
  char id[kEventIdSize];
  Nanos now = monotonic_ns();
  for (auto _ : state) {
    ids.next(now += 200, id);
    benchmark::DoNotOptimize(id);
  }
}
BENCHMARK(event_id);

void trace_child(benchmark::State& state) {
  Tracer tracer;
  TraceContext parent = tracer.start(true);
  char text[kTraceparentSize];
  write_traceparent(parent, text);
  for (auto _ : state) {
    write_traceparent(tracer.continue_from({text, sizeof text}, true), text);
    benchmark::DoNotOptimize(text);
  }
}
BENCHMARK(trace_child);

void log_below_level(benchmark::State& state) {
  Log log(std::make_shared<RingSink>(), Format::kJson, Level::kInfo);
  for (auto _ : state) log.write(Level::kDebug, "resizing", {{"size", int64_t{12}}});
}
BENCHMARK(log_below_level);

void log_to_ring(benchmark::State& state) {
  auto format = state.range(0) ? Format::kJson : Format::kText;
  Log log = Log(std::make_shared<RingSink>(), format, Level::kInfo).with({{"function", "thumbs"}, {"version", "0123456789ab"}});
  for (auto _ : state)
    log.write(Level::kInfo, "resizing an image", {{"event", "01ABCDEFGHJKMNPQRSTVWXYZ00"}, {"size", int64_t{12}}});
}
BENCHMARK(log_to_ring)->Arg(0)->Arg(1);

}  // namespace
}  // namespace kaon::observe
