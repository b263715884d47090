#include "processor/processor.h"

#include <algorithm>

#include "runtime/spawner.h"

namespace kaon::processor {
namespace {

constexpr Nanos kDrainLook = 5 * kMillisecond;
constexpr Nanos kTerminateGrace = kSecond;

}  // namespace

Processor::Processor(std::vector<LoopParts> loops, std::span<const runtime::Component* const> runtimes,
                     std::span<const trigger::Component* const> triggers, observe::Registry& registry,
                     const observe::Families& metrics, observe::Log log)
    : registry_(registry), metrics_(metrics), log_(std::move(log)), runtimes_(runtimes), triggers_(triggers), loops_(std::move(loops)) {
  for (LoopParts& parts : loops_) {
    shards_.push_back(std::make_unique<Shard>(*parts.loop, *parts.spawner, metrics_));
    peers_.push_back(shards_.back().get());
  }
  for (auto& shard : shards_) shard->set_peers(peers_);
}

Processor::~Processor() {
  drain_timer_.reset();
  shards_.clear();
  functions_.clear();
}

void Processor::run() {
  for (size_t i = 1; i < loops_.size(); ++i)
    threads_.emplace_back([this, i] {
      try {
        loops_[i].loop->run();
      } catch (const std::exception& bug) {
        log_.write(observe::Level::kError, "a loop ended by a bug", {{"error", std::string_view(bug.what())}});
        std::abort();  // the keeper starts a new processor
      }
    });
  home().run();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Processor::on_each_loop(std::function<Result<void>(Shard&)> step, Then then) {
  struct Gather {
    std::function<Result<void>(Shard&)> step;
    Then then;
    size_t left;
    Result<void> result;
  };
  auto gather = std::make_shared<Gather>(Gather{std::move(step), std::move(then), shards_.size(), {}});
  for (auto& shard : shards_)
    shard->loop().post([this, gather, shard = shard.get()] {
      Result<void> result = gather->step(*shard);
      home().post([gather, result = std::move(result)] {
        if (!result && gather->result) gather->result = result;
        if (--gather->left == 0) gather->then(std::move(gather->result));
      });
    });
}

Processor::FunctionEntry& Processor::entry(const std::string& name) {
  for (auto& each : functions_)
    if (each->name == name) return *each;
  return *functions_.emplace_back(std::make_unique<FunctionEntry>(FunctionEntry{name, {}, {}, {}}));
}

Result<void> Processor::install(Shard& shard, Version& version, const std::vector<config::Trigger>& triggers) {
  FunctionShard& function = shard.function(version.function().name);
  auto made = std::make_unique<VersionShard>(shard, version);
  unsigned first = static_cast<unsigned>(shard.loop().index());
  unsigned min = version.function().workers.min;
  // The workers to start ahead are dealt to the loops one by one.
  KAON_TRY_VOID(made->start_workers((min + loops() - 1 - first) / loops()));
  VersionShard& added = function.add_version(std::move(made));
  if (function.pick() == nullptr) function.set_shares({{&added, 100}}, [](Version&) {});
  trigger::Home home{shard.loop(), log_, id_, loops_[first].listener};
  for (const config::Trigger& trigger : triggers) {
    auto component = std::find_if(triggers_.begin(), triggers_.end(), [&](auto* each) { return each->kind == trigger.kind; });
    KAON_CHECK(component != triggers_.end(), trigger.kind);
    KAON_TRY_VOID(shard.add_trigger(**component, home, trigger, function.intake(trigger.name)));
  }
  return {};
}

void Processor::deploy(config::Function function, std::string digest, std::string folder, Then then) {
  FunctionEntry& deployed = entry(function.name);
  auto component = std::find_if(runtimes_.begin(), runtimes_.end(), [&](auto* each) { return each->kind == function.runtime; });
  if (component == runtimes_.end()) {
    then(Error{ErrorCode::kNotFound, "no runtime is called `" + function.runtime + "`"});
    return;
  }
  bool live = std::any_of(deployed.versions.begin(), deployed.versions.end(),
                          [&](const Deployed& each) { return each.version->digest() == digest && each.weight > 0; });
  if (live) {
    then({});
    return;
  }
  auto fresh = new_triggers(deployed, function);
  if (!fresh) {
    then(std::move(fresh).error());
    return;
  }
  auto loaded = Version::load(std::move(function), std::move(digest), std::move(folder), **component, log_, loops());
  if (!loaded) {
    then(std::move(loaded).error());
    return;
  }
  deployed.versions.push_back({std::move(loaded).value(), 0, loops()});
  Version& version = *deployed.versions.back().version;
  on_each_loop([this, &version, triggers = *fresh](Shard& shard) { return install(shard, version, triggers); },
               [this, &deployed, &version, triggers = *fresh, then = std::move(then)](Result<void> installed) mutable {
                 if (installed) {
                   for (const config::Trigger& trigger : triggers) deployed.triggers.push_back(trigger);
                   shift(deployed, version, std::move(then));
                   return;
                 }
                 withdraw(deployed, version);
                 then(std::move(installed));
               });
}

// Those that the function does not have yet. Sources stay while versions change, so what is there must be the same.
Result<std::vector<config::Trigger>> Processor::new_triggers(const FunctionEntry& deployed, const config::Function& function) const {
  auto named = [](const std::vector<config::Trigger>& triggers, const std::string& name) {
    return std::find_if(triggers.begin(), triggers.end(), [&](const config::Trigger& each) { return each.name == name; });
  };
  auto changed = [](const std::string& name) {
    return Error{ErrorCode::kUnimplemented, "trigger `" + name + "` was changed or removed; that takes a restart"};
  };
  for (const config::Trigger& each : deployed.triggers) {
    auto kept = named(function.triggers, each.name);
    if (kept == function.triggers.end() || kept->kind != each.kind || !(kept->settings == each.settings)) return changed(each.name);
  }
  std::vector<config::Trigger> fresh;
  for (const config::Trigger& each : function.triggers)
    if (named(deployed.triggers, each.name) == deployed.triggers.end()) fresh.push_back(each);
  return fresh;
}

void Processor::withdraw(FunctionEntry& entry, Version& version) {
  on_each_loop(
      [this, name = entry.name, &version](Shard& shard) -> Result<void> {
        auto left = [this](Version& gone) { home().post([this, &gone] { version_left(gone); }); };
        FunctionShard& function = shard.function(name);
        if (VersionShard* added = function.find(version)) function.withdraw(*added, left);
        else left(version);
        return {};
      },
      [](Result<void>) {});
}

void Processor::shift(FunctionEntry& entry, Version& version, Then then) {
  for (Deployed& each : entry.versions) each.weight = each.version.get() == &version ? 100 : 0;
  entry.addresses.clear();
  for (const config::Trigger& trigger : version.function().triggers)
    for (const trigger::Component* component : triggers_)
      if (component->kind == trigger.kind && component->addresses) component->addresses(trigger, entry.addresses);
  on_each_loop(
      [this, name = entry.name, &version](Shard& shard) -> Result<void> {
        FunctionShard& function = shard.function(name);
        function.set_shares({{function.find(version), 100}}, [this](Version& gone) { home().post([this, &gone] { version_left(gone); }); });
        return {};
      },
      [this, then = std::move(then)](Result<void> result) {
        ready_ = true;
        then(std::move(result));
      });
}

void Processor::version_left(Version& version) {
  for (auto& function : functions_)
    std::erase_if(function->versions, [&](Deployed& each) {
      if (each.version.get() != &version || --each.loops_left != 0) return false;
      // A version that came back while it was leaving counts in the same cells.
      bool counts = std::any_of(function->versions.begin(), function->versions.end(), [&](const Deployed& other) {
        return other.version && other.version.get() != &version && other.version->digest() == version.digest();
      });
      if (!counts) registry_.retire({{"function", version.function().name}, {"version", version.digest()}});
      return true;
    });
}

std::vector<FunctionState> Processor::functions() const {
  std::vector<FunctionState> states;
  for (const auto& function : functions_) {
    FunctionState state{function->name, {}, {}, function->addresses};
    for (const Deployed& each : function->versions) {
      state.runtime = each.version->function().runtime;
      const std::string& digest = each.version->digest();
      std::initializer_list<observe::LabelValue> mine = {{"function", function->name}, {"version", digest}};
      observe::HistogramSnapshot durations = registry_.sum(metrics_.event_duration, mine);
      uint64_t failed = registry_.sum(metrics_.events, {{"function", function->name}, {"version", digest}, {"outcome", "failed"}});
      state.versions.push_back({digest, each.weight, registry_.sum(metrics_.events_in_flight, mine), durations.count(), failed,
                                durations.quantile(0.5), durations.quantile(0.99)});
    }
    states.push_back(std::move(state));
  }
  return states;
}

void Processor::shut_down(Nanos deadline) {
  if (std::exchange(stopping_, true)) return;
  on_each_loop(
      [](Shard& shard) -> Result<void> {
        shard.stop_intake();
        return {};
      },
      [this, deadline](Result<void>) { watch_drain(deadline); });
}

void Processor::watch_drain(Nanos deadline) {
  on_each_loop(
      [](Shard& shard) -> Result<void> {
        if (shard.drained()) return {};
        return Error{ErrorCode::kOverloaded, "in flight"};
      },
      [this, deadline](Result<void> drained) {
        if (drained) {
          finish();
          return;
        }
        bool late = monotonic_ns() >= deadline;
        if (late && deadline != 0) {
          on_each_loop(
              [](Shard& shard) -> Result<void> {
                shard.cancel_all({ErrorCode::kOverloaded, "the processor stops; ask again"});
                return {};
              },
              [this](Result<void>) { watch_drain(0); });
          drain_end_ = monotonic_ns() + kTerminateGrace;
          return;
        }
        if (deadline == 0 && monotonic_ns() >= drain_end_) {
          stuck_ = true;
          finish();
          return;
        }
        drain_timer_ = std::make_unique<loop::Timer>(home(), [this, deadline] { watch_drain(deadline); });
        drain_timer_->start_after(kDrainLook);
      });
}

void Processor::finish() {
  for (LoopParts& parts : loops_) parts.loop->stop();
}

}  // namespace kaon::processor
