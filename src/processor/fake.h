#pragma once
// A runtime and a source for the tests and benchmarks of this room.
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "observe/log.h"
#include "processor/shard.h"
#include "runtime/spawner.h"

namespace kaon::processor::fake {

// What a fake worker does with a call; set by the test.
using Handler = std::function<void(event::Call&)>;

class Worker final : public event::Worker {
 public:
  explicit Worker(const Handler& handler) : handler_(handler) {}
  void handle(event::Call& call) override { handler_(call); }

 private:
  const Handler& handler_;
};

class Runtime final : public runtime::Runtime {
 public:
  Runtime(const Handler& handler, runtime::Capacity capacity) : handler_(handler), capacity_(capacity) {}
  runtime::Capacity capacity() const override { return capacity_; }
  Result<std::unique_ptr<event::Worker>> start_worker(runtime::Home&) override {
    return std::unique_ptr<event::Worker>(std::make_unique<Worker>(handler_));
  }

 private:
  const Handler& handler_;
  runtime::Capacity capacity_;
};

struct Answers {
  int done = 0, failed = 0, released = 0;
  std::vector<ErrorCode> errors;
  std::string body;
  int status = 0;
};

class Exchange final : public event::Exchange {
 public:
  explicit Exchange(Answers& answers) : answers_(answers) {}
  void read_body() override {}
  void respond(const event::ResponseHead& head, std::string_view body) override {
    ++answers_.done;
    answers_.status = head.status;
    answers_.body.assign(body);
  }
  void start(const event::ResponseHead& head) override { answers_.status = head.status; }
  bool write(std::string_view chunk, bool end) override {
    answers_.body.append(chunk);
    answers_.done += end;
    return true;
  }
  void fail(const Error& error) override {
    ++answers_.failed;
    answers_.errors.push_back(error.code);
  }
  void released() override { ++answers_.released; }

 private:
  Answers& answers_;
};

// A spawner whose keeper is nobody.
struct NoKeeper {
  NoKeeper() {
    int pair[2];
    KAON_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    near = Fd(pair[0]);
    far = Fd(pair[1]);
  }
  Fd near, far;
};

inline observe::Log quiet_log() {
  struct Nowhere final : observe::Sink {
    void write(observe::Level, std::string_view) override {}
  };
  return observe::Log(std::make_shared<Nowhere>(), observe::Format::kText, observe::Level::kError);
}

}  // namespace kaon::processor::fake
