#include "processor/shard.h"

#include <algorithm>

namespace kaon::processor {

InFlight::InFlight(loop::Loop& loop) : timer(loop, [this] { version->timed_out(*this); }) {}

VersionShard::VersionShard(Shard& shard, Version& version) : shard_(shard), version_(version) {
  const observe::Families& metrics = shard.metrics();
  int loop = shard.loop().index();
  in_flight_gauge_ = &metrics.events_in_flight.at(loop, {version.function().name, version.digest()});
  queue_wait_ = &metrics.queue_wait.at(loop, {version.function().name, version.digest()});
  worker_starts_ = &metrics.worker_starts.at(loop, {version.function().name, version.digest()});
}

VersionShard::~VersionShard() { KAON_CHECK(in_flight_ == 0, in_flight_); }

Result<void> VersionShard::start_workers(unsigned count) {
  for (unsigned i = static_cast<unsigned>(slots_.size()); i < std::min(count, version_.loop_workers()); ++i) {
    auto slot = std::make_unique<WorkerSlot>();
    observe::Counter& stalls = shard_.metrics().loop_stalls.at(shard_.loop().index(), {version_.function().name});
    runtime::Home home{shard_.loop(), shard_.home().spawner, &stalls};
    KAON_TRY(slot->worker, version_.runtime().start_worker(home));
    worker_starts_->add();
    free_.push_back(*slot);
    slots_.push_back(std::move(slot));
  }
  return {};
}

TriggerMetrics& VersionShard::metrics_of(std::string_view trigger) {
  for (auto& each : metrics_)
    if (each->trigger == trigger) return *each;
  auto made = std::make_unique<TriggerMetrics>();
  const observe::Families& families = shard_.metrics();
  int loop = shard_.loop().index();
  const std::string& function = version_.function().name;
  const std::string& digest = version_.digest();
  std::string name(trigger);
  auto counter = [&](const char* outcome) {
    return &families.events.at(loop, {function, digest, name, outcome});
  };
  made->done = counter("done");
  made->failed = counter("failed");
  made->cancelled = counter("cancelled");
  made->refused = counter("refused");
  made->duration = &families.event_duration.at(loop, {function, digest, name});
  made->trigger = std::move(name);
  metrics_.push_back(std::move(made));
  return *metrics_.back();
}

void VersionShard::refuse(event::Exchange& exchange, TriggerMetrics& metrics, std::string message) {
  metrics.refused->add(1);
  exchange.fail({ErrorCode::kOverloaded, std::move(message)});
  exchange.released();
}

void VersionShard::accept(event::Exchange& exchange, std::string_view trigger) {
  TriggerMetrics& metrics = metrics_of(trigger);
  if (in_flight_ >= version_.loop_in_flight()) {
    refuse(exchange, metrics, "too many events in flight; raise max_in_flight or send more slowly");
    return;
  }
  InFlight& call = shard_.take();
  call.version = this;
  call.metrics = &metrics;
  call.slot = nullptr;
  call.arrived = shard_.loop().now();  // of the wake-up that brought it
  call.deadline = std::min(exchange.event.deadline, call.arrived + version_.function().timeout_ms * kMillisecond);
  exchange.event.deadline = call.deadline;
  call.open(*this, exchange);
  in_flight_gauge_->set(++in_flight_);

  WorkerSlot* slot = waiting_.empty() ? lease() : nullptr;
  if (slot) {
    run(call, *slot);
    return;
  }
  waiting_.push_back(call);
  call.timer.start_at(std::min(call.deadline, call.arrived + version_.function().queue_timeout_ms * kMillisecond));
  if (slots_.empty() && !start_error_.empty()) call.expire({ErrorCode::kInternal, start_error_});
}

WorkerSlot* VersionShard::free_slot() {
  if (WorkerSlot* slot = free_.front()) return slot;
  if (slots_.size() >= version_.loop_workers()) return nullptr;
  if (auto started = start_workers(static_cast<unsigned>(slots_.size()) + 1); !started) {
    start_error_ = std::move(started).error().message;
    version_.log().write(observe::Level::kError, "a worker did not start", {{"error", std::string_view(start_error_)}});
    return nullptr;
  }
  start_error_.clear();
  return free_.front();
}

WorkerSlot* VersionShard::lease() {
  Permits* permits = version_.permits();
  WorkerSlot* slot = free_slot();
  if (!slot) return nullptr;
  if (permits && !permits->acquire_or_wait(shard_.loop().index())) return nullptr;
  ++slot->active;
  if (version_.concurrency() != 0 && slot->active >= version_.concurrency()) slot->unlink();
  return slot;
}

void VersionShard::give_back(WorkerSlot& slot) {
  --slot.active;
  if (!slot.linked()) free_.push_front(slot);
  if (version_.permits()) wake_peer(version_.permits()->release());
}

void VersionShard::run(InFlight& call, WorkerSlot& slot) {
  call.slot = &slot;
  running_.push_back(call);
  uint32_t generation = call.generation;
  try {
    slot.worker->handle(call);
  } catch (const std::exception& bug) {
    version_.log().write(observe::Level::kError, "a bug while an event was handled", {{"error", std::string_view(bug.what())}});
    if (call.generation == generation) {
      call.fail({ErrorCode::kInternal, bug.what()});
      call.release();
    }
  }
  if (call.generation == generation && !call.settled() && call.deadline != kNever) call.timer.start_at(call.deadline);
}

void VersionShard::run_waiting() {
  if (running_waiting_) return;  // a worker that answers at once releases inside `run`
  running_waiting_ = true;
  while (!waiting_.empty()) {
    WorkerSlot* slot = lease();
    if (!slot) break;
    InFlight& call = *waiting_.pop_front();
    call.timer.stop();
    queue_wait_->record(monotonic_ns() - call.arrived);
    run(call, *slot);
  }
  running_waiting_ = false;
  if (waiting_.empty() && version_.permits()) wake_peer(version_.permits()->pass_on());
}

void VersionShard::wake_peer(int loop) {
  if (loop >= 0 && loop != shard_.loop().index()) shard_.wake_peer(loop);
}

void VersionShard::timed_out(InFlight& call) {
  if (call.slot || monotonic_ns() >= call.deadline) {
    call.expire({ErrorCode::kTimeout, "the function did not answer in time; raise timeout_ms or make it faster"});
    return;
  }
  call.expire({ErrorCode::kOverloaded, "no worker came free within queue_timeout_ms; raise workers.max or send more slowly"});
}

void VersionShard::on_settled(event::Call& base) {
  auto& call = static_cast<InFlight&>(base);
  call.timer.stop();
  switch (call.outcome()) {
    case event::Outcome::kDone: call.metrics->done->add(1); break;
    case event::Outcome::kFailed:
      (!call.slot && call.why()->code == ErrorCode::kOverloaded ? call.metrics->refused : call.metrics->failed)->add(1);
      if (call.slot) log_failure(call);
      break;
    default: call.metrics->cancelled->add(1);
  }
  call.metrics->duration->record(monotonic_ns() - call.arrived);
  if (!call.slot) call.release();  // it never reached a worker: nobody else will
}

void VersionShard::log_failure(const InFlight& call) const {
  const observe::Log& log = version_.log();
  if (!log.enabled(observe::Level::kWarning)) return;
  const observe::Field fields[] = {{"trigger", std::string_view(call.metrics->trigger)},
                                   {"error", error_row(call.why()->code).label},
                                   {"reason", std::string_view(call.why()->message)}};
  log.write_event(observe::Level::kWarning, call.event().id, "the event failed", fields);
}

void VersionShard::on_released(event::Call& base) {
  auto& call = static_cast<InFlight&>(base);
  call.unlink();
  ++call.generation;
  WorkerSlot* slot = call.slot;
  shard_.give(call);
  in_flight_gauge_->set(--in_flight_);
  if (slot) give_back(*slot);
  if (!waiting_.empty()) run_waiting();
  if (in_flight_ == 0 && when_idle_) shard_.loop().post(std::exchange(when_idle_, nullptr));
}

void VersionShard::when_idle(std::function<void()> then) {
  if (in_flight_ == 0) shard_.loop().post(std::move(then));
  else when_idle_ = std::move(then);
}

void VersionShard::cancel_all(const Error& why) {
  // Each leaves the list as it is settled, and the next may find a free worker and run.
  while (InFlight* call = waiting_.front()) call->expire(why);
  std::vector<InFlight*> running;
  running_.for_each([&](InFlight& call) { running.push_back(&call); });
  for (InFlight* call : running)
    if (call->version == this && call->slot) call->expire(why);
}

void TriggerIntake::offer(event::Exchange& exchange) {
  exchange.event.trigger = name_;
  VersionShard* version = function_.pick();
  if (version) {
    version->accept(exchange, name_);
    return;
  }
  exchange.fail({ErrorCode::kOverloaded, "function " + function_.name() + " has no live version"});
  exchange.released();
}

VersionShard& FunctionShard::add_version(std::unique_ptr<VersionShard> version) {
  versions_.push_back(std::move(version));
  return *versions_.back();
}

void FunctionShard::set_shares(std::vector<Share> shares, std::function<void(Version&)> left) {
  shares_ = std::move(shares);
  for (auto& version : versions_) {
    bool live = std::any_of(shares_.begin(), shares_.end(), [&](const Share& share) { return share.version == version.get(); });
    if (live || std::exchange(version->leaving_, true)) continue;
    version->when_idle([this, gone = version.get(), left] {
      Version& shared = gone->version();
      std::erase_if(versions_, [&](const auto& each) { return each.get() == gone; });
      left(shared);
    });
  }
}

void FunctionShard::withdraw(VersionShard& version, std::function<void(Version&)> left) {
  std::vector<Share> others = shares_;
  std::erase_if(others, [&](const Share& share) { return share.version == &version; });
  set_shares(std::move(others), std::move(left));
}

VersionShard* FunctionShard::pick() {
  if (shares_.size() == 1) return shares_.front().version;
  // 61 and 100 are coprime: a hundred turns visit each point once, spread evenly, so the split is exact per hundred.
  unsigned point = (turn_++ % 100) * 61 % 100;
  for (const Share& share : shares_) {
    if (point < share.weight) return share.version;
    point -= share.weight;
  }
  return shares_.empty() ? nullptr : shares_.back().version;
}

VersionShard* FunctionShard::find(const Version& version) {
  for (auto& each : versions_)
    if (&each->version() == &version) return each.get();
  return nullptr;
}

TriggerIntake& FunctionShard::intake(std::string_view trigger) {
  for (auto& each : intakes_)
    if (each->name() == trigger) return *each;
  return *intakes_.emplace_back(std::make_unique<TriggerIntake>(*this, std::string(trigger)));
}

unsigned FunctionShard::in_flight() const {
  unsigned sum = 0;
  for (auto& version : versions_) sum += version->in_flight();
  return sum;
}

void FunctionShard::run_waiting() {
  for (auto& version : versions_) version->run_waiting();
}

void FunctionShard::cancel_all(const Error& why) {
  for (auto& version : versions_) version->cancel_all(why);
}

Shard::Shard(loop::Loop& loop, runtime::Spawner& spawner, const observe::Families& metrics)
    : home_{loop, spawner}, metrics_(metrics), wake_(*this) {}

Shard::~Shard() {
  hosts_.clear();  // connections first: they may hold calls of the functions
  functions_.clear();
}

FunctionShard& Shard::function(std::string_view name) {
  for (auto& each : functions_)
    if (each->name() == name) return *each;
  return *functions_.emplace_back(std::make_unique<FunctionShard>(*this, std::string(name)));
}

Result<void> Shard::add_trigger(const trigger::Component& component, const trigger::Home& home, const config::Trigger& trigger,
                                TriggerIntake& intake) {
  auto found = std::find_if(hosts_.begin(), hosts_.end(), [&](const KindHost& each) { return each.component == &component; });
  if (found == hosts_.end()) found = hosts_.insert(found, {&component, component.host(home)});
  return found->host->add(trigger, intake);
}

void Shard::stop_intake() {
  for (KindHost& each : hosts_) each.host->stop_intake();
}

unsigned Shard::in_flight() const {
  unsigned sum = 0;
  for (auto& function : functions_) sum += function->in_flight();
  return sum;
}

bool Shard::drained() const {
  return in_flight() == 0 && std::all_of(hosts_.begin(), hosts_.end(), [](const KindHost& each) { return each.host->drained(); });
}

void Shard::wake() {
  if (!wake_.posted.exchange(true, std::memory_order_acq_rel)) loop().post(wake_);
}

void Shard::Wake::deliver() {
  posted.store(false, std::memory_order_release);
  for (auto& function : shard.functions_) function->run_waiting();
}

void Shard::cancel_all(const Error& why) {
  for (auto& function : functions_) function->cancel_all(why);
}

InFlight& Shard::take() {
  if (free_calls_.empty()) {
    calls_.push_back(std::make_unique<InFlight>(home_.loop));
    free_calls_.reserve(calls_.size());
    return *calls_.back();
  }
  InFlight* call = free_calls_.back();
  free_calls_.pop_back();
  return *call;
}

void Shard::give(InFlight& call) { free_calls_.push_back(&call); }

}  // namespace kaon::processor
