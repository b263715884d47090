#include "observe/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace kaon::observe {

using metrics_detail::FamilyState;
using metrics_detail::kBounds;
using metrics_detail::kBuckets;
using metrics_detail::kLayout;

namespace {

enum Type : int { kCounter, kGauge, kHistogram };
constexpr std::string_view kTypes[] = {"counter", "gauge", "histogram"};

bool valid_name(std::string_view name, bool colon) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (colon && c == ':');
  });
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  while (!text.empty()) {
    size_t length = utf8_length(text);
    if (text[0] == '\\') out += "\\\\";
    else if (text[0] == '\n') out += "\\n";
    else if (text[0] == '"' && quotes) out += "\\\"";
    else if (length == 0) out += "\xef\xbf\xbd";  // Prometheus refuses the whole page over one bad byte
    else out += text.substr(0, length);
    text.remove_prefix(length ? length : 1);
  }
}

template <typename T>
void append_number(std::string& out, T number) {
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
}

void append_double(std::string& out, double number) {
  if (std::isnan(number)) out += "NaN";
  else if (std::isinf(number)) out += number < 0 ? "-Inf" : "+Inf";
  else append_number(out, number);
}

// Nanoseconds as seconds, exact.
void append_seconds(std::string& out, uint64_t nanos) {
  append_number(out, nanos / kSecond);
  auto rest = nanos % kSecond;
  if (rest == 0) return;
  char text[10] = {'.'};
  for (int i = 9; i > 0; --i, rest /= 10) text[i] = static_cast<char>('0' + rest % 10);
  size_t size = sizeof text;
  while (text[size - 1] == '0') --size;
  out.append(text, size);
}

// kaon_events_total → kaon_events_retired_total
std::string retired_name(std::string_view name) {
  size_t last = name.rfind('_');
  if (last == name.npos) return std::string(name) + "_retired";
  return std::string(name.substr(0, last)) + "_retired" + std::string(name.substr(last));
}

}  // namespace

// The memory of one shard's cells. A block of counters has its cache lines for itself, so that no other shard's thread
// writes into them.
struct Registry::Shard {
  static constexpr size_t kPerBlock = 64;
  struct alignas(64) Block {
    std::array<std::atomic<uint64_t>, kPerBlock> words{};
  };
  static_assert(sizeof(Counter) == 8 && sizeof(Gauge) == 8);

  void* take_word() {
    if (free_words.empty()) {
      blocks.push_back(std::make_unique<Block>());
      for (size_t i = kPerBlock; i-- > 0;) free_words.push_back(&blocks.back()->words[i]);
    }
    void* word = free_words.back();
    free_words.pop_back();
    return word;
  }
  void give_word(void* word) { free_words.push_back(word); }

  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<void*> free_words;
};

struct Registry::Series {
  std::vector<std::string> values;  // of the labels
  std::vector<void*> cells;         // for each shard; null until looked up
  bool has(const FamilyState& family, std::span<const LabelValue> labels) const;
};

struct metrics_detail::FamilyState {
  int type;
  std::string name;
  std::string help;
  std::string text_type;
  std::vector<std::string> labels;
  std::vector<Registry::Series> series;
  // What was retired, by the labels that were left; a counter's value is `sum`.
  struct Retired {
    std::vector<std::pair<std::string, std::string>> labels;
    std::unique_ptr<HistogramSnapshot> snapshot;
  };
  std::vector<Retired> retired;
  double (*callback)(const void*) = nullptr;
  const void* context = nullptr;

  void add_retired(std::vector<std::pair<std::string, std::string>> left, const HistogramSnapshot& sum);
  void retire_retired(std::span<const LabelValue> wanted);

  void write(std::string& out) const;
  void write_retired(std::string& out) const;
};

bool Registry::Series::has(const FamilyState& family, std::span<const LabelValue> wanted) const {
  return std::all_of(wanted.begin(), wanted.end(), [&](const LabelValue& want) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (family.labels[i] == want.label) return values[i] == want.value;
    }
    return false;
  });
}

void Histogram::add_to(HistogramSnapshot& snapshot) const {
  for (size_t i = 0; i < buckets_.size(); ++i) snapshot.buckets[i] += buckets_[i].load(std::memory_order_relaxed);
  snapshot.sum += sum_.load(std::memory_order_relaxed);
}

