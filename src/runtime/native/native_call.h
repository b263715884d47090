#pragma once
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "event/call.h"
#include "kaon.h"
#include "loop/loop.h"
#include "runtime/native/core.h"
#include "runtime/native/pool.h"

namespace kaon::runtime::native {

class NativeWorker;

// What other threads have said about a call and its home loop has not heard yet.
struct Outbox {
  struct Name {
    size_t name, name_size, value, value_size;  // in `text`
  };
  enum class Finish : uint8_t { kNone, kRespond, kEnd, kFail };
  uint64_t generation = 0;
  bool dirty = false;
  bool head = false;
  Finish finish = Finish::kNone;
  int status = 200;
  size_t content_type_size = 0;  // at the beginning of `text`
  std::string text;
  std::vector<Name> headers;
  std::optional<uint64_t> size;
  std::string data;
  Error error;

  void set_head(const kaon_head& head);
  event::ResponseHead get_head(std::vector<event::Header>& scratch) const;
  void clear();
};

// The host's side of a kaon_call, used for one event after another. Its memory is never freed while a handle to it may
// be around, and each event has a generation of its own, so that a dead handle is recognised.
//
// The home thread opens it, settles and releases the event's call, and runs the callbacks of an inline function; a
// pool's thread runs the handler and the callbacks of a pooled one, at most one at a time (a strand). The functions of
// the C interface come from any thread: from inside an inline handler they act at once, from everywhere else they leave
// a note in the outbox and wake the loop.
class NativeCall final : public event::Work, public loop::Message, public Pool::Job {
 public:
  explicit NativeCall(Core& core) : core_(core) {}

  // --- the home thread ---
  void attach(NativeWorker& worker, loop::Loop& home);
  // Takes the event and starts the handler; may have released the event, and be free again, before it returns.
  void open(event::Call& call);
  // Its worker goes. True when it is free; otherwise a handler still has it, or a message is on its way.
  bool orphan();
  // No thread can touch it any more, as far as the host can know.
  bool idle();

  // --- the C interface, any thread ---
  bool live(uint64_t generation) const { return generation_.load(std::memory_order_acquire) == generation; }
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  const event::Event& event() const { return *event_; }
  std::string_view body() const { return body_; }
  bool body_complete() const { return body_complete_; }
  int32_t set_callbacks(uint64_t generation, const kaon_callbacks& callbacks, void* user);
  int32_t read_body(uint64_t generation);
  int32_t respond(uint64_t generation, const kaon_head& head, std::string_view body);
  int32_t start(uint64_t generation, const kaon_head& head);
  int32_t write(uint64_t generation, std::string_view data);
  int32_t end(uint64_t generation, std::string_view data);
  int32_t fail(uint64_t generation, ErrorCode code, std::string_view message);

 private:
  friend class NativeWorker;
  // What the home thread has yet to do or tell.
  enum Pending : unsigned { kRead = 1, kBody = 2, kWritable = 4, kCancel = 8, kBegin = 16, kClosed = 32 };
  enum class Busy : uint8_t { kNo, kPumping, kReading, kUser };

  // event::Work
  void on_body(std::string_view chunk, bool end) override;
  void on_writable() override;
  void on_cancel(const Error& why) override;
  // loop::Message
  void deliver() override;
  // Pool::Job
  void run() override;

  kaon_call handle() { return {this, serving_}; }
  bool direct() const;
  bool try_finish(uint64_t generation) {
    return generation_.compare_exchange_strong(generation, generation + 1, std::memory_order_acq_rel);
  }
  int32_t dead(const char* what, bool log) const;
  Outbox& outbox(uint64_t generation);                                 // mutex_ held
  void post_note();                                                    // mutex_ held
  void post();                                                         // mutex_ held
  int32_t finish_by_note(uint64_t generation, Outbox::Finish finish);  // mutex_ held

  void begin();
  void pump();
  void hear();
  void flush(bool force);
  void apply(Outbox& note);
  void tell(unsigned what);
  void call_back(unsigned what, std::string_view chunk, bool end);
  void close();
  void recycle();
  template <typename F>
  void enter(F&& f);
  template <typename F>
  void guard(F&& f);
  void threw(const char* what);

  Core& core_;
  NativeWorker* worker_ = nullptr;
  NativeCall* next_free_ = nullptr;

  // Of the event that it serves; written by the home thread before the handler begins, read by any thread after that.
  const event::Event* event_ = nullptr;
  std::string_view body_;
  uint64_t serving_ = 0;
  bool body_complete_ = true;

  // Any thread. A handle is live while its generation equals this one; the finish adds one.
  std::atomic<uint64_t> generation_{1};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> started_{false};
  std::atomic<bool> reading_{false};  // a chunk was asked for and has not been handed over
  std::atomic<bool> body_ended_{false};
  std::atomic<bool> has_callbacks_{false};
  std::atomic<bool> blocked_{false};    // the exchange wants no more for now
  std::atomic<bool> paused_{false};     // the handler was told so
  std::atomic<bool> attention_{false};  // the outbox has something for the home thread

  // Home thread only.
  event::Call* call_ = nullptr;
  unsigned pending_ = 0;
  Busy busy_ = Busy::kNo;
  bool collecting_ = false;
  bool finished_ = false;
  bool closing_ = false;  // released; waits for the pool to let go
  bool chunk_end_ = false;
  std::string chunk_;  // a piece that came while the handler was busy
  std::string collected_;
  Outbox taken_;
  std::vector<event::Header> headers_;

  std::mutex mutex_;  // for what follows
  loop::Loop* home_ = nullptr;
  Outbox outbox_;
  kaon_callbacks callbacks_{};
  void* user_ = nullptr;
  bool read_wanted_ = false;
  bool posted_ = false;
  bool orphaned_ = false;
  bool cancel_told_ = false;
  unsigned mail_ = 0;  // for the pool's thread
  bool begun_ = false;
  bool scheduled_ = false;  // in the pool's queue, or running there
  bool wake_on_idle_ = false;
  bool mail_end_ = false;
  std::string mail_chunk_;
  std::string running_chunk_;  // the pool's thread only
};

}  // namespace kaon::runtime::native
