#pragma once
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace kaon::observe {

// Metrics without locks or shared cache lines where they are counted. Each loop has a shard of its own: a cell is written
// by the thread of its shard alone, with a plain load and store, and read by whoever scrapes.

// Only grows. Written by its shard's thread; `value` from any.
class Counter {
 public:
  void add(uint64_t n = 1) { value_.store(value() + n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  friend class Registry;
  std::atomic<uint64_t> value_{0};
};

// Goes up and down; the scrape shows the sum over the shards. Written by its shard's thread; `value` from any.
class Gauge {
 public:
  void add(int64_t n = 1) { set(value() + n); }
  void set(int64_t n) { value_.store(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  friend class Registry;
  std::atomic<int64_t> value_{0};
};

namespace metrics_detail {

// The buckets: one below 1.024 µs, eight for each power of two up to 137 s, one above; and those in which a `le` bound
// of the exposition lies are split at it, so that the exposition's counts are exact.
inline constexpr int kFirstOctave = 10;
inline constexpr int kLastOctave = 37;
inline constexpr int kSteps = 8;
inline constexpr int kCells = (kLastOctave - kFirstOctave) * kSteps + 2;
inline constexpr std::array<Nanos, 21> kBounds = {
    10'000,      25'000,      50'000,      100'000,       250'000,       500'000,       1'000'000,
    2'500'000,   5'000'000,   10'000'000,  25'000'000,    50'000'000,    100'000'000,   250'000'000,
    500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000, 30'000'000'000, 60'000'000'000};
inline constexpr int kBuckets = kCells + static_cast<int>(kBounds.size());

constexpr int cell_of(uint64_t nanos) {
  if (nanos >> kFirstOctave == 0) return 0;
  int octave = 63 - std::countl_zero(nanos);
  if (octave >= kLastOctave) return kCells - 1;
  return 1 + (octave - kFirstOctave) * kSteps + static_cast<int>(nanos >> (octave - 3) & (kSteps - 1));
}
// The least value of a cell.
constexpr uint64_t cell_begin(int cell) {
  if (cell == 0) return 0;
  int octave = kFirstOctave + (cell - 1) / kSteps;
  return (uint64_t{kSteps} + static_cast<uint64_t>((cell - 1) % kSteps)) << (octave - 3);
}

struct Cell {
  uint64_t split = UINT64_MAX;  // what is above goes one bucket further
  uint32_t bucket = 0;
};
struct Layout {
  Cell cells[kCells];
  uint64_t begin[kBuckets + 1] = {};     // the least value of each bucket
  int bound_bucket[kBounds.size()] = {};  // the last bucket at or below each bound
};
constexpr Layout make_layout() {
  Layout layout;
  uint32_t bucket = 0;
  size_t bound = 0;
  for (int cell = 0; cell < kCells; ++cell) {
    layout.cells[cell].bucket = bucket;
    layout.begin[bucket++] = cell_begin(cell);
    if (bound == kBounds.size() || cell_of(static_cast<uint64_t>(kBounds[bound])) != cell) continue;
    layout.bound_bucket[bound] = static_cast<int>(bucket) - 1;
    layout.cells[cell].split = static_cast<uint64_t>(kBounds[bound++]);
    layout.begin[bucket++] = layout.cells[cell].split + 1;
  }
  layout.begin[bucket] = UINT64_MAX;
  return layout;
}
inline constexpr Layout kLayout = make_layout();
static_assert(kLayout.begin[kBuckets] == UINT64_MAX, "every bound has a cell of its own");

}  // namespace metrics_detail

// What histograms counted, added up.
struct HistogramSnapshot {
  std::array<uint64_t, metrics_detail::kBuckets> buckets{};
  uint64_t sum = 0;  // nanoseconds

  uint64_t count() const;
  // The value that a share `q` (0 … 1) of the records does not exceed, in nanoseconds, within 6 % between 1 µs and 137 s;
  // 0 when there is none.
  Nanos quantile(double q) const;
  void add(const HistogramSnapshot& other);
};

// Durations. Log-linear buckets; about 2 KiB. Written by its shard's thread.
class alignas(64) Histogram {
 public:
  void record(Nanos nanos) {  // below 0 counts as 0
    auto value = nanos < 0 ? 0 : static_cast<uint64_t>(nanos);
    const auto& cell = metrics_detail::kLayout.cells[metrics_detail::cell_of(value)];
    auto& bucket = buckets_[cell.bucket + (value > cell.split)];
    bucket.store(bucket.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    sum_.store(sum_.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
  }
  void add_to(HistogramSnapshot& snapshot) const;

 private:
  friend class Registry;
  std::atomic<uint64_t> sum_{0};
  std::array<std::atomic<uint64_t>, metrics_detail::kBuckets> buckets_{};
};

struct LabelValue {
  std::string_view label;
  std::string_view value;
};

namespace metrics_detail {
struct FamilyState;
}

// All metrics of one process, owned by its processor. Declaring, looking up, retiring and scraping take a lock and may be
// done by any thread; counting takes none.
//
// Label sets come and go with versions. `retire` takes the series of a version out of the exposition, so that a sum of
// rates does not jump, and adds what they counted to a family `…_retired_…` (`kaon_events_retired_total`) without the
// label that was named last: `kaon_events_total` and `kaon_events_retired_total` together are the total since the start.
// Versions are retired by {function, version}; when the function goes too, what is left of it by {function}.
class Registry {
 public:
  // One kind of series of one family; a borrowed handle, cheap to copy, valid as long as the registry.
  template <typename T>
  class Family {
   public:
    // The cell of a shard and label values, in the order of the labels' declaration; made at the first call. Valid until
    // it is retired. Not for the hot path: keep the reference.
    T& at(int shard, std::initializer_list<std::string_view> label_values = {}) const;

   private:
    friend class Registry;
    Family(Registry& registry, metrics_detail::FamilyState& state) : registry_(&registry), state_(&state) {}
    Registry* registry_;
    metrics_detail::FamilyState* state_;
  };

  explicit Registry(int shards);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // `name` as Prometheus has it, with its unit, a counter's ending with `_total`. Declaring a name twice is a bug.
  Family<Counter> counter(std::string_view name, std::string_view help, std::initializer_list<std::string_view> labels = {});
  Family<Gauge> gauge(std::string_view name, std::string_view help, std::initializer_list<std::string_view> labels = {});
  Family<Histogram> histogram(std::string_view name, std::string_view help, std::initializer_list<std::string_view> labels = {});
  // Asked at each scrape, on the scraper's thread, with `context`, which must outlive the registry; NaN leaves it out.
  // `type`: "counter" or "gauge".
  void callback(std::string_view name, std::string_view help, std::string_view type, double (*value)(const void* context),
                const void* context = nullptr);

  // Retires every series that has all of these label values. Nobody may write to them any more. Gauges are dropped.
  void retire(std::span<const LabelValue> labels);
  void retire(std::initializer_list<LabelValue> labels) { retire(std::span(labels.begin(), labels.size())); }

  // Sums over the live series that have all of these label values.
  uint64_t sum(const Family<Counter>& family, std::initializer_list<LabelValue> labels = {}) const;
  int64_t sum(const Family<Gauge>& family, std::initializer_list<LabelValue> labels = {}) const;
  HistogramSnapshot sum(const Family<Histogram>& family, std::initializer_list<LabelValue> labels = {}) const;

  // Appends all of it in Prometheus' text format 0.0.4 (`kContentType`), families without a series left out.
  void write_text(std::string& out) const;
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Shard;
  struct Series;
  friend struct metrics_detail::FamilyState;
  metrics_detail::FamilyState& declare(int type, std::string_view name, std::string_view help,
                                       std::span<const std::string_view> labels);
  void* cell(metrics_detail::FamilyState& family, int shard, std::span<const std::string_view> values);
  void fold(metrics_detail::FamilyState& family, Series& series, std::span<const LabelValue> labels);
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::unique_ptr<metrics_detail::FamilyState>> families_;
};

// The families that every processor has.
struct Families {
  explicit Families(Registry& registry);
  Registry::Family<Counter> events;           // kaon_events_total{function,version,trigger,outcome}
  Registry::Family<Histogram> event_duration;  // kaon_event_duration_seconds{function,version,trigger}
  Registry::Family<Gauge> events_in_flight;   // kaon_events_in_flight{function,version}
  Registry::Family<Histogram> queue_wait;     // kaon_queue_wait_seconds{function,version}
  Registry::Family<Counter> loop_stalls;      // kaon_loop_stalls_total{function}
  Registry::Family<Gauge> http_connections;   // kaon_http_connections
  Registry::Family<Counter> worker_starts;    // kaon_worker_starts_total{function,version}
};

// process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds, process_max_fds and
// process_start_time_seconds of this process, read from /proc at each scrape.
void declare_process_metrics(Registry& registry);

}  // namespace kaon::observe