uint64_t HistogramSnapshot::count() const {
  uint64_t sum = 0;
  for (uint64_t n : buckets) sum += n;
  return sum;
}

void HistogramSnapshot::add(const HistogramSnapshot& other) {
  for (size_t i = 0; i < buckets.size(); ++i) buckets[i] += other.buckets[i];
  sum += other.sum;
}

Nanos HistogramSnapshot::quantile(double q) const {
  uint64_t total = count();
  if (total == 0) return 0;
  auto rank = static_cast<uint64_t>(std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(total)));
  rank = std::clamp<uint64_t>(rank, 1, total);
  uint64_t seen = 0;
  size_t bucket = 0;
  while (bucket + 1 < buckets.size() && (seen += buckets[bucket]) < rank) ++bucket;
  uint64_t low = kLayout.begin[bucket];
  if (bucket == 0 || bucket + 1 == buckets.size()) return static_cast<Nanos>(bucket == 0 ? kMicrosecond : low);
  // The harmonic mean of the ends has the least relative error: (1/8) / (2 + 1/8) = 5.9 % at worst.
  auto a = static_cast<double>(low);
  auto b = static_cast<double>(kLayout.begin[bucket + 1]);
  return static_cast<Nanos>(2 * a * b / (a + b));
}

Registry::Registry(int shards) {
  KAON_CHECK(shards > 0, shards);
  for (int i = 0; i < shards; ++i) shards_.push_back(std::make_unique<Shard>());
}

Registry::~Registry() {
  for (auto& family : families_) {
    if (family->type != kHistogram) continue;
    for (Series& series : family->series) {
      for (void* cell : series.cells) delete static_cast<Histogram*>(cell);
    }
  }
}

FamilyState& Registry::declare(int type, std::string_view name, std::string_view help, std::span<const std::string_view> labels) {
  KAON_CHECK(valid_name(name, true), name);
  for (auto label : labels) KAON_CHECK(valid_name(label, false) && !label.starts_with("__") && label != "le", label);
  std::lock_guard lock(mutex_);
  for (auto& family : families_) KAON_CHECK(family->name != name && retired_name(family->name) != name, name);
  auto family = std::make_unique<FamilyState>();
  family->type = type;
  family->name = name;
  family->help = help;
  family->text_type = kTypes[type];
  family->labels.assign(labels.begin(), labels.end());
  families_.push_back(std::move(family));
  return *families_.back();
}

Registry::Family<Counter> Registry::counter(std::string_view name, std::string_view help,
                                            std::initializer_list<std::string_view> labels) {
  return {*this, declare(kCounter, name, help, labels)};
}
Registry::Family<Gauge> Registry::gauge(std::string_view name, std::string_view help,
                                        std::initializer_list<std::string_view> labels) {
  return {*this, declare(kGauge, name, help, labels)};
}
Registry::Family<Histogram> Registry::histogram(std::string_view name, std::string_view help,
                                                std::initializer_list<std::string_view> labels) {
  return {*this, declare(kHistogram, name, help, labels)};
}

void Registry::callback(std::string_view name, std::string_view help, std::string_view type, double (*value)(const void*),
                        const void* context) {
  KAON_CHECK(type == "counter" || type == "gauge", type);
  FamilyState& family = declare(kGauge, name, help, {});
  std::lock_guard lock(mutex_);
  family.text_type = type;
  family.callback = value;
  family.context = context;
}

void* Registry::cell(FamilyState& family, int shard, std::span<const std::string_view> values) {
  KAON_CHECK(values.size() == family.labels.size(), family.name, values.size());
  KAON_CHECK(shard >= 0 && static_cast<size_t>(shard) < shards_.size(), shard);
  std::lock_guard lock(mutex_);
  auto found = std::find_if(family.series.begin(), family.series.end(), [&](const Series& series) {
    return std::equal(series.values.begin(), series.values.end(), values.begin(), values.end());
  });
  if (found == family.series.end()) {
    Series series;
    series.values.assign(values.begin(), values.end());
    series.cells.resize(shards_.size());
    found = family.series.insert(found, std::move(series));
  }
  void*& cell = found->cells[static_cast<size_t>(shard)];
  if (cell) return cell;
  if (family.type == kCounter) return cell = new (shards_[static_cast<size_t>(shard)]->take_word()) Counter();
  if (family.type == kGauge) return cell = new (shards_[static_cast<size_t>(shard)]->take_word()) Gauge();
  return cell = new Histogram();
}

