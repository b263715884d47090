#include "runtime/native/pool.h"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <system_error>

#include "base/check.h"

namespace kaon::runtime::native {
namespace {

// A sleep and a wake cost a few microseconds: a thread that had work a moment ago looks for about that long.
constexpr int kSpins = 64;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Pool::~Pool() = default;

bool Pool::start_thread() {
  // Signals belong to the threads that expect them, not to a function's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    threads_.reserve(threads_.size() + 1);
    threads_.emplace_back([this] { run(); });
    ++running_;
  } catch (const std::exception&) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

bool Pool::push(Job& job) {
  bool wake;
  {
    std::lock_guard lock(mutex_);
    unsigned waiting = queued_.load(std::memory_order_relaxed);
    if (waiting >= sleeping_ + spinning_ && running_ < limit_ && !stopping_) start_thread();
    if (running_ == 0) return false;
    job.next_ = nullptr;
    (last_ ? last_->next_ : first_) = &job;
    last_ = &job;
    queued_.store(waiting + 1, std::memory_order_release);
    wake = sleeping_ > 0 && waiting >= spinning_;
  }
  if (wake) work_.notify_one();
  return true;
}

Pool::Job* Pool::take() {
  Job* job = first_;
  if (!job) return nullptr;
  first_ = job->next_;
  if (!first_) last_ = nullptr;
  queued_.store(queued_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  return job;
}

void Pool::run() {
  pthread_setname_np(pthread_self(), "kaon-native");
  std::unique_lock lock(mutex_);
  for (;;) {
    Job* job = take();
    if (!job && !stopping_) {
      ++spinning_;
      lock.unlock();
      for (int i = 0; i < kSpins && queued_.load(std::memory_order_acquire) == 0; ++i) relax();
      lock.lock();
      --spinning_;
      job = take();
    }
    if (!job) {
      if (stopping_) break;
      ++sleeping_;
      work_.wait(lock, [this] { return first_ || stopping_; });
      --sleeping_;
      continue;
    }
    lock.unlock();
    job->run();
    lock.lock();
  }
  --running_;
  ended_.notify_all();
}

bool Pool::stop(Nanos deadline) {
  bool ended;
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    work_.notify_all();
    // Against the system clock's steps: libstdc++ turns a steady deadline into CLOCK_MONOTONIC.
    auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(std::max<Nanos>(deadline - monotonic_ns(), 0));
    ended = ended_.wait_until(lock, until, [this] { return running_ == 0; });
  }
  for (std::thread& thread : threads_) {
    if (ended)
      thread.join();
    else
      thread.detach();
  }
  threads_.clear();
  return ended;
}

}  // namespace kaon::runtime::native
