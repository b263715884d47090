#include "processor/version.h"

#include <algorithm>

namespace kaon::processor {

Version::Version(config::Function function, std::string digest, const observe::Log& log)
    : function_(std::move(function)), digest_(std::move(digest)), log_(log.with({{"function", function_.name}, {"version", digest_}})) {}

Result<std::unique_ptr<Version>> Version::load(config::Function function, std::string digest, std::string folder,
                                               const runtime::Component& component, const observe::Log& log, unsigned loops) {
  std::unique_ptr<Version> version(new Version(std::move(function), std::move(digest), log));
  const config::Function& settings = version->function_;
  KAON_TRY(version->runtime_, component.load({settings, version->digest_, std::move(folder), version->log_}));
  runtime::Capacity capacity = version->runtime_->capacity();
  unsigned workers = settings.workers.max ? settings.workers.max : capacity.workers;
  unsigned concurrency = settings.workers.concurrency ? settings.workers.concurrency : capacity.concurrency;
  version->concurrency_ = concurrency;
  version->loop_workers_ = workers == 0 || concurrency == 0 ? 1 : workers;
  if (workers != 0 && concurrency != 0) version->permits_ = std::make_unique<Permits>(workers * concurrency);
  version->loop_in_flight_ = std::max(1u, settings.max_in_flight / loops);
  return version;
}

}  // namespace kaon::processor
