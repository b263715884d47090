#include "loop/loop.h"

#include <uv.h>

#include <algorithm>

#include "base/check.h"

namespace kaon::loop {
namespace {

template <typename Handle>
void close_and_free(Handle* handle) {
  uv_close(reinterpret_cast<uv_handle_t*>(handle), [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
}

class FunctionMessage final : public Message {
 public:
  explicit FunctionMessage(std::function<void()> f) : f_(std::move(f)) {}
  void deliver() override {
    std::unique_ptr<FunctionMessage> self(this);
    f_();
  }

 private:
  std::function<void()> f_;
};

}  // namespace

Loop::Loop(int index) : uv_(std::make_unique<uv_loop_t>()), wake_(std::make_unique<uv_async_t>()), now_(monotonic_ns()), index_(index) {
  KAON_CHECK(uv_loop_init(uv_.get()) == 0);
  uv_async_init(uv_.get(), wake_.get(), [](uv_async_t* wake) { static_cast<Loop*>(wake->data)->take_messages(); });
  wake_->data = this;
}

Loop::~Loop() {
  take_messages();
  uv_close(reinterpret_cast<uv_handle_t*>(wake_.get()), nullptr);
  while (uv_run(uv_.get(), UV_RUN_NOWAIT) != 0) {}
  uv_loop_close(uv_.get());
}

void Loop::run() {
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  while (!stopping_.load(std::memory_order_acquire)) uv_run(uv_.get(), UV_RUN_ONCE);
}

void Loop::run_once() {
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  uv_run(uv_.get(), UV_RUN_ONCE);
}

void Loop::stop() {
  stopping_.store(true, std::memory_order_release);
  uv_async_send(wake_.get());
}

void Loop::post(Message& message) {
  Message* head = inbox_.load(std::memory_order_relaxed);
  do message.next_ = head;
  while (!inbox_.compare_exchange_weak(head, &message, std::memory_order_release, std::memory_order_relaxed));
  if (!head) uv_async_send(wake_.get());
}

void Loop::post(std::function<void()> f) { post(*new FunctionMessage(std::move(f))); }

void Loop::take_messages() {
  refresh();
  Message* newest = inbox_.exchange(nullptr, std::memory_order_acquire);
  Message* oldest = nullptr;
  while (newest) {
    Message* next = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest) {
    Message* next = oldest->next_;
    oldest->deliver();
    oldest = next;
  }
}

Timer::Timer(Loop& loop, std::function<void()> fire) : loop_(loop), handle_(new uv_timer_t), fire_(std::move(fire)) {
  uv_timer_init(loop.raw(), handle_);
  handle_->data = this;
}

Timer::~Timer() {
  uv_timer_stop(handle_);
  close_and_free(handle_);
}

void Timer::start_at(Nanos deadline) {
  uv_update_time(loop_.raw());
  Nanos delay = std::max<Nanos>(deadline - monotonic_ns(), 0);
  auto on_fire = [](uv_timer_t* timer) {
    auto* self = static_cast<Timer*>(timer->data);
    self->loop_.refresh();
    self->fire_();
  };
  uv_timer_start(handle_, on_fire, static_cast<uint64_t>((delay + kMillisecond - 1) / kMillisecond), 0);
}

void Timer::stop() { uv_timer_stop(handle_); }
bool Timer::active() const { return uv_is_active(reinterpret_cast<uv_handle_t*>(handle_)) != 0; }

namespace {

struct Poll {
  uv_poll_t handle;  // first, so that the handle's address is the Poll's
  Loop* loop;
  Watcher::Target* target;
};

}  // namespace

Watcher::Watcher(Loop& loop, int fd, Target& target) {
  auto* poll = new Poll{{}, &loop, &target};
  int error = uv_poll_init(loop.raw(), &poll->handle, fd);
  if (error != 0) delete poll;
  KAON_CHECK(error == 0, error, fd);
  handle_ = &poll->handle;
}

Watcher::~Watcher() {
  uv_poll_stop(handle_);
  uv_close(reinterpret_cast<uv_handle_t*>(handle_), [](uv_handle_t* closed) { delete reinterpret_cast<Poll*>(closed); });
}

void Watcher::want(int ready) {
  if (ready == wanted_) return;
  wanted_ = ready;
  if (ready == 0) {
    uv_poll_stop(handle_);
    return;
  }
  int events = (ready & kReadable ? UV_READABLE : 0) | (ready & kWritable ? UV_WRITABLE : 0) | (ready & kHangUp ? UV_DISCONNECT : 0);
  uv_poll_start(handle_, events, [](uv_poll_t* raw, int status, int happened) {
    auto* poll = reinterpret_cast<Poll*>(raw);
    // libuv has stopped the handle when it reports an error, and names each of them EBADF; the descriptor knows better.
    int told = status < 0 ? kReadable | kWritable
                          : (happened & UV_READABLE ? kReadable : 0) | (happened & UV_WRITABLE ? kWritable : 0) |
                                (happened & UV_DISCONNECT ? kHangUp : 0);
    poll->target->on_ready(told);
  });
}

Timeouts::Timeouts(Loop& loop, Nanos length) : loop_(loop), length_(length), timer_(loop, [this] { sweep(); }) {}

void Timeouts::start(Timeout& timeout) {
  timeout.deadline_ = loop_.now() + length_;
  list_.push_back(timeout);
  if (!timer_.active()) timer_.start_at(timeout.deadline_);
}

void Timeouts::sweep() {
  Nanos now = loop_.now();
  while (Timeout* first = list_.front()) {
    if (first->deadline_ > now) {
      timer_.start_at(std::max(first->deadline_, now + length_ / 8));
      return;
    }
    first->unlink();
    first->on_timeout();
  }
}

}  // namespace kaon::loop
