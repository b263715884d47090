#include "runtime/native/native.h"

#include "runtime/native/native_call.h"

// Of the leak checker, where there is one.
extern "C" void __lsan_ignore_object(const void*) __attribute__((weak));

namespace kaon::runtime::native {

NativeWorker::~NativeWorker() {
  for (NativeCall* call : all_)
    if (call->orphan()) core_.give_slot(call);
}

NativeCall* NativeWorker::take() {
  if (NativeCall* call = free_) {
    free_ = call->next_free_;
    return call;
  }
  all_.reserve(all_.size() + 1);
  NativeCall* call = core_.take_slot();
  all_.push_back(call);
  call->attach(*this, loop_);
  return call;
}

void NativeWorker::give(NativeCall* call) {
  call->next_free_ = free_;
  free_ = call;
}

void NativeWorker::handle(event::Call& call) { take()->open(call); }

Result<std::unique_ptr<NativeRuntime>> NativeRuntime::make(const std::string& path, Options options, observe::Log log) {
  KAON_TRY(Library library, Library::open(path));
  auto core = std::make_unique<Core>(std::move(library), options, std::move(log));
  KAON_TRY_VOID(core->init());
  return std::unique_ptr<NativeRuntime>(new NativeRuntime(std::move(core)));
}

NativeRuntime::~NativeRuntime() {
  if (core_->stop(monotonic_ns() + 3 * kSecond)) return;
  Core* left = core_.release();
  if (__lsan_ignore_object) __lsan_ignore_object(left);
}

Result<std::unique_ptr<event::Worker>> NativeRuntime::start_worker(Home& home) { return start_worker(home.loop, home.stalls); }

Result<std::unique_ptr<event::Worker>> NativeRuntime::start_worker(loop::Loop& loop, observe::Counter* stalls) {
  return std::unique_ptr<event::Worker>(std::make_unique<NativeWorker>(*core_, loop, stalls));
}

}  // namespace kaon::runtime::native
