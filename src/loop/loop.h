#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/list.h"

struct uv_loop_s;
struct uv_timer_s;
struct uv_poll_s;
struct uv_async_s;

namespace kaon::loop {

// Something that another thread hands to a loop. It is linked into the loop's queue, so posting allocates nothing; the
// poster gives it up until `deliver` runs, on the loop's thread, and may free it from there on.
class Message {
 public:
  virtual ~Message() = default;
  virtual void deliver() = 0;

 private:
  friend class Loop;
  Message* next_ = nullptr;
};

// One event loop, run by one thread: the home of every object that is given a `Loop&`. Only `post` and `stop` may
// be called from other threads. libuv is behind it.
class Loop {
 public:
  explicit Loop(int index = 0);
  ~Loop();  // closes what is left; every Watcher and Timer must be gone
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run();   // returns after stop()
  void stop();  // any thread
  void run_once();  // for tests: one turn that waits for an event, a timer or a message

  int index() const { return index_; }
  // The time of the last refresh(), which asks the clock. Whoever is woken by the kernel refreshes; good enough for a
  // time-out, not for a measurement.
  Nanos now() const { return now_; }
  Nanos refresh() { return now_ = monotonic_ns(); }
  BlockPool& blocks() { return blocks_; }

  // Any thread. Messages of one poster arrive in order. Wakes the loop only when its queue was empty.
  void post(Message& message);
  // Any thread; allocates. For what is rare.
  void post(std::function<void()> f);

  bool on_thread() const { return thread_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

  uv_loop_s* raw() { return uv_.get(); }

 private:
  void take_messages();
  std::unique_ptr<uv_loop_s> uv_;
  std::unique_ptr<uv_async_s> wake_;
  std::atomic<Message*> inbox_{nullptr};  // newest first
  std::atomic<std::thread::id> thread_{};
  std::atomic<bool> stopping_{false};
  BlockPool blocks_;
  Nanos now_;
  int index_;
};

// Calls back once at or after a time; rounded up to a millisecond. Reusable; starting and stopping allocate nothing.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> fire);
  ~Timer();  // cancels
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void start_at(Nanos deadline);   // replaces an earlier start
  void start_after(Nanos delay) { start_at(loop_.refresh() + delay); }
  void stop();
  bool active() const;

 private:
  Loop& loop_;
  uv_timer_s* handle_;  // libuv frees it a turn after it is closed
  std::function<void()> fire_;
};

enum Ready : int { kReadable = 1, kWritable = 2, kHangUp = 4 };

// Tells when a descriptor is ready, level-triggered. Borrows the descriptor: destroy the watcher before it is closed.
// An error on the descriptor is told as kReadable|kWritable, so that the next read or write returns it.
class Watcher {
 public:
  class Target {
   public:
    virtual void on_ready(int ready) = 0;  // may destroy the watcher

   protected:
    ~Target() = default;
  };
  Watcher(Loop& loop, int fd, Target& target);  // sets O_NONBLOCK; waits for nothing yet
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  void want(int ready);  // a sum of kReadable, kWritable; 0 for nothing; cheap when unchanged
  int wanted() const { return wanted_; }

 private:
  uv_poll_s* handle_;  // libuv frees it a turn after it is closed
  int wanted_ = 0;
};

class Timeouts;

// Something that has a time-out of a class's fixed length. In at most one Timeouts.
class Timeout : public ListNode<Timeout> {
 public:
  virtual void on_timeout() = 0;  // it has left its list

 protected:
  ~Timeout() = default;

 private:
  friend class Timeouts;
  Nanos deadline_ = 0;
};

// A class of time-outs of equal length: starting, restarting and stopping one are O(1) and make no system call, so that
// ten thousand idle connections cost one timer. Late by at most an eighth of the length.
class Timeouts {
 public:
  Timeouts(Loop& loop, Nanos length);
  void start(Timeout& timeout);
  static void stop(Timeout& timeout) { timeout.unlink(); }
  Nanos length() const { return length_; }

 private:
  void sweep();
  Loop& loop_;
  Nanos length_;
  List<Timeout> list_;
  Timer timer_;
};

}  // namespace kaon::loop