template <typename T>
T& Registry::Family<T>::at(int shard, std::initializer_list<std::string_view> label_values) const {
  return *static_cast<T*>(registry_->cell(*state_, shard, label_values));
}
template class Registry::Family<Counter>;
template class Registry::Family<Gauge>;
template class Registry::Family<Histogram>;

void Registry::fold(FamilyState& family, Series& series, std::span<const LabelValue> labels) {
  HistogramSnapshot sum;
  for (size_t i = 0; i < series.cells.size(); ++i) {
    void* cell = series.cells[i];
    if (!cell) continue;
    if (family.type == kHistogram) {
      static_cast<Histogram*>(cell)->add_to(sum);
      delete static_cast<Histogram*>(cell);
    } else {
      if (family.type == kCounter) sum.sum += static_cast<Counter*>(cell)->value();
      shards_[i]->give_word(cell);
    }
  }
  if (family.type == kGauge) return;
  std::vector<std::pair<std::string, std::string>> left;
  for (size_t i = 0; i < series.values.size(); ++i) {
    if (family.labels[i] != labels.back().label) left.emplace_back(family.labels[i], series.values[i]);
  }
  family.add_retired(std::move(left), sum);
}

void FamilyState::add_retired(std::vector<std::pair<std::string, std::string>> left, const HistogramSnapshot& sum) {
  auto found = std::find_if(retired.begin(), retired.end(), [&](auto& one) { return one.labels == left; });
  if (found == retired.end()) found = retired.insert(found, {std::move(left), std::make_unique<HistogramSnapshot>()});
  found->snapshot->add(sum);
}

void FamilyState::retire_retired(std::span<const LabelValue> wanted) {
  std::vector<Retired> all = std::exchange(retired, {});
  for (Retired& one : all) {
    bool matches = std::all_of(wanted.begin(), wanted.end(), [&](const LabelValue& want) {
      return std::any_of(one.labels.begin(), one.labels.end(),
                         [&](auto& label) { return label.first == want.label && label.second == want.value; });
    });
    if (matches) std::erase_if(one.labels, [&](auto& label) { return label.first == wanted.back().label; });
    add_retired(std::move(one.labels), *one.snapshot);
  }
}

void Registry::retire(std::span<const LabelValue> labels) {
  if (labels.empty()) return;
  std::lock_guard lock(mutex_);
  for (auto& family : families_) {
    std::erase_if(family->series, [&](Series& series) {
      if (!series.has(*family, labels)) return false;
      fold(*family, series, labels);
      return true;
    });
    family->retire_retired(labels);
  }
}

uint64_t Registry::sum(const Family<Counter>& family, std::initializer_list<LabelValue> labels) const {
  std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (const Series& series : family.state_->series) {
    if (!series.has(*family.state_, labels)) continue;
    for (void* cell : series.cells) sum += cell ? static_cast<Counter*>(cell)->value() : 0;
  }
  return sum;
}

int64_t Registry::sum(const Family<Gauge>& family, std::initializer_list<LabelValue> labels) const {
  std::lock_guard lock(mutex_);
  int64_t sum = 0;
  for (const Series& series : family.state_->series) {
    if (!series.has(*family.state_, labels)) continue;
    for (void* cell : series.cells) sum += cell ? static_cast<Gauge*>(cell)->value() : 0;
  }
  return sum;
}

HistogramSnapshot Registry::sum(const Family<Histogram>& family, std::initializer_list<LabelValue> labels) const {
  std::lock_guard lock(mutex_);
  HistogramSnapshot sum;
  for (const Series& series : family.state_->series) {
    if (!series.has(*family.state_, labels)) continue;
    for (void* cell : series.cells) {
      if (cell) static_cast<Histogram*>(cell)->add_to(sum);
    }
  }
  return sum;
}

