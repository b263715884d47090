#pragma once
#include <vector>

#include "runtime/component.h"
#include "runtime/native/core.h"

namespace kaon::runtime::native {

// One loop's share of a function: where its calls are at home. Home loop only.
class NativeWorker final : public event::Worker {
 public:
  // `stalls` may be null.
  NativeWorker(Core& core, loop::Loop& loop, observe::Counter* stalls) : core_(core), loop_(loop), stalls_(stalls) {}
  // Calls that a handler has not finished are cut off: what it does with them goes nowhere, and their events are never
  // released.
  ~NativeWorker() override;
  void handle(event::Call& call) override;

  void give(NativeCall* call);
  void count_stall() {
    if (stalls_) stalls_->add();
  }

 private:
  NativeCall* take();
  Core& core_;
  loop::Loop& loop_;
  observe::Counter* stalls_;
  NativeCall* free_ = nullptr;
  std::vector<NativeCall*> all_;
};

// The destructor waits up to three seconds for handlers that run on the pool. One that has not returned by then stays
// behind on its thread, and with it the library, which is then neither shut down nor unloaded.
class NativeRuntime final : public Runtime {
 public:
  static Result<std::unique_ptr<NativeRuntime>> make(const std::string& path, Options options, observe::Log log);
  ~NativeRuntime() override;

  // Without limits: an inline handler needs none, and the pool's queue is bounded by the function's max_in_flight.
  Capacity capacity() const override { return {.workers = 0, .concurrency = 0}; }
  Result<std::unique_ptr<event::Worker>> start_worker(Home& home) override;
  Result<std::unique_ptr<event::Worker>> start_worker(loop::Loop& loop, observe::Counter* stalls = nullptr);

  // Times that an inline handler held a loop for over 10 ms.
  uint64_t stalls() const { return core_->stalls(); }

 private:
  explicit NativeRuntime(std::unique_ptr<Core> core) : core_(std::move(core)) {}
  std::unique_ptr<Core> core_;
};

}  // namespace kaon::runtime::native
