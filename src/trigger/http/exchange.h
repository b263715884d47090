#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/time_text.h"
#include "event/call.h"
#include "http/cors.h"
#include "http/server.h"
#include "observe/event_id.h"

namespace kaon::trigger::http {

class ExchangePool;

// What all requests of one route share.
struct Route {
  event::Intake* intake;
  std::string source;          // of the events
  bool expose_errors = false;  // the client sees why a function failed
  std::unique_ptr<kaon::http::Cors> cors;
};

// One HTTP request as an event. At home on its pool's loop.
class Exchange final : public event::Exchange {
 public:
  explicit Exchange(ExchangePool& pool) : pool_(pool) {}

  // Takes the stream and hands the event in. `params` lives in `this->params`, which the caller has filled.
  void open(kaon::http::Stream& stream, const Route& route);
  // What the server tells of the stream, passed on while somebody has the event.
  void body_arrived(std::string_view chunk, bool end) {
    if (call) call->body_arrived(chunk, end);
  }
  void writable() {
    if (call) call->writable();
  }
  void gone(const Error& why) {
    if (call) call->abandon(why);
  }

  std::vector<event::Header> params;  // path parameters

  void read_body() override { stream_->read_body(); }
  void respond(const event::ResponseHead& head, std::string_view body) override;
  void start(const event::ResponseHead& head) override;
  bool write(std::string_view chunk, bool end) override { return stream_->write(chunk, end); }
  void fail(const Error& error) override;
  void released() override;

 private:
  // `headers` and those that the route's CORS adds; in `with_cors_`, when there is any.
  std::span<const event::Header> response_headers(std::span<const event::Header> headers);
  void read_headers(const kaon::http::Request& request);
  void take_attribute(std::string_view name, std::string_view value);

  ExchangePool& pool_;
  kaon::http::Stream* stream_ = nullptr;
  const Route* route_ = nullptr;
  char id_[observe::kEventIdSize];
  char time_[kTimeTextSize];
  std::vector<event::Header> extensions_;
  std::vector<event::Header> with_cors_;
  std::string lower_;  // extension names in lower case; its capacity is kept
};

// The exchanges of one loop, and what they need of it.
class ExchangePool {
 public:
  ExchangePool(loop::Loop& loop, observe::EventIds ids) : loop_(loop), ids_(ids) {}
  Exchange& take();
  void give(Exchange& exchange) { free_.push_back(&exchange); }
  // A new event id, written to `out` (kEventIdSize characters).
  std::string_view next_id(char* out) {
    ids_.next(loop_.now(), out);
    return {out, observe::kEventIdSize};
  }
  Nanos now() const { return loop_.now(); }
  // The time as RFC 3339, written to `out` (kTimeTextSize characters).
  std::string_view time_text(char* out);

 private:
  loop::Loop& loop_;
  observe::EventIds ids_;
  std::vector<std::unique_ptr<Exchange>> all_;
  std::vector<Exchange*> free_;
  Nanos time_end_ = 0;  // of the millisecond that `time_` says
  char time_[kTimeTextSize];
};

}  // namespace kaon::trigger::http
