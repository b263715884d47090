#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "config/function.h"
#include "event/call.h"
#include "loop/loop.h"
#include "observe/log.h"
#include "runtime/exec/command.h"
#include "runtime/exec/environment.h"
#include "runtime/exec/header_block.h"
#include "runtime/exec/log_lines.h"
#include "runtime/spawner.h"

namespace kaon::runtime::exec {

// What all workers of one version share; outlives them. Constant after the load.
struct Program {
  std::string function, version;
  std::string executable;  // absolute, or relative to the folder
  Command command;
  std::map<std::string, std::string> variables;
  bool headers = false;  // output: headers
  std::string content_type;
  uint64_t max_output_bytes = 0;
  Fd folder;
  Fd null;
  observe::Log log;
};

class Worker;

// One process for one event: feeds it, takes its result, and settles the call by its exit. Reused for one event after the other;
// a home object of its worker's loop.
//
// A short run costs no registration with the loop: its pipes are read once it has exited. A run that lasts longer than
// kPatience is watched, and streamed both ways with backpressure. A raw result is held back until the exit code is known
// or a block is full; a head written by the function itself opens the response at once.
class Run final : event::Work, Child, loop::Timeout {
 public:
  static constexpr size_t kBlock = 64 << 10;
  static constexpr Nanos kPatience = 2 * kMillisecond;

  explicit Run(Worker& worker);
  ~Run();  // kills
  void start(event::Call& call);

 private:
  class Stream final : public loop::Watcher::Target {
   public:
    Stream(Run& run, void (Run::*ready)()) : run_(run), ready_(ready) {}
    void open(int fd) { fd_.reset(fd); }
    void close() {
      watcher_.reset();
      fd_.reset();
    }
    void watch(loop::Loop& loop, int ready);  // 0 for not now
    int fd() const { return fd_.get(); }
    explicit operator bool() const { return static_cast<bool>(fd_); }

   private:
    void on_ready(int) override { (run_.*ready_)(); }
    Run& run_;
    void (Run::*ready_)();
    Fd fd_;
    std::optional<loop::Watcher> watcher_;
  };

  Result<void> begin();
  Result<void> open_pipes(Fd& in, Fd& out, Fd& err);
  void end();

  // the body, towards the process
  void feed(std::string_view chunk, bool last, bool keeps);
  void pull();
  void on_input_ready();
  void on_body(std::string_view chunk, bool last) override;

  // the result, from the process
  void on_output_ready();
  void on_error_ready();
  bool read_output();
  bool read_errors();
  Result<void> take_output();
  Result<void> open_response();
  void forward();
  void on_writable() override;

  // ends
  void on_timeout() override;
  void on_cancel(const Error& why) override;
  void on_failed(const Error& error) override;
  void on_exit(int status, const Usage& usage) override;
  void drain();
  void settle();
  void give_up(const Error& error);
  Error exit_error() const;

  Worker& worker_;
  event::Call* call_ = nullptr;
  Stream input_, output_, errors_;

  std::string_view unfed_;  // of the body: what the pipe has not taken yet, in unfed_copy_ or in the event
  std::string unfed_copy_;
  bool last_fed_ = false, pulling_ = false, pull_again_ = false;

  Block* block_ = nullptr;
  size_t filled_ = 0;
  uint64_t written_ = 0, forwarded_ = 0;
  HeaderBlock head_;
  bool head_done_ = false, paused_ = false, forwarding_ = false;
  size_t late_bytes_ = 0;  // read after the exit

  bool exited_ = false, draining_ = false;
  int status_ = 0;
  LogLines lines_;
};

class Worker final : public event::Worker {
 public:
  Worker(const Program& program, loop::Loop& loop, Spawner& spawner);
  void handle(event::Call& call) override;

 private:
  friend class Run;
  const Program& program_;
  loop::Loop& loop_;
  Spawner& spawner_;
  Environment environment_;
  std::string memory_;
  std::vector<std::string_view> arguments_;
  loop::Timeouts patience_;
  std::vector<std::unique_ptr<Run>> runs_;
  std::vector<Run*> idle_;
};

}  // namespace kaon::runtime::exec
