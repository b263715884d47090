#pragma once
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "event/call.h"

// For the tests and the benchmark of this folder: one event's way to a worker and back, with the source's half and the
// dispatcher's half played by the test.
namespace kaon::runtime::native {

struct TripCall final : event::Call {};

struct Trip : event::Exchange, event::Call::Owner {
  TripCall call;
  std::deque<std::string> chunks;  // given out one for each read; the last ends the body
  bool hold_body = false;          // reads are not answered, until give()
  size_t room = SIZE_MAX;          // bytes that write takes before it says stop
  bool wanted = false;
  int reads = 0;

  int status = 0;
  std::string content_type, body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool started = false, ended = false, settled = false, is_released = false;
  std::optional<Error> error;
  std::function<void()> on_release;

  explicit Trip(std::string_view subject = {}, std::string_view content = {}) {
    event.id = "event-1";
    event.subject = subject;
    event.body = Bytes::borrowed(content);
  }
  void send(event::Worker& worker) {
    call.open(*this, *this);
    worker.handle(call);
  }
  bool done() const { return settled && is_released; }
  bool whole() const { return ended && !error; }
  void give() {
    wanted = false;
    std::string chunk = std::move(chunks.front());
    chunks.pop_front();
    call.body_arrived(chunk, chunks.empty());
  }
  void drain() {
    room = SIZE_MAX;
    call.writable();
  }

  void take(const event::ResponseHead& head) {
    status = head.status;
    content_type = head.content_type;
    for (const auto& header : head.headers) headers.emplace_back(header.name, header.value);
  }
  void read_body() override {
    ++reads;
    wanted = true;
    if (!hold_body) give();
  }
  void respond(const event::ResponseHead& head, std::string_view content) override {
    take(head);
    body = content;
    ended = true;
  }
  void start(const event::ResponseHead& head) override {
    take(head);
    started = true;
  }
  bool write(std::string_view chunk, bool end) override {
    body += chunk;
    ended = end;
    room -= std::min(room, chunk.size());
    return room > 0;
  }
  void fail(const Error& why) override { error = why; }
  void released() override { is_released = true; }
  void on_settled(event::Call&) override { settled = true; }
  void on_released(event::Call&) override {
    if (on_release) on_release();
  }
};

}  // namespace kaon::runtime::native
