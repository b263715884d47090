#pragma once
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "observe/metrics.h"
#include "processor/shard.h"

namespace kaon::processor {

// What one loop is given besides its thread.
struct LoopParts {
  std::unique_ptr<loop::Loop> loop;
  std::unique_ptr<runtime::Spawner> spawner;
  std::function<Result<int>(std::string_view address)> listener;
};

struct VersionState {
  std::string digest;
  unsigned weight;  // 0: it finishes what it has, and goes
  int64_t in_flight;
  uint64_t events;  // settled in any way
  uint64_t failed;
  Nanos p50, p99;  // of their durations
};

struct FunctionState {
  std::string name;
  std::string runtime;
  std::vector<VersionState> versions;
  std::vector<std::string> addresses;
};

// Everything between the sources and the workers: one loop for each thread, a Shard on each. Its home is loop 0, which
// is run by the thread that calls `run`.
class Processor {
 public:
  Processor(std::vector<LoopParts> loops, std::span<const runtime::Component* const> runtimes,
            std::span<const trigger::Component* const> triggers, observe::Registry& registry, const observe::Families& metrics, observe::Log log);
  ~Processor();

  loop::Loop& home() { return *loops_.front().loop; }
  unsigned loops() const { return static_cast<unsigned>(loops_.size()); }
  Shard& shard(unsigned loop) { return *shards_[loop]; }
  const observe::ProcessorId& id() const { return id_; }

  // Runs all loops until `shut_down` is through.
  void run();

  // --- on the home loop ---
  using Then = std::function<void(Result<void>)>;
  // Loads a version and gives it all the events of its function once its workers stand on every loop; versions before it
  // finish what they have and leave. When it cannot be started nothing changes; nor when it is live already. Triggers that
  // the function has already keep running, and must be the same in the new version: kUnimplemented.
  void deploy(config::Function function, std::string digest, std::string folder, Then then);
  std::vector<FunctionState> functions() const;
  bool ready() const { return ready_ && !stopping_; }
  // Stops the intake, waits until what is in flight is settled or `deadline` has passed, fails the rest, and lets `run`
  // return.
  void shut_down(Nanos deadline);
  // After `run`: a worker has still not let go of an event. This object must then not be destroyed: end the process.
  bool stuck() const { return stuck_; }

 private:
  struct Deployed {
    std::unique_ptr<Version> version;
    unsigned weight = 0;
    unsigned loops_left = 0;  // that still have it
  };
  struct FunctionEntry {
    std::string name;
    std::vector<Deployed> versions;
    std::vector<config::Trigger> triggers;
    std::vector<std::string> addresses;
  };
  // Runs `step` on every loop and then `then`, with the first error, on the home loop.
  void on_each_loop(std::function<Result<void>(Shard&)> step, Then then);
  Result<void> install(Shard& shard, Version& version, const std::vector<config::Trigger>& triggers);
  Result<std::vector<config::Trigger>> new_triggers(const FunctionEntry& deployed, const config::Function& function) const;
  void shift(FunctionEntry& entry, Version& version, Then then);
  void withdraw(FunctionEntry& entry, Version& version);
  void version_left(Version& version);
  FunctionEntry& entry(const std::string& name);
  void watch_drain(Nanos deadline);
  void finish();

  observe::Registry& registry_;
  const observe::Families& metrics_;
  observe::Log log_;
  std::span<const runtime::Component* const> runtimes_;
  std::span<const trigger::Component* const> triggers_;
  std::vector<LoopParts> loops_;
  std::vector<std::unique_ptr<FunctionEntry>> functions_;  // versions outlive the shards
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<Shard*> peers_;
  std::vector<std::thread> threads_;
  std::unique_ptr<loop::Timer> drain_timer_;
  observe::ProcessorId id_ = observe::ProcessorId::random();
  Nanos drain_end_ = 0;
  bool ready_ = false;
  bool stuck_ = false;
  bool stopping_ = false;
};

}  // namespace kaon::processor
