#include "observe/metrics.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <random>
#include <thread>

#include "base/check.h"

namespace kaon::observe {
namespace {

std::string text_of(const Registry& registry) {
  std::string out;
  registry.write_text(out);
  return out;
}

// The value of the sample whose line begins with `name` and a space, or -1.
double sample(const std::string& text, const std::string& name) {
  size_t at = ("\n" + text).find("\n" + name + " ");
  return at == text.npos ? -1 : std::stod(text.substr(at + name.size()));
}

TEST(Metrics, TextIsExact) {
  Registry registry(2);
  auto events = registry.counter("t_events_total", "Events\nwith a \\ in help.", {"function", "outcome"});
  auto open = registry.gauge("t_open", "Open.");
  (void)registry.counter("t_unused_total", "Has no series.");
  events.at(0, {"a\"b\\c\nd\xff", "done"}).add(3);
  events.at(1, {"a\"b\\c\nd\xff", "done"}).add();
  events.at(1, {"f", "failed"}).add(0);
  open.at(0).add(5);
  open.at(1).add(-7);
  EXPECT_EQ(text_of(registry),
            "# HELP t_events_total Events\\nwith a \\\\ in help.\n"
            "# TYPE t_events_total counter\n"
            "t_events_total{function=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\",outcome=\"done\"} 4\n"
            "t_events_total{function=\"f\",outcome=\"failed\"} 0\n"
            "# HELP t_open Open.\n"
            "# TYPE t_open gauge\n"
            "t_open -2\n");
}

TEST(Metrics, HistogramBoundsAreExactAndInclusive) {
  Registry registry(1);
  auto family = registry.histogram("t_seconds", "T.", {"f"});
  Histogram& h = family.at(0, {"x"});
  for (Nanos bound : metrics_detail::kBounds) {
    h.record(bound);
    h.record(bound + 1);
  }
  h.record(-5);
  h.record(INT64_MAX / 4);
  std::string text = text_of(registry);
  EXPECT_EQ(sample(text, "t_seconds_bucket{f=\"x\",le=\"0.00001\"}"), 2);
  EXPECT_EQ(sample(text, "t_seconds_bucket{f=\"x\",le=\"0.000025\"}"), 4);
  EXPECT_EQ(sample(text, "t_seconds_bucket{f=\"x\",le=\"0.0025\"}"), 16);
  EXPECT_EQ(sample(text, "t_seconds_bucket{f=\"x\",le=\"1\"}"), 32);
  EXPECT_EQ(sample(text, "t_seconds_bucket{f=\"x\",le=\"60\"}"), 42);
  EXPECT_EQ(sample(text, "t_seconds_bucket{f=\"x\",le=\"+Inf\"}"), 44);
  EXPECT_EQ(sample(text, "t_seconds_count{f=\"x\"}"), 44);
  double sum = 0;
  for (Nanos bound : metrics_detail::kBounds) sum += 2.0 * static_cast<double>(bound) + 1;
  EXPECT_NEAR(sample(text, "t_seconds_sum{f=\"x\"}"), (sum + static_cast<double>(INT64_MAX / 4)) / 1e9, 1);
}

TEST(Metrics, SumIsExact) {
  Registry registry(1);
  auto family = registry.histogram("t_seconds", "T.");
  family.at(0).record(1'000'000'001);
  family.at(0).record(500);
  EXPECT_NE(text_of(registry).find("\nt_seconds_sum 1.000000501\n"), std::string::npos);
}

TEST(Metrics, QuantileErrorIsWithinSixPercent) {
  using namespace metrics_detail;
  Registry registry(1);
  auto family = registry.histogram("t_seconds", "T.", {"i"});
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    auto value = static_cast<Nanos>(std::exp(std::uniform_real_distribution<>(std::log(1'024.0), std::log(1.3e11))(random)));
    HistogramSnapshot one;
    ++one.buckets[kLayout.cells[cell_of(static_cast<uint64_t>(value))].bucket +
                  (static_cast<uint64_t>(value) > kLayout.cells[cell_of(static_cast<uint64_t>(value))].split)];
    double error = std::abs(static_cast<double>(one.quantile(0.5) - value)) / static_cast<double>(value);
    ASSERT_LE(error, 0.06) << value;
  }
  for (int i = 0; i < 1'000; ++i) family.at(0, {"a"}).record(i * kMillisecond);
  auto snapshot = registry.sum(family);
  EXPECT_EQ(snapshot.count(), 1'000u);
  EXPECT_NEAR(static_cast<double>(snapshot.quantile(0.5)), 500e6, 30e6);
  EXPECT_NEAR(static_cast<double>(snapshot.quantile(0.99)), 990e6, 60e6);
  EXPECT_LE(snapshot.quantile(0), kMicrosecond);
  EXPECT_NEAR(static_cast<double>(snapshot.quantile(1)), 999e6, 60e6);
  EXPECT_EQ(HistogramSnapshot().quantile(0.5), 0);
}

TEST(Metrics, CellsCoverEveryValueOnce) {
  using namespace metrics_detail;
  for (int cell = 1; cell < kCells; ++cell) {
    EXPECT_EQ(cell_of(cell_begin(cell)), cell);
    EXPECT_EQ(cell_of(cell_begin(cell) - 1), cell - 1);
  }
  EXPECT_EQ(cell_of(UINT64_MAX), kCells - 1);
  for (size_t i = 0; i + 1 <= kBuckets; ++i) EXPECT_LT(kLayout.begin[i], kLayout.begin[i + 1]);
}

TEST(Metrics, SameLabelsAreTheSameCell) {
  Registry registry(2);
  auto events = registry.counter("t_total", "T.", {"a", "b"});
  EXPECT_EQ(&events.at(0, {"x", "y"}), &events.at(0, {"x", "y"}));
  EXPECT_NE(&events.at(0, {"x", "y"}), &events.at(1, {"x", "y"}));
  EXPECT_NE(&events.at(0, {"x", "y"}), &events.at(0, {"y", "x"}));
  auto line = [](const void* p) { return reinterpret_cast<uintptr_t>(p) / 64; };
  EXPECT_NE(line(&events.at(0, {"x", "y"})), line(&events.at(1, {"x", "y"}))) << "shards share no cache line";
}

TEST(Metrics, MisuseIsCaught) {
  Registry registry(1);
  auto events = registry.counter("t_total", "T.", {"a"});
  EXPECT_THROW(events.at(0, {}), CheckFailure);
  EXPECT_THROW(events.at(1, {"x"}), CheckFailure);
  EXPECT_THROW(registry.counter("t_total", "T."), CheckFailure);
  EXPECT_THROW(registry.counter("t_retired_total", "T."), CheckFailure);
  EXPECT_THROW(registry.gauge("t open", "T."), CheckFailure);
  EXPECT_THROW(registry.histogram("t_seconds", "T.", {"le"}), CheckFailure);
}

TEST(Metrics, RetiredVersionsKeepTheirTotals) {
  Registry registry(2);
  Families families(registry);
  for (int version = 0; version < 3; ++version) {
    std::string v = std::to_string(version);
    for (int shard = 0; shard < 2; ++shard) {
      families.events.at(shard, {"f", v, "web", "done"}).add(10);
      families.event_duration.at(shard, {"f", v, "web"}).record(3 * kMillisecond);
      families.events_in_flight.at(shard, {"f", v}).add(1);
      families.worker_starts.at(shard, {"other", v}).add(1);
    }
  }
  registry.retire({{"function", "f"}, {"version", "0"}});
  registry.retire({{"function", "f"}, {"version", "1"}});
  std::string text = text_of(registry);
  EXPECT_EQ(text.find("version=\"0\",trigger"), text.npos);
  EXPECT_EQ(sample(text, "kaon_events_total{function=\"f\",version=\"2\",trigger=\"web\",outcome=\"done\"}"), 20);
  EXPECT_EQ(sample(text, "kaon_events_retired_total{function=\"f\",trigger=\"web\",outcome=\"done\"}"), 40);
  EXPECT_EQ(sample(text, "kaon_event_duration_retired_seconds_count{function=\"f\",trigger=\"web\"}"), 4);
  EXPECT_EQ(sample(text, "kaon_event_duration_retired_seconds_bucket{function=\"f\",trigger=\"web\",le=\"0.005\"}"), 4);
  EXPECT_EQ(registry.sum(families.events_in_flight, {{"function", "f"}}), 2);
  EXPECT_EQ(registry.sum(families.events, {{"function", "f"}, {"version", "2"}}), 20u);
  EXPECT_EQ(sample(text, "kaon_worker_starts_total{function=\"other\",version=\"0\"}"), 2);
  registry.retire({{"function", "f"}, {"version", "2"}});
  registry.retire({{"function", "f"}});
  text = text_of(registry);
  EXPECT_EQ(sample(text, "kaon_events_retired_total{trigger=\"web\",outcome=\"done\"}"), 60);
  EXPECT_EQ(text.find("function=\"f\""), text.npos) << text;
  // The cells are used again, from nothing.
  EXPECT_EQ(families.events.at(0, {"f", "0", "web", "done"}).value(), 0u);
  EXPECT_EQ(registry.sum(families.events, {{"version", "0"}}), 0u);
}

TEST(Metrics, ScrapeBesideWritersAndLookups) {
  constexpr int kShards = 3;
  constexpr uint64_t kEach = 200'000;
  Registry registry(kShards);
  Families families(registry);
  std::atomic<int> running{kShards};
  std::vector<std::thread> loops;
  for (int shard = 0; shard < kShards; ++shard) {
    loops.emplace_back([&, shard] {
      for (int round = 0; round < 10; ++round) {
        std::string version = std::to_string(round);
        Counter& counter = families.events.at(shard, {"f", version, "web", "done"});
        Histogram& histogram = families.event_duration.at(shard, {"f", version, "web"});
        for (uint64_t i = 0; i < kEach / 10; ++i) {
          counter.add();
          histogram.record(static_cast<Nanos>(i));
        }
      }
      --running;
    });
  }
  uint64_t last = 0;
  while (running > 0) {
    uint64_t now = registry.sum(families.events);
    EXPECT_GE(now, last);
    last = now;
    EXPECT_FALSE(text_of(registry).empty() && now > 0);
    std::this_thread::yield();
  }
  for (auto& loop : loops) loop.join();
  EXPECT_EQ(registry.sum(families.events), kShards * kEach);
  EXPECT_EQ(registry.sum(families.event_duration).count(), kShards * kEach);
}

TEST(Metrics, ProcessBasics) {
  Registry registry(1);
  declare_process_metrics(registry);
  int fd = open("/dev/null", O_RDONLY);
  std::string before = text_of(registry);
  close(fd);
  std::string after = text_of(registry);
  EXPECT_EQ(sample(before, "process_open_fds"), sample(after, "process_open_fds") + 1);
  EXPECT_GT(sample(after, "process_resident_memory_bytes"), 1e6);
  EXPECT_GE(sample(after, "process_cpu_seconds_total"), 0);
  EXPECT_NEAR(sample(after, "process_start_time_seconds"), static_cast<double>(wall_ns()) / 1e9, 300);
  EXPECT_GT(sample(after, "process_max_fds"), 10);
}

}  // namespace
}  // namespace kaon::observe
