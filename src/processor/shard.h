#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/list.h"
#include "observe/metrics.h"
#include "processor/in_flight.h"
#include "processor/version.h"
#include "runtime/component.h"
#include "trigger/component.h"

namespace kaon::processor {

class Shard;
class FunctionShard;

// The counters of one version and trigger on one loop.
struct TriggerMetrics {
  std::string trigger;
  observe::Counter* done = nullptr;
  observe::Counter* failed = nullptr;
  observe::Counter* cancelled = nullptr;
  observe::Counter* refused = nullptr;
  observe::Histogram* duration = nullptr;
};

// One version on one loop: its workers, the events they have, and those that wait for one.
class VersionShard final : public event::Call::Owner {
 public:
  VersionShard(Shard& shard, Version& version);
  ~VersionShard();

  Version& version() { return version_; }
  // Starts workers ahead of the first event: `count` of them.
  Result<void> start_workers(unsigned count);
  void accept(event::Exchange& exchange, std::string_view trigger);
  unsigned in_flight() const { return in_flight_; }
  // Calls back once, from the loop, when nothing is in flight (at once when that is so now).
  void when_idle(std::function<void()> then);
  // Fails what waits and tells the workers to stop.
  void cancel_all(const Error& why);

  void on_settled(event::Call& call) override;
  void on_released(event::Call& call) override;

 private:
  TriggerMetrics& metrics_of(std::string_view trigger);
  WorkerSlot* free_slot();
  WorkerSlot* lease();  // null: this loop is woken when there is one
  void give_back(WorkerSlot& slot);
  void run(InFlight& call, WorkerSlot& slot);
  void run_waiting();
  void wake_peer(int loop);  // of another loop that waits for a permit; -1: none
  void timed_out(InFlight& call);
  void log_failure(const InFlight& call) const;
  static void refuse(event::Exchange& exchange, TriggerMetrics& metrics, std::string message);

  friend class InFlight;
  friend class FunctionShard;
  Shard& shard_;
  Version& version_;
  std::vector<std::unique_ptr<WorkerSlot>> slots_;
  List<WorkerSlot> free_;      // the last used first: its memory is warm, and the others grow idle
  List<InFlight> waiting_;     // no worker yet
  List<InFlight> running_;
  std::vector<std::unique_ptr<TriggerMetrics>> metrics_;
  observe::Gauge* in_flight_gauge_;
  observe::Histogram* queue_wait_;
  observe::Counter* worker_starts_;
  unsigned in_flight_ = 0;
  bool running_waiting_ = false;
  std::function<void()> when_idle_;
  std::string start_error_;
  bool leaving_ = false;
};

struct Share {
  VersionShard* version;
  unsigned weight;  // of 100
};

// A function's trigger on one loop: gives each event to a version, by weight.
class TriggerIntake final : public event::Intake {
 public:
  TriggerIntake(FunctionShard& function, std::string name) : function_(function), name_(std::move(name)) {}
  void offer(event::Exchange& exchange) override;
  const std::string& name() const { return name_; }

 private:
  FunctionShard& function_;
  std::string name_;
};

// One function on one loop: its triggers and its live versions with their weights.
class FunctionShard {
 public:
  FunctionShard(Shard& shard, std::string name) : shard_(shard), name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  VersionShard& add_version(std::unique_ptr<VersionShard> version);
  // Weights sum to 100. A version that is not named gets no event from here on, and goes when it is idle: `left` is
  // told, on this loop.
  void set_shares(std::vector<Share> shares, std::function<void(Version&)> left);
  // Takes back a version that has not become live everywhere.
  void withdraw(VersionShard& version, std::function<void(Version&)> left);
  VersionShard* pick();
  VersionShard* find(const Version& version);
  TriggerIntake& intake(std::string_view trigger);
  unsigned in_flight() const;
  void run_waiting();
  void cancel_all(const Error& why);

 private:
  Shard& shard_;
  std::string name_;
  std::vector<std::unique_ptr<VersionShard>> versions_;
  std::vector<Share> shares_;
  std::vector<std::unique_ptr<TriggerIntake>> intakes_;
  unsigned turn_ = 0;
};

// The processor on one loop: everything here is at home on that loop.
class Shard {
 public:
  Shard(loop::Loop& loop, runtime::Spawner& spawner, const observe::Families& metrics);
  ~Shard();

  loop::Loop& loop() { return home_.loop; }
  runtime::Home& home() { return home_; }
  const observe::Families& metrics() const { return metrics_; }
  FunctionShard& function(std::string_view name);  // made when it is not there
  // Adds a trigger of a function; `intake` says which.
  Result<void> add_trigger(const trigger::Component& component, const trigger::Home& home, const config::Trigger& trigger,
                           TriggerIntake& intake);
  void stop_intake();
  unsigned in_flight() const;
  bool drained() const;  // nothing in flight, nothing settled on its way out
  void cancel_all(const Error& why);

  InFlight& take();
  void give(InFlight& call);

  // The shards of all loops, by index; set before events come.
  void set_peers(std::span<Shard* const> peers) { peers_ = peers; }
  // A permit has come free that the loop with this index waits for. Wakes it; allocates nothing.
  void wake_peer(int loop) { peers_[static_cast<size_t>(loop)]->wake(); }

 private:
  struct Wake final : loop::Message {
    explicit Wake(Shard& shard) : shard(shard) {}
    void deliver() override;
    Shard& shard;
    std::atomic<bool> posted{false};
  };
  void wake();  // any thread
  runtime::Home home_;
  const observe::Families& metrics_;
  std::vector<std::unique_ptr<InFlight>> calls_;
  std::vector<InFlight*> free_calls_;
  std::vector<std::unique_ptr<FunctionShard>> functions_;
  struct KindHost {
    const trigger::Component* component;
    std::unique_ptr<trigger::Host> host;
  };
  std::vector<KindHost> hosts_;
  std::span<Shard* const> peers_;
  Wake wake_;
};

}  // namespace kaon::processor
