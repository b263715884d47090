#include "runtime/exec/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kaon::runtime::exec {
namespace {

constexpr int kTryAgain = 75;  // EX_TEMPFAIL
constexpr int kBadData = 65;   // EX_DATAERR
// A pipe takes this much at once, whatever its size.
constexpr size_t kSurePipe = 4096;
// What may lie in a pipe at an exit; more comes from a process that outlives its group.
constexpr size_t kMaxLate = 1 << 20;
constexpr size_t kErrorChunk = 16 << 10;

bool set_nonblocking(int fd) { return fcntl(fd, F_SETFL, O_NONBLOCK) == 0; }

Result<void> open_pipe(Fd& read, Fd& write) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return errno_error("open a pipe for the function", errno);
  read.reset(fds[0]);
  write.reset(fds[1]);
  return {};
}

}  // namespace

Worker::Worker(const Program& program, loop::Loop& loop, Spawner& spawner)
    : program_(program),
      loop_(loop),
      spawner_(spawner),
      environment_(program.function, program.version, program.variables),
      patience_(loop, Run::kPatience) {}

void Worker::handle(event::Call& call) {
  if (idle_.empty()) {
    runs_.push_back(std::make_unique<Run>(*this));
    idle_.reserve(runs_.size());
    idle_.push_back(runs_.back().get());
  }
  Run* run = idle_.back();
  idle_.pop_back();
  run->start(call);
}

void Run::Stream::watch(loop::Loop& loop, int ready) {
  if (!fd_) return;
  if (!watcher_) {
    if (ready == 0) return;
    watcher_.emplace(loop, fd_.get(), *this);
  }
  watcher_->want(ready);
}

Run::Run(Worker& worker)
    : worker_(worker),
      input_(*this, &Run::on_input_ready),
      output_(*this, &Run::on_output_ready),
      errors_(*this, &Run::on_error_ready) {}

Run::~Run() {
  if (running()) worker_.spawner_.kill(*this, SIGKILL);
  if (block_) worker_.loop_.blocks().give(block_);
}

void Run::start(event::Call& call) {
  call_ = &call;
  call.set_work(*this);
  unfed_ = {};
  last_fed_ = pulling_ = pull_again_ = false;
  filled_ = 0;
  written_ = forwarded_ = 0;
  head_done_ = paused_ = forwarding_ = exited_ = draining_ = false;
  late_bytes_ = 0;
  lines_.start(call.event().id);
  if (auto begun = begin(); !begun) {
    call.fail(begun.error());
    return end();
  }
  loop::Timeout* patience = this;
  worker_.patience_.start(*patience);
  if (input_ && unfed_.empty()) pull();
}

Result<void> Run::open_pipes(Fd& in, Fd& out, Fd& err) {
  const event::Event& event = call_->event();
  if (!event.body_complete || !event.body.empty()) {
    Fd feed;
    KAON_TRY_VOID(open_pipe(in, feed));
    // What surely fits needs no descriptor that can say "not now".
    if (!event.body_complete || event.body.size() > kSurePipe) set_nonblocking(feed.get());
    input_.open(feed.release());
  }
  Fd from;
  KAON_TRY_VOID(open_pipe(from, out));
  set_nonblocking(from.get());
  output_.open(from.release());
  KAON_TRY_VOID(open_pipe(from, err));
  set_nonblocking(from.get());
  errors_.open(from.release());
  return {};
}

Result<void> Run::begin() {
  const Program& program = worker_.program_;
  const event::Event& event = call_->event();
  keeper::SpawnRequest request;
  KAON_TRY_VOID(program.command.expand(event, worker_.memory_, worker_.arguments_));
  KAON_TRY(request.environment, worker_.environment_.build(event, worker_.loop_.now(), observe::level_name(program.log.level())));
  Fd in, out, err;
  KAON_TRY_VOID(open_pipes(in, out, err));
  request.path = program.executable;
  request.arguments = worker_.arguments_;
  request.standard_input = in ? in.get() : program.null.get();
  request.standard_output = out.get();
  request.standard_error = err.get();
  request.folder = program.folder.get();
  request.quiet = true;
  // The body is in its pipe before the process is: it does not wait for its first read.
  if (input_) feed(event.body.view(), event.body_complete, true);
  return worker_.spawner_.spawn(request, *this);
}

// The last touch: the worker may be gone after it.
void Run::end() {
  input_.close();
  output_.close();
  errors_.close();
  loop::Timeouts::stop(*this);
  unfed_ = {};
  if (block_) worker_.loop_.blocks().give(std::exchange(block_, nullptr));
  event::Call* call = std::exchange(call_, nullptr);
  worker_.idle_.push_back(this);
  call->release();
}