namespace {

void write_head(std::string& out, std::string_view name, std::string_view help, std::string_view type) {
  out += "# HELP ";
  out += name;
  out += ' ';
  append_escaped(out, help, false);
  out += "\n# TYPE ";
  out += name;
  out += ' ';
  out += type;
  out += '\n';
}

// `labels` is already encoded, without braces.
void write_name(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels) {
  out += name;
  out += suffix;
  if (!labels.empty()) {
    out += '{';
    out += labels;
    out += '}';
  }
  out += ' ';
}

void write_histogram(std::string& out, std::string_view name, std::string_view labels, const HistogramSnapshot& snapshot) {
  uint64_t seen = 0;
  int bucket = 0;
  auto line = [&](auto bound) {
    out += name;
    out += "_bucket{";
    out += labels;
    if (!labels.empty()) out += ',';
    out += "le=\"";
    bound();
    out += "\"} ";
    append_number(out, seen);
    out += '\n';
  };
  for (size_t i = 0; i < kBounds.size(); ++i) {
    while (bucket <= kLayout.bound_bucket[i]) seen += snapshot.buckets[static_cast<size_t>(bucket++)];
    line([&] { append_seconds(out, static_cast<uint64_t>(kBounds[i])); });
  }
  while (bucket < kBuckets) seen += snapshot.buckets[static_cast<size_t>(bucket++)];
  line([&] { out += "+Inf"; });
  write_name(out, name, "_sum", labels);
  append_seconds(out, snapshot.sum);
  out += '\n';
  write_name(out, name, "_count", labels);
  append_number(out, seen);
  out += '\n';
}

void append_label(std::string& out, std::string_view label, std::string_view value) {
  if (!out.empty()) out += ',';
  out += label;
  out += "=\"";
  append_escaped(out, value, true);
  out += '"';
}

}  // namespace

void FamilyState::write(std::string& out) const {
  if (callback) {
    double value = callback(context);
    if (std::isnan(value)) return;
    write_head(out, name, help, text_type);
    write_name(out, name, "", "");
    append_double(out, value);
    out += '\n';
    return;
  }
  if (series.empty()) return;
  write_head(out, name, help, text_type);
  std::string encoded;
  for (const auto& one : series) {
    encoded.clear();
    for (size_t i = 0; i < labels.size(); ++i) append_label(encoded, labels[i], one.values[i]);
    if (type == kHistogram) {
      HistogramSnapshot sum;
      for (void* cell : one.cells) {
        if (cell) static_cast<Histogram*>(cell)->add_to(sum);
      }
      write_histogram(out, name, encoded, sum);
      continue;
    }
    write_name(out, name, "", encoded);
    if (type == kCounter) {
      uint64_t sum = 0;
      for (void* cell : one.cells) sum += cell ? static_cast<Counter*>(cell)->value() : 0;
      append_number(out, sum);
    } else {
      int64_t sum = 0;
      for (void* cell : one.cells) sum += cell ? static_cast<Gauge*>(cell)->value() : 0;
      append_number(out, sum);
    }
    out += '\n';
  }
}

void FamilyState::write_retired(std::string& out) const {
  if (retired.empty()) return;
  std::string own_name = retired_name(name);
  write_head(out, own_name, "The part of " + name + " that label sets counted which are gone.", text_type);
  std::string encoded;
  for (const Retired& one : retired) {
    encoded.clear();
    for (auto& [label, value] : one.labels) append_label(encoded, label, value);
    if (type == kHistogram) {
      write_histogram(out, own_name, encoded, *one.snapshot);
      continue;
    }
    write_name(out, own_name, "", encoded);
    append_number(out, one.snapshot->sum);
    out += '\n';
  }
}

void Registry::write_text(std::string& out) const {
  std::lock_guard lock(mutex_);
  for (auto& family : families_) {
    family->write(out);
    family->write_retired(out);
  }
}

Families::Families(Registry& registry)
    : events(registry.counter("kaon_events_total", "Events that were settled, by outcome.",
                              {"function", "version", "trigger", "outcome"})),
      event_duration(registry.histogram("kaon_event_duration_seconds", "From an event's arrival to its settlement.",
                                        {"function", "version", "trigger"})),
      events_in_flight(registry.gauge("kaon_events_in_flight", "Events that have arrived and are not settled.",
                                      {"function", "version"})),
      queue_wait(registry.histogram("kaon_queue_wait_seconds", "From an event's arrival to the lease of a worker.",
                                    {"function", "version"})),
      loop_stalls(registry.counter("kaon_loop_stalls_total", "Times that a function held its event loop for over 10 ms.",
                                   {"function"})),
      http_connections(registry.gauge("kaon_http_connections", "Open HTTP connections.")),
      worker_starts(registry.counter("kaon_worker_starts_total", "Workers started.", {"function", "version"})) {}

}  // namespace kaon::observe
