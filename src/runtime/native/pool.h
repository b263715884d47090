#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace kaon::runtime::native {

// Threads that run jobs in the order of their coming. A thread starts when a job comes and no thread is idle, up to the
// limit, so that a function which is never called costs none. Thread-safe.
class Pool {
 public:
  // Linked into the queue: pushing allocates nothing. In the queue at most once.
  class Job {
   public:
    virtual void run() = 0;  // must not throw; the job may be pushed again, or freed, from in there

   protected:
    ~Job() = default;

   private:
    friend class Pool;
    Job* next_ = nullptr;
  };

  explicit Pool(unsigned threads) : limit_(threads) {}
  ~Pool();  // after a stop() that returned true
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // False: there is no thread and none can be started; the job is not taken.
  [[nodiscard]] bool push(Job& job);
  // Runs what is in the queue, then ends the threads. False: some are still busy at the deadline; they are left to
  // themselves, and the pool must never be destroyed. Once.
  [[nodiscard]] bool stop(Nanos deadline);

 private:
  bool start_thread();  // mutex_ held
  void run();
  Job* take();  // mutex_ held

  const unsigned limit_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable ended_;
  Job* first_ = nullptr;
  Job* last_ = nullptr;
  std::atomic<unsigned> queued_{0};
  unsigned sleeping_ = 0;
  unsigned spinning_ = 0;
  unsigned running_ = 0;  // threads that have not ended
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace kaon::runtime::native
