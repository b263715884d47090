#pragma once
#include "base/check.h"
#include "base/error.h"
#include "base/list.h"
#include "event/event.h"

namespace kaon::event {

class Call;

// The source's half of a call, implemented by each trigger: an event and the duty to settle it. Everything is on the
// home loop. It lives from Intake::offer until `released`, even when its client has gone: the event's views stay good.
class Exchange {
 public:
  Event event;
  // While a worker or the queue has it: where the source reports body, writability and a client that has gone. Set
  // before the worker sees the event, null from `released` on.
  Call* call = nullptr;

  // The worker is ready for more of the body: answered, once, by Call::body_arrived, which may come before this returns.
  virtual void read_body() = 0;
  // The whole answer at once. `body` may be reused after the return.
  virtual void respond(const ResponseHead& head, std::string_view body) = 0;
  // The answer in pieces: the head, then `write` until `end`. False from `write`: take a break, Call::writable comes.
  virtual void start(const ResponseHead& head) = 0;
  virtual bool write(std::string_view chunk, bool end) = 0;
  // A failure. After `start` it must be visible to the client (a reset, never a clean end).
  virtual void fail(const Error& error) = 0;
  // The worker has let go of the event. The exchange may destroy itself.
  virtual void released() = 0;

 protected:
  ~Exchange() = default;
};

// The worker's half: what it hears of a call that it has taken. On the home loop.
class Work {
 public:
  virtual void on_body(std::string_view chunk, bool end) = 0;  // the chunk is good until the return
  virtual void on_writable() = 0;
  // The deadline has passed, the client has gone, or the processor stops. The call is settled; the worker stops its
  // work as soon as it can and then calls `release`, not necessarily before this returns.
  virtual void on_cancel(const Error& why) = 0;

 protected:
  ~Work() = default;
};

enum class Outcome : uint8_t { kPending, kDone, kFailed, kCancelled };

// One event in flight, between its exchange and the worker that has it. Home loop only. Exactly one of respond,
// write(end) and fail settles it; what comes after a settlement is ignored. `release` is the worker's last touch.
class Call {
 public:
  class Owner {
   public:
    virtual void on_settled(Call& call) = 0;   // the lease may still be held
    virtual void on_released(Call& call) = 0;  // may destroy the call

   protected:
    ~Owner() = default;
  };

  Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  void open(Owner& owner, Exchange& exchange) {
    exchange.call = this;
    owner_ = &owner;
    exchange_ = &exchange;
    work_ = nullptr;
    outcome_ = Outcome::kPending;
    status_ = 0;
    started_ = false;
  }

  Event& event() { return exchange_->event; }
  const Event& event() const { return exchange_->event; }
  Outcome outcome() const { return outcome_; }
  bool settled() const { return outcome_ != Outcome::kPending; }
  bool started() const { return started_; }  // the response's head has gone out
  int status() const { return status_; }     // of the response, 0 before
  // Why it failed or was cancelled; only inside Owner::on_settled, null for kDone.
  const Error* why() const { return why_; }

  // --- the worker's side ---
  // Must be set before read_body, or before the worker's `handle` returns without having released the call.
  void set_work(Work& work) { work_ = &work; }
  void read_body() { exchange_->read_body(); }
  void respond(const ResponseHead& head, std::string_view body) {
    if (settled()) return;
    status_ = head.status;
    started_ = true;
    exchange_->respond(head, body);
    settle(Outcome::kDone);
  }
  void start(const ResponseHead& head) {
    if (settled() || started_) return;
    status_ = head.status;
    started_ = true;
    exchange_->start(head);
  }
  // After `start`. False: pause until Work::on_writable.
  bool write(std::string_view chunk, bool end) {
    if (settled()) return true;
    bool more = exchange_->write(chunk, end);
    if (end) settle(Outcome::kDone);
    return more;
  }
  void fail(const Error& error) {
    if (settled()) return;
    exchange_->fail(error);
    settle(Outcome::kFailed, &error);
  }
  void release() {
    if (!settled()) fail({ErrorCode::kInternal, "the worker let go of the event without an answer"});
    work_ = nullptr;
    Exchange* exchange = exchange_;
    exchange->call = nullptr;
    exchange->released();
    owner_->on_released(*this);
  }

  // --- the source's side, and the processor's ---
  void body_arrived(std::string_view chunk, bool end) {
    if (work_ && !settled()) work_->on_body(chunk, end);
  }
  void writable() {
    if (work_ && !settled()) work_->on_writable();
  }
  // The client has gone: nobody wants the answer.
  void abandon(const Error& why) {
    if (settled()) return;
    Work* work = work_;
    settle(Outcome::kCancelled, &why);
    if (work) work->on_cancel(why);
  }
  // The deadline has passed: the source is told, then the worker.
  void expire(const Error& why) {
    if (settled()) return;
    Work* work = work_;
    fail(why);
    if (work) work->on_cancel(why);
  }

 protected:
  ~Call() = default;

 private:
  void settle(Outcome outcome, const Error* why = nullptr) {
    outcome_ = outcome;
    why_ = why;
    owner_->on_settled(*this);
  }
  Owner* owner_ = nullptr;
  Exchange* exchange_ = nullptr;
  Work* work_ = nullptr;
  const Error* why_ = nullptr;
  int status_ = 0;
  Outcome outcome_ = Outcome::kPending;
  bool started_ = false;
};

// Where a trigger hands its events in. Home loop; one for each trigger of a function and loop.
class Intake {
 public:
  // Takes the exchange until its `released`. It may be settled, and released, before this returns.
  virtual void offer(Exchange& exchange) = 0;

 protected:
  ~Intake() = default;
};

// One worker of a function on one loop: handles as many calls at a time as its runtime's `concurrency` says.
class Worker {
 public:
  virtual ~Worker() = default;
  // Takes the call until it releases it; may do so before the return.
  virtual void handle(Call& call) = 0;
};

}  // namespace kaon::event
