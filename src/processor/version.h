#pragma once
#include <memory>
#include <string>

#include "config/function.h"
#include "observe/log.h"
#include "processor/permits.h"
#include "runtime/component.h"

namespace kaon::processor {

// One immutable version of a function, loaded. Shared by all loops; its methods are thread-safe. Owned by the Processor,
// which outlives every loop's part of it.
class Version {
 public:
  // `digest` names the version; `folder` is its sealed folder.
  static Result<std::unique_ptr<Version>> load(config::Function function, std::string digest, std::string folder,
                                               const runtime::Component& component, const observe::Log& log, unsigned loops);

  const config::Function& function() const { return function_; }
  const std::string& digest() const { return digest_; }
  const observe::Log& log() const { return log_; }
  runtime::Runtime& runtime() { return *runtime_; }
  // Null where calls are not limited.
  Permits* permits() { return permits_.get(); }
  unsigned concurrency() const { return concurrency_; }        // calls for each worker at a time; 0: no limit
  unsigned loop_workers() const { return loop_workers_; }      // workers that one loop may start
  unsigned loop_in_flight() const { return loop_in_flight_; }  // one loop's share of max_in_flight

 private:
  Version(config::Function function, std::string digest, const observe::Log& log);
  config::Function function_;
  std::string digest_;
  observe::Log log_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::unique_ptr<Permits> permits_;
  unsigned concurrency_ = 1;
  unsigned loop_workers_ = 1;
  unsigned loop_in_flight_ = 1;
};

}  // namespace kaon::processor
