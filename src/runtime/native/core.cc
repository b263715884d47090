#include "runtime/native/core.h"

#include "runtime/native/native_call.h"

namespace kaon::runtime::native {

Core::Core(Library library, Options options, observe::Log log)
    : library_(std::move(library)),
      options_(options),
      log_(std::move(log)),
      host_{make_host_table(), this},
      handle_(library_.descriptor().handle),
      whole_body_(library_.descriptor().flags & KAON_WHOLE_BODY),
      pool_(options.threads) {}

Core::~Core() = default;

Result<void> Core::init() {
  KAON_TRY_VOID(library_.init(host_.table));
  context_ = library_.context();
  return {};
}

bool Core::stop(Nanos deadline) {
  if (!pool_.stop(deadline)) {
    log_.write(observe::Level::kError, "a handler did not return before the end; its library stays loaded");
    return false;
  }
  library_.shutdown();
  std::lock_guard lock(slots_mutex_);
  for (auto& slot : slots_)
    if (!slot->idle()) {
      log_.write(observe::Level::kWarning, "the function holds a call that it never finished; its library stays loaded");
      return false;
    }
  return true;
}

NativeCall* Core::take_slot() {
  std::lock_guard lock(slots_mutex_);
  if (!free_.empty()) {
    NativeCall* slot = free_.back();
    free_.pop_back();
    return slot;
  }
  free_.reserve(slots_.size() + 1);  // so that give_slot cannot fail
  slots_.push_back(std::make_unique<NativeCall>(*this));
  return slots_.back().get();
}

void Core::give_slot(NativeCall* slot) {
  std::lock_guard lock(slots_mutex_);
  free_.push_back(slot);
}

bool Core::stalled(uint64_t count, std::string_view event_id) {
  Nanos took = ticker_.nanos(count);
  if (took <= 10 * kMillisecond) return false;
  uint64_t total = stalls_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (!log_.enabled(observe::Level::kWarning) || !stall_log_.allow()) return true;
  observe::Field fields[] = {{"took_ms", took / kMillisecond}, {"stalls", static_cast<int64_t>(total)}};
  log_.write_event(observe::Level::kWarning, event_id,
                   "the handler stalled an event loop; set `execution: pool`, or do not block in it", fields);
  return true;
}

void Core::misuse(std::string_view what) {
  uint64_t total = misuses_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (!misuse_log_.allow()) return;
  log_.write(observe::Level::kError, "the function used a call that it had finished before",
             {{"operation", what}, {"times", static_cast<int64_t>(total)}});
}

}  // namespace kaon::runtime::native
