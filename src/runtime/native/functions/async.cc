#include <chrono>
#include <kaon.hpp>
#include <thread>

namespace {

// What came in goes out, a chunk at a time.
class Echo final : public kaon::Stream {
 public:
  void on_start(kaon::Call& call) override {
    call.start(kaon::Response().content_type("text/stream"));
    ended_ = call.body_complete();
    next(call, call.write(call.body()));
  }
  void on_body(kaon::Call& call, std::string_view chunk, bool end) override {
    ended_ = end;
    next(call, call.write(chunk));
  }
  void on_writable(kaon::Call& call) override { next(call, true); }
  void next(kaon::Call& call, bool room) {
    if (ended_)
      call.end();
    else if (room)
      call.read();
  }

 private:
  bool ended_ = false;
};

class FirstRead final : public kaon::Stream {
  void on_start(kaon::Call& call) override { call.read(); }
  void on_body(kaon::Call&, std::string_view, bool) override { throw std::runtime_error("thrown from on_body"); }
};

void handle(kaon::Call call) {
  std::string_view what = call.subject();
  if (what == "thread") {
    std::thread([call = std::move(call)]() mutable {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      call.respond(std::string("later: ") + std::string(call.body()));
    }).detach();
  } else if (what == "stream") {
    std::move(call).attach(std::make_unique<Echo>());
  } else if (what == "throw") {
    throw std::runtime_error("thrown with the call in hand");
  } else if (what == "throw_later") {
    std::move(call).attach(std::make_unique<kaon::Stream>());
    throw std::runtime_error("thrown after the call was handed on");
  } else if (what == "throw_in_body") {
    std::move(call).attach(std::make_unique<FirstRead>());
  }  // "drop": nothing
}

}  // namespace
KAON_ASYNC_HANDLER(handle)