// --- the body ---

// `keeps`: the chunk stays where it is until the call is released.
void Run::feed(std::string_view chunk, bool last, bool keeps) {
  last_fed_ = last;
  while (!chunk.empty()) {
    ssize_t n = ::write(input_.fd(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    // EPIPE: the process does not want more of it, which is its own affair.
    if (n < 0) return input_.close();
    chunk.remove_prefix(static_cast<size_t>(n));
  }
  if (chunk.empty()) {
    unfed_ = {};
    if (last) input_.close();
    return;
  }
  if (!keeps) {
    unfed_copy_.assign(chunk);
    chunk = unfed_copy_;
  }
  unfed_ = chunk;
  input_.watch(worker_.loop_, loop::kWritable);
}

void Run::on_input_ready() {
  feed(unfed_, last_fed_, true);
  if (!input_ || !unfed_.empty()) return;
  input_.watch(worker_.loop_, 0);
  pull();
}

// Asks for body until the pipe is full or the source has no more for now; an answer may come before read_body returns.
void Run::pull() {
  pull_again_ = true;
  if (pulling_) return;
  pulling_ = true;
  while (pull_again_ && input_ && !call_->settled()) {
    pull_again_ = false;
    call_->read_body();
  }
  pulling_ = false;
}

void Run::on_body(std::string_view chunk, bool last) {
  if (!input_) return;
  feed(chunk, last, false);
  if (input_ && unfed_.empty()) pull();
}

// --- the result ---

void Run::on_timeout() {
  output_.watch(worker_.loop_, loop::kReadable);
  errors_.watch(worker_.loop_, loop::kReadable);
}

void Run::on_output_ready() {
  if (read_output()) return;
  output_.close();
}

void Run::on_error_ready() {
  if (read_errors()) return;
  errors_.close();
}

// One read, and what follows from it. False at the end of the stream, or where there is nothing for now after the exit.
bool Run::read_output() {
  if (!block_) block_ = worker_.loop_.blocks().take(kBlock);
  ssize_t n = ::read(output_.fd(), block_->data() + filled_, kBlock - filled_);
  if (n < 0) return !exited_ && (errno == EAGAIN || errno == EINTR);
  if (n == 0) return false;
  filled_ += static_cast<size_t>(n);
  written_ += static_cast<uint64_t>(n);
  if (exited_ && (late_bytes_ += static_cast<size_t>(n)) > kMaxLate) return false;
  if (call_->settled()) {
    filled_ = 0;
    return true;
  }
  if (auto taken = take_output(); !taken) give_up(taken.error());
  return true;
}

Result<void> Run::take_output() {
  const Program& program = worker_.program_;
  if (program.max_output_bytes > 0 && written_ > program.max_output_bytes)
    return Error{ErrorCode::kUserCode,
                 "the function wrote more than max_output_bytes (" + std::to_string(program.max_output_bytes) + ")"};
  if (program.headers && !head_done_) {
    KAON_TRY_VOID(parse_header_block({block_->data(), filled_}, head_));
    if (head_.size == 0) return {};
    head_done_ = true;
    // The status is the function's own word: nothing is gained by waiting for its exit, if it goes on.
    if (!exited_) KAON_TRY_VOID(open_response());
  }
  if (!call_->started() && filled_ == kBlock) KAON_TRY_VOID(open_response());
  if (call_->started()) forward();
  return {};
}

// The head, from what the block begins with; the block then holds only body.
Result<void> Run::open_response() {
  const Program& program = worker_.program_;
  event::ResponseHead head;
  head.content_type = program.content_type;
  if (head_done_) {
    head.status = head_.status;
    if (!head_.content_type.empty()) head.content_type = head_.content_type;
    head.headers = head_.headers;
    head.size = head_.content_length;
  }
  call_->start(head);
  if (head_done_) {
    filled_ -= head_.size;
    std::memmove(block_->data(), block_->data() + head_.size, filled_);
  }
  return {};
}

void Run::forward() {
  if (filled_ == 0) return;
  forwarded_ += filled_;
  if (head_.content_length && head_done_ && forwarded_ > *head_.content_length)
    return give_up({ErrorCode::kUserCode, "the function wrote more than its Content-Length"});
  forwarding_ = true;
  paused_ = true;
  // Call::writable may come before the return, and then clears the pause.
  bool more = call_->write({block_->data(), filled_}, false);
  forwarding_ = false;
  filled_ = 0;
  paused_ = !more && paused_;
  if (paused_) output_.watch(worker_.loop_, 0);
}

void Run::on_writable() {
  if (!paused_) return;
  paused_ = false;
  if (forwarding_) return;
  if (exited_) return drain();
  output_.watch(worker_.loop_, loop::kReadable);
}

bool Run::read_errors() {
  char chunk[kErrorChunk];
  ssize_t n = ::read(errors_.fd(), chunk, sizeof chunk);
  if (n < 0) return !exited_ && (errno == EAGAIN || errno == EINTR);
  if (n == 0) return false;
  lines_.add(worker_.program_.log, {chunk, static_cast<size_t>(n)}, worker_.loop_.now());
  return true;
}

// --- ends ---

void Run::on_failed(const Error& error) {
  call_->fail(error);
  end();
}

// The call is settled; the process is not heard any more, and its end is waited for.
void Run::on_cancel(const Error&) {
  input_.close();
  output_.close();
  unfed_ = {};
  if (exited_) {
    if (!draining_) end();  // else drain() is on the stack and ends it
    return;
  }
  worker_.spawner_.kill(*this, SIGKILL);
}

void Run::give_up(const Error& error) {
  call_->fail(error);
  if (exited_) return;
  worker_.spawner_.kill(*this, SIGKILL);
}

void Run::on_exit(int status, const Usage&) {
  exited_ = true;
  status_ = status;
  loop::Timeouts::stop(*this);
  input_.close();
  size_t most = kMaxLate / kErrorChunk;
  while (errors_ && most-- > 0 && read_errors()) {
  }
  errors_.close();
  lines_.finish(worker_.program_.log);
  // From here on a write to the source says when to go on, not the pipe.
  output_.watch(worker_.loop_, 0);
  drain();
}

// After the exit: what is left in the pipe, and then the settlement.
void Run::drain() {
  draining_ = true;
  while (output_ && !paused_)
    if (!read_output()) output_.close();
  if (!paused_ || call_->settled()) return settle();
  draining_ = false;
}

void Run::settle() {
  if (!call_->settled()) {
    bool done = WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
    const Program& program = worker_.program_;
    size_t body = head_done_ && !call_->started() ? filled_ - head_.size : 0;
    // To HEAD belongs the length of what GET would bring.
    bool answers_head = call_->event().method == "HEAD" && forwarded_ + body == 0;
    if (!done) {
      call_->fail(exit_error());
    } else if (program.headers && !head_done_) {
      call_->fail({ErrorCode::kUserCode, "the function ended before its header block did; it ends with an empty line"});
    } else if (head_done_ && head_.content_length && forwarded_ + body != *head_.content_length && !answers_head) {
      call_->fail({ErrorCode::kUserCode, "the function wrote " + std::to_string(forwarded_ + body) +
                                             " bytes and promised a Content-Length of " + std::to_string(*head_.content_length)});
    } else if (call_->started()) {
      call_->write({}, true);
    } else {
      event::ResponseHead head;
      head.content_type = program.content_type;
      size_t skip = 0;
      if (head_done_) {
        skip = head_.size;
        head.status = head_.status;
        if (!head_.content_type.empty()) head.content_type = head_.content_type;
        head.headers = head_.headers;
      }
      head.size = answers_head && head_done_ && head_.content_length ? *head_.content_length : filled_ - skip;
      call_->respond(head, block_ ? std::string_view(block_->data() + skip, filled_ - skip) : std::string_view());
    }
  }
  end();
}

Error Run::exit_error() const {
  auto with_log = [&](ErrorCode code, std::string message) {
    if (!lines_.last().empty()) message += ": " + lines_.last();
    return Error{code, std::move(message)};
  };
  if (WIFSIGNALED(status_)) {
    const char* name = sigabbrev_np(WTERMSIG(status_));
    return with_log(ErrorCode::kUserCode, "the function was killed by " +
                                              (name ? "SIG" + std::string(name) : "signal " + std::to_string(WTERMSIG(status_))));
  }
  int code = WEXITSTATUS(status_);
  if (code == kTryAgain) return with_log(ErrorCode::kOverloaded, "the function asks to try again later (exit code 75)");
  if (code == kBadData) return with_log(ErrorCode::kInvalid, "the function refuses the event (exit code 65)");
  return with_log(ErrorCode::kUserCode, "the function failed with exit code " + std::to_string(code));
}

}  // namespace kaon::runtime::exec
