#include "runtime/native/native_call.h"

#include <cstring>

#include "runtime/native/native.h"

namespace kaon::runtime::native {
namespace {

constexpr size_t kPauseBytes = 256 << 10;  // waiting for the loop: the handler is asked to pause
constexpr size_t kMaxBacklog = 16 << 20;   // waiting for the loop or the client: no more is taken
constexpr size_t kKeptBytes = 16 << 10;    // of a buffer, for the next event
constexpr size_t kMaxMessage = 8 << 10;

// The call whose handler or callback runs inline on this thread, innermost.
thread_local NativeCall* t_inside = nullptr;

void trim(std::string& text) {
  if (text.capacity() > kKeptBytes)
    std::string().swap(text);
  else
    text.clear();
}

std::string_view view(kaon_str text) { return text.size ? std::string_view(text.data, text.size) : std::string_view(); }

// Answers with views into `head`.
event::ResponseHead direct_head(const kaon_head& head, std::vector<event::Header>& scratch) {
  scratch.clear();
  for (size_t i = 0; i < head.header_count; ++i) scratch.push_back({view(head.headers[i].name), view(head.headers[i].value)});
  event::ResponseHead result{head.status, view(head.content_type), scratch, {}};
  if (head.body_size != KAON_UNKNOWN_SIZE) result.size = head.body_size;
  return result;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------- Outbox

void Outbox::set_head(const kaon_head& head_in) {
  head = true;
  status = head_in.status;
  text = view(head_in.content_type);
  content_type_size = text.size();
  headers.clear();
  for (size_t i = 0; i < head_in.header_count; ++i) {
    std::string_view name = view(head_in.headers[i].name), value = view(head_in.headers[i].value);
    headers.push_back({text.size(), name.size(), text.size() + name.size(), value.size()});
    text.append(name).append(value);
  }
  size.reset();
  if (head_in.body_size != KAON_UNKNOWN_SIZE) size = head_in.body_size;
}

event::ResponseHead Outbox::get_head(std::vector<event::Header>& scratch) const {
  std::string_view all = text;
  scratch.clear();
  for (const Name& h : headers) scratch.push_back({all.substr(h.name, h.name_size), all.substr(h.value, h.value_size)});
  return {status, all.substr(0, content_type_size), scratch, size};
}

void Outbox::clear() {
  dirty = head = false;
  finish = Finish::kNone;
  trim(text);
  trim(data);
  headers.clear();
  size.reset();
  trim(error.message);
}

// ------------------------------------------------------------------------------------------- the home thread: one event

void NativeCall::attach(NativeWorker& worker, loop::Loop& home) {
  std::lock_guard lock(mutex_);
  worker_ = &worker;
  home_ = &home;
  orphaned_ = false;
}

void NativeCall::open(event::Call& call) {
  call_ = &call;
  event_ = &call.event();
  serving_ = generation_.load(std::memory_order_relaxed);
  body_ = event_->body.view();
  body_complete_ = event_->body_complete;
  body_ended_.store(body_complete_, std::memory_order_relaxed);
  call.set_work(*this);
  if (!body_complete_ && core_.wants_whole_body()) {
    collecting_ = true;
    collected_ = body_;
    pending_ = kRead;
    pump();
    return;
  }
  begin();
}

void NativeCall::begin() {
  if (core_.runs_inline()) {
    enter([this] { core_.handle(handle()); });
    pump();
    return;
  }
  tell(kBegin);
  if (finished_) pump();
}

// Runs the function's code on the home thread.
template <typename F>
void NativeCall::enter(F&& f) {
  Busy before = std::exchange(busy_, Busy::kUser);
  NativeCall* outer = std::exchange(t_inside, this);
  uint64_t start = ticks();
  guard(f);
  uint64_t took = ticks() - start;
  t_inside = outer;
  busy_ = before;
  if (took > Ticker::kSurelyShort && core_.stalled(took, event_->id) && worker_) [[unlikely]]
    worker_->count_stall();
}

template <typename F>
void NativeCall::guard(F&& f) {
  try {
    f();
  } catch (const std::exception& error) {
    threw(error.what());
  } catch (...) {
    threw("an exception that is no std::exception");
  }
}

void NativeCall::threw(const char* what) {
  if (live(serving_))
    fail(serving_, ErrorCode::kUserCode, what);
  else
    core_.log().write(observe::Level::kError, "the function threw after it had finished the call",
                      {{"what", std::string_view(what)}});
}

bool NativeCall::direct() const { return t_inside == this; }

// Does what is to be done until nothing is left. Not from within the function's code, whose frames end in a pump.
void NativeCall::pump() {
  if (!call_) {
    if (closing_) recycle();
    return;
  }
  Busy before = std::exchange(busy_, Busy::kPumping);
  for (;;) {
    if (attention_.load(std::memory_order_acquire)) hear();
    if (finished_) break;
    if (pending_ & kRead) {
      pending_ &= ~kRead;
      if (call_->settled()) continue;
      busy_ = Busy::kReading;
      call_->read_body();
      busy_ = Busy::kPumping;
    } else if (pending_ & kBegin) {
      pending_ &= ~kBegin;
      if (core_.runs_inline())
        enter([this] { core_.handle(handle()); });
      else
        tell(kBegin);
    } else if (pending_ & kBody) {
      pending_ &= ~kBody;
      tell(kBody);
    } else if (pending_ & kWritable) {
      pending_ &= ~kWritable;
      flush(false);
      if (!blocked_.load() && paused_.exchange(false)) tell(kWritable);
    } else if (pending_ & kCancel) {
      pending_ &= ~kCancel;
      tell(kCancel);
    } else {
      break;
    }
  }
  busy_ = before;
  if (finished_) close();
}

// What other threads want.
void NativeCall::hear() {
  attention_.store(false, std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex_);
    if (outbox_.generation == serving_ && std::exchange(read_wanted_, false)) pending_ |= kRead;
    if (cancelled() && !cancel_told_) pending_ |= kCancel;
  }
  flush(false);
}

void NativeCall::flush(bool force) {
  {
    std::lock_guard lock(mutex_);
    if (!outbox_.dirty) return;
    if (outbox_.generation != serving_) return outbox_.clear();
    if (blocked_.load() && !force && outbox_.finish == Outbox::Finish::kNone) return;
    std::swap(outbox_, taken_);
  }
  apply(taken_);
  taken_.clear();
}

void NativeCall::apply(Outbox& note) {
  using Finish = Outbox::Finish;
  Busy before = std::exchange(busy_, Busy::kPumping);
  if (note.finish == Finish::kRespond) {
    call_->respond(note.get_head(headers_), note.data);
  } else {
    if (note.head) call_->start(note.get_head(headers_));
    if (note.finish != Finish::kFail && (!note.data.empty() || note.finish == Finish::kEnd)) {
      if (!call_->write(note.data, note.finish == Finish::kEnd)) blocked_.store(true);
    }
    if (note.finish == Finish::kFail) call_->fail(note.error);
  }
  headers_.clear();
  busy_ = before;
  if (note.finish != Finish::kNone)
    finished_ = true;
  else if (paused_.load() && !blocked_.load())
    pending_ |= kWritable;
}

void NativeCall::on_body(std::string_view chunk, bool end) {
  if (collecting_) {
    if (collected_.size() + chunk.size() > core_.max_body_bytes()) {
      collecting_ = false;
      finished_ = true;
      call_->fail({ErrorCode::kInvalid, "the body is longer than `max_body_bytes`"});
    } else {
      collected_ += chunk;
      if (end) {
        collecting_ = false;
        body_ = collected_;
        body_complete_ = true;
        body_ended_.store(true, std::memory_order_relaxed);
      }
      pending_ |= end ? kBegin : kRead;
    }
    if (busy_ == Busy::kNo) pump();
    return;
  }
  if (end) body_ended_.store(true, std::memory_order_relaxed);
  if (finished_ || !live(serving_)) return;
  if (busy_ == Busy::kNo || busy_ == Busy::kReading) {
    if (core_.runs_inline()) {
      call_back(kBody, chunk, end);
      if (busy_ == Busy::kNo) pump();
      return;
    }
    chunk_ = chunk;
    chunk_end_ = end;
    tell(kBody);
    return;
  }
  chunk_ = chunk;
  chunk_end_ = end;
  pending_ |= kBody;
}

void NativeCall::on_writable() {
  blocked_.store(false);
  pending_ |= kWritable;
  if (busy_ == Busy::kNo) pump();
}

void NativeCall::on_cancel(const Error&) {
  cancelled_.store(true, std::memory_order_release);
  bool begun = !collecting_ && !(pending_ & kBegin);
  if (begun && !core_.runs_inline()) {
    std::lock_guard lock(mutex_);
    if (mail_ & kBegin) {
      mail_ &= ~kBegin;  // it still waits for a thread: no handler has seen it
      begun = false;
    }
  }
  if (!begun) {
    collecting_ = false;
    finished_ = true;
  }
  pending_ |= kCancel;
  if (busy_ == Busy::kNo) pump();
}

// Runs a callback (inline), or hands it to the pool.
void NativeCall::tell(unsigned what) {
  std::unique_lock lock(mutex_, std::defer_lock);
  if (what == kCancel) {
    lock.lock();
    if (!has_callbacks_.load(std::memory_order_relaxed) || std::exchange(cancel_told_, true)) return;
  }
  if (core_.runs_inline()) {
    if (lock.owns_lock()) lock.unlock();
    call_back(what, chunk_, chunk_end_);
    if (what == kBody) trim(chunk_);
    return;
  }
  if (what != kBegin && !has_callbacks_.load(std::memory_order_acquire)) return;
  if (!lock.owns_lock()) lock.lock();
  mail_ |= what;
  if (what == kBody) {
    std::swap(mail_chunk_, chunk_);
    mail_end_ = chunk_end_;
  }
  if (scheduled_) return;
  scheduled_ = true;
  if (core_.pool().push(*this)) return;
  // Only the first job can be refused: a thread that has been started stays.
  scheduled_ = false;
  mail_ = 0;
  finished_ = true;
  call_->fail({ErrorCode::kOverloaded, "cannot start a thread for the function; is a limit on threads or memory too low?"});
}

void NativeCall::call_back(unsigned what, std::string_view chunk, bool end) {
  if (what == kBody) reading_.store(false, std::memory_order_relaxed);
  if (!has_callbacks_.load(std::memory_order_acquire)) return;
  const kaon_callbacks& to = callbacks_;  // does not change any more
  auto run = [&](auto&& f) {
    if (core_.runs_inline())
      enter(f);
    else
      guard(f);
  };
  if (what == kClosed) {
    if (to.closed) run([&] { to.closed(user_); });
    return;
  }
  if (!live(serving_)) return;
  if (what == kBody && to.body) run([&] { to.body(user_, handle(), chunk.data(), chunk.size(), end); });
  if (what == kWritable && to.writable) run([&] { to.writable(user_, handle()); });
  if (what == kCancel && to.cancelled) run([&] { to.cancelled(user_, handle()); });
}

// The call is finished, or was never begun: lets go of the event, and then of the slot.
void NativeCall::close() {
  bool in_pool = false;
  if (!core_.runs_inline()) {
    std::lock_guard lock(mutex_);
    in_pool = scheduled_;
    if (in_pool) {
      wake_on_idle_ = true;
      if (begun_) return;  // a handler or callback still runs, and may look at the event
    }
  }
  event::Call* call = std::exchange(call_, nullptr);
  if (has_callbacks_.load(std::memory_order_acquire) && callbacks_.closed) {
    if (core_.runs_inline()) {
      call_back(kClosed, {}, false);
    } else {
      std::lock_guard lock(mutex_);
      mail_ |= kClosed;
      scheduled_ = wake_on_idle_ = true;
      if (core_.pool().push(*this))
        in_pool = true;
      else
        scheduled_ = wake_on_idle_ = false;
    }
  }
  if (in_pool)
    closing_ = true;
  else
    recycle();
  // Last: it may bring the next event, into this very slot.
  call->release();
}

void NativeCall::recycle() {
  if (!core_.runs_inline()) {
    std::lock_guard lock(mutex_);
    if (scheduled_) return;  // its thread wakes this loop once more
    begun_ = wake_on_idle_ = false;
    mail_ = 0;
  }
  finished_ = closing_ = collecting_ = false;
  pending_ = 0;
  if (attention_.load(std::memory_order_relaxed) || blocked_.load(std::memory_order_relaxed)) {
    std::lock_guard lock(mutex_);  // what nobody will send any more
    attention_.store(false, std::memory_order_relaxed);
    outbox_.clear();
  }
  if (cancelled_.load(std::memory_order_relaxed)) {
    std::lock_guard lock(mutex_);
    cancelled_.store(false, std::memory_order_relaxed);
    cancel_told_ = false;
  }
  started_.store(false, std::memory_order_relaxed);
  reading_.store(false, std::memory_order_relaxed);
  blocked_.store(false, std::memory_order_relaxed);
  paused_.store(false, std::memory_order_relaxed);
  has_callbacks_.store(false, std::memory_order_relaxed);
  if (!collected_.empty()) trim(collected_);
  worker_->give(this);
}

void NativeCall::deliver() {
  {
    std::lock_guard lock(mutex_);
    posted_ = false;
    if (!home_) return;
  }
  if (busy_ == Busy::kNo) pump();
}

bool NativeCall::orphan() {
  std::lock_guard lock(mutex_);
  home_ = nullptr;
  bool free = !call_ && !closing_ && !posted_ && !scheduled_;
  orphaned_ = call_ != nullptr;
  if (orphaned_) {
    cancelled_.store(true, std::memory_order_release);
    if (mail_ & kBegin) mail_ = 0, orphaned_ = false;
  }
  return free;
}

bool NativeCall::idle() {
  std::lock_guard lock(mutex_);
  return !posted_ && !scheduled_ && !(orphaned_ && live(serving_));
}

// --------------------------------------------------------------------------------------------------- the pool's thread

void NativeCall::run() {
  for (;;) {
    unsigned mail;
    bool end;
    {
      std::lock_guard lock(mutex_);
      mail = std::exchange(mail_, 0);
      if (mail == 0) {
        scheduled_ = false;
        if (wake_on_idle_ && home_) post();
        wake_on_idle_ = false;
        return;
      }
      if (mail & kBegin) begun_ = true;
      end = mail_end_;
      if (mail & kBody) std::swap(mail_chunk_, running_chunk_);
    }
    if (mail & kBegin) guard([this] { core_.handle(handle()); });
    if (mail & kBody) {
      call_back(kBody, running_chunk_, end);
      trim(running_chunk_);
    }
    if (mail & kWritable) call_back(kWritable, {}, false);
    if (mail & kCancel) call_back(kCancel, {}, false);
    if (mail & kClosed) call_back(kClosed, {}, false);
  }
}

// ------------------------------------------------------------------------------------------ the C interface, any thread

int32_t NativeCall::dead(const char* what, bool log) const {
  if (log) core_.misuse(what);
  return KAON_E_FINISHED;
}

Outbox& NativeCall::outbox(uint64_t generation) {
  if (outbox_.generation != generation) {
    outbox_.clear();
    outbox_.generation = generation;
    read_wanted_ = false;
  }
  return outbox_;
}

void NativeCall::post() {
  if (posted_ || !home_) return;
  posted_ = true;
  home_->post(*this);
}

void NativeCall::post_note() {
  attention_.store(true, std::memory_order_release);
  post();
}

int32_t NativeCall::finish_by_note(uint64_t generation, Outbox::Finish finish) {
  if (!try_finish(generation)) return dead("finish", true);
  outbox_.finish = finish;
  outbox_.dirty = true;
  post_note();
  return KAON_OK;
}

int32_t NativeCall::set_callbacks(uint64_t generation, const kaon_callbacks& callbacks, void* user) {
  std::lock_guard lock(mutex_);
  if (!live(generation)) return dead("set_callbacks", true);
  if (has_callbacks_.load(std::memory_order_relaxed)) return KAON_E_STATE;
  callbacks_ = callbacks;
  user_ = user;
  has_callbacks_.store(true, std::memory_order_release);
  // Where it is cancelled already, nobody listened when that was told.
  if (cancelled()) post_note();
  return KAON_OK;
}

int32_t NativeCall::read_body(uint64_t generation) {
  if (!live(generation)) return dead("read_body", true);
  if (cancelled()) return KAON_E_CANCELLED;
  if (body_ended_.load(std::memory_order_acquire)) return KAON_E_STATE;
  if (!has_callbacks_.load(std::memory_order_acquire) || !callbacks_.body) return KAON_E_STATE;
  if (reading_.exchange(true)) return KAON_E_STATE;
  if (direct()) {
    pending_ |= kRead;
    return KAON_OK;
  }
  std::lock_guard lock(mutex_);
  outbox(generation);
  read_wanted_ = true;
  post_note();
  return KAON_OK;
}

int32_t NativeCall::respond(uint64_t generation, const kaon_head& head, std::string_view body) {
  if (!live(generation)) return dead("respond", true);
  if (started_.load(std::memory_order_relaxed)) return KAON_E_STATE;
  if (direct()) {
    event::ResponseHead direct = direct_head(head, headers_);
    if (!try_finish(generation)) return dead("respond", true);
    finished_ = true;
    call_->respond(direct, body);
    return KAON_OK;
  }
  std::lock_guard lock(mutex_);
  if (!live(generation)) return dead("respond", true);
  Outbox& out = outbox(generation);
  out.set_head(head);
  out.data = body;
  return finish_by_note(generation, Outbox::Finish::kRespond);
}

int32_t NativeCall::start(uint64_t generation, const kaon_head& head) {
  if (!live(generation)) return dead("start", true);
  if (cancelled()) return KAON_E_CANCELLED;
  if (direct()) {
    event::ResponseHead direct = direct_head(head, headers_);
    if (started_.exchange(true)) return KAON_E_STATE;
    call_->start(direct);
    return KAON_OK;
  }
  std::lock_guard lock(mutex_);
  if (!live(generation)) return dead("start", true);
  if (started_.load()) return KAON_E_STATE;
  Outbox& out = outbox(generation);
  out.set_head(head);
  out.dirty = true;
  started_.store(true);
  post_note();
  return KAON_OK;
}

int32_t NativeCall::write(uint64_t generation, std::string_view data) {
  if (!live(generation)) return dead("write", true);
  if (cancelled()) return KAON_E_CANCELLED;
  if (!started_.load(std::memory_order_acquire)) return KAON_E_STATE;
  if (data.empty()) return KAON_OK;
  if (direct() && !blocked_.load()) {
    flush(false);
    if (!blocked_.load()) {
      if (call_->write(data, false)) return KAON_OK;
      blocked_.store(true);
      paused_.store(true);
      return KAON_PAUSE;
    }
  }
  std::lock_guard lock(mutex_);
  if (!live(generation)) return dead("write", true);
  Outbox& out = outbox(generation);
  if (!out.data.empty() && out.data.size() + data.size() > kMaxBacklog) return KAON_E_OVERLOADED;
  out.data.append(data);
  out.dirty = true;
  bool pause = blocked_.load() || out.data.size() > kPauseBytes;
  if (pause) paused_.store(true);
  post_note();
  return pause ? KAON_PAUSE : KAON_OK;
}

int32_t NativeCall::end(uint64_t generation, std::string_view data) {
  if (!live(generation)) return dead("end", true);
  if (!started_.load(std::memory_order_acquire) && !cancelled()) return KAON_E_STATE;
  if (direct()) {
    flush(true);
    if (!try_finish(generation)) return dead("end", true);
    finished_ = true;
    call_->write(data, true);
    return KAON_OK;
  }
  std::lock_guard lock(mutex_);
  if (!live(generation)) return dead("end", true);
  outbox(generation).data.append(data);
  return finish_by_note(generation, Outbox::Finish::kEnd);
}

int32_t NativeCall::fail(uint64_t generation, ErrorCode code, std::string_view message) {
  message = message.substr(0, kMaxMessage);
  if (!live(generation)) return dead("fail", true);
  if (direct()) {
    Error error{code, std::string(message)};
    if (!try_finish(generation)) return dead("fail", true);
    finished_ = true;
    call_->fail(error);
    return KAON_OK;
  }
  std::lock_guard lock(mutex_);
  if (!live(generation)) return dead("fail", true);
  Outbox& out = outbox(generation);
  out.error.code = code;
  out.error.message = message;
  return finish_by_note(generation, Outbox::Finish::kFail);
}

}  // namespace kaon::runtime::native
