// kaon.hpp: write Kaon functions in C++17 or later. Header-only; over the C interface in kaon.h, whose rules on threads
// and lifetimes hold here too.
//
//     #include <kaon.hpp>
//     kaon::Response handle(kaon::Event& event) {
//       if (event.body().empty()) return {400, "send something"};
//       return "hello, " + std::string(event.body());
//     }
//     KAON_HANDLER(handle)
//
// `kaon run hello.cc` compiles and runs it. An exception that leaves the handler fails the event with its what();
// kaon::Failure says more exactly what the source should do about it.
//
// A handler whose answer comes later, or in pieces, takes the call itself:
//
//     void handle(kaon::Call call) { queue.push(std::move(call)); }  // some thread: call.respond("done")
//     KAON_ASYNC_HANDLER(handle)
#pragma once
#include <cstdint>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kaon.h"

// Hidden: the host may load several functions, each with the wrapper that it was built with.
namespace kaon __attribute__((visibility("hidden"))) {

  // A header, parameter or log field.
  struct Field {
    std::string_view name;
    std::string_view value;
  };

  namespace detail {
  inline kaon_str str(std::string_view text) { return {text.data(), text.size()}; }
  inline std::string_view view(kaon_str text) { return text.size ? std::string_view(text.data, text.size) : std::string_view(); }
  }  // namespace detail

  // Thrown by a handler: a failure of a certain kind (kaon_failure in kaon.h).
  //   throw kaon::Failure(KAON_FAIL_INVALID, "no such field");
  class Failure : public std::runtime_error {
   public:
    Failure(kaon_failure kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
    kaon_failure kind() const { return kind_; }

   private:
    kaon_failure kind_;
  };

  // What Event and Call have in common: looking at the event, and the log. All views are good until the call is finished.
  class EventView {
   public:
    EventView(const kaon_host* host, kaon_call call) : host_(host), call_(call) {}

    std::string_view id() const { return attribute(KAON_ID); }
    std::string_view source() const { return attribute(KAON_SOURCE); }
    std::string_view type() const { return attribute(KAON_TYPE); }
    std::string_view subject() const { return attribute(KAON_SUBJECT); }
    std::string_view time() const { return attribute(KAON_TIME); }  // RFC 3339
    std::string_view content_type() const { return attribute(KAON_DATACONTENTTYPE); }
    std::string_view traceparent() const { return attribute(KAON_TRACEPARENT); }
    std::string_view trigger() const { return attribute(KAON_TRIGGER); }  // its name in function.yaml
    std::string_view method() const { return attribute(KAON_METHOD); }    // of an HTTP request, as are path and query
    std::string_view path() const { return attribute(KAON_PATH); }        // not percent-decoded
    std::string_view query() const { return attribute(KAON_QUERY); }
    std::string_view topic() const { return attribute(KAON_TOPIC); }
    int64_t attempt() const { return host_->number(call_, KAON_ATTEMPT); }      // 1 for the first delivery
    int64_t partition() const { return host_->number(call_, KAON_PARTITION); }  // -1: none
    int64_t offset() const { return host_->number(call_, KAON_OFFSET); }        // -1: none
    // Nanoseconds of CLOCK_MONOTONIC (std::chrono::steady_clock); INT64_MAX: none.
    int64_t deadline_ns() const { return host_->number(call_, KAON_DEADLINE_NS); }
    // Bytes, where the source said it beforehand.
    std::optional<uint64_t> body_size() const {
      int64_t size = host_->number(call_, KAON_BODY_SIZE);
      return size < 0 ? std::nullopt : std::optional<uint64_t>(static_cast<uint64_t>(size));
    }

    // The first header with this name, letter case ignored; empty when there is none.
    std::string_view header(std::string_view name) const { return find(KAON_HEADERS, name).value_or(std::string_view()); }
    std::string_view param(std::string_view name) const { return find(KAON_PARAMS, name).value_or(std::string_view()); }
    std::string_view extension(std::string_view name) const { return find(KAON_EXTENSIONS, name).value_or(std::string_view()); }
    std::optional<std::string_view> find(kaon_fields which, std::string_view name) const {
      kaon_str value;
      if (!host_->find(call_, which, detail::str(name), &value)) return std::nullopt;
      return detail::view(value);
    }
    // Calls f(name, value) for each, in the order of the source.
    template <typename F>
    void for_each(kaon_fields which, F&& f) const {
      kaon_field field;
      for (size_t i = 0; host_->field(call_, which, i, &field); ++i) f(detail::view(field.name), detail::view(field.value));
    }

    // Nobody wants the answer any more: the deadline has passed, or the client has gone.
    bool cancelled() const { return host_->cancelled(call_) != 0; }

    // A record in the function's log, with this event's id.
    //   event.log(KAON_INFO, "resized", {{"size", "200x200"}});
    void log(kaon_level level, std::string_view message, std::initializer_list<Field> fields = {}) const {
      kaon_field copies[16];
      size_t count = 0;
      for (const Field& field : fields) {
        if (count == 16) break;
        copies[count++] = {detail::str(field.name), detail::str(field.value)};
      }
      host_->log(host_, call_, level, detail::str(message), copies, count);
    }
    bool log_enabled(kaon_level level) const { return host_->log_enabled(host_, level) != 0; }

    const kaon_host* host() const { return host_; }
    kaon_call handle() const { return call_; }

   protected:
    std::string_view attribute(kaon_attribute which) const { return detail::view(host_->attribute(call_, which)); }
    const kaon_host* host_;
    kaon_call call_;
  };

  // One event, for a KAON_HANDLER. Good until the handler returns.
  class Event : public EventView {
   public:
    using EventView::EventView;
    // The whole body, as it came.
    std::string_view body() const { return detail::view(host_->body(call_, nullptr)); }
  };

  // What a function answers. The body is a string that it owns, or, by Response::view, bytes that outlive the handler's
  // return: the event's own body, a constant.
  class Response {
   public:
    Response() = default;  // 200, empty
    Response(std::string body) : body_(std::move(body)) {}
    Response(std::string_view body) : body_(body) {}
    Response(const char* body) : body_(body) {}
    Response(int status, std::string body = {}) : status_(status), body_(std::move(body)) {}

    // Without a copy. `body` must stay good until the handler has returned, and so must not point to its locals.
    static Response view(std::string_view body, int status = 200) {
      Response response(status);
      response.view_ = body;
      response.is_view_ = true;
      return response;
    }
    static Response json(std::string body, int status = 200) {
      Response response(status, std::move(body));
      response.content_type_ = "application/json";
      return response;
    }

    Response&& status(int status) && { return status_ = status, std::move(*this); }
    Response& status(int status) & { return status_ = status, *this; }
    Response&& content_type(std::string type) && { return content_type_ = std::move(type), std::move(*this); }
    Response& content_type(std::string type) & { return content_type_ = std::move(type), *this; }
    Response&& header(std::string name, std::string value) && {
      return headers_.emplace_back(std::move(name), std::move(value)), std::move(*this);
    }
    Response& header(std::string name, std::string value) & {
      return headers_.emplace_back(std::move(name), std::move(value)), *this;
    }

    int status() const { return status_; }
    std::string_view body() const { return is_view_ ? view_ : std::string_view(body_); }

    // Calls f(const kaon_head&) with the head; its views are good inside.
    template <typename F>
    int32_t with_head(F&& f) const {
      kaon_head head = KAON_HEAD_INIT;
      head.status = status_;
      head.content_type = detail::str(content_type_);
      std::vector<kaon_field> fields;
      for (const auto& [name, value] : headers_) fields.push_back({detail::str(name), detail::str(value)});
      head.headers = fields.data();
      head.header_count = fields.size();
      return f(head);
    }

   private:
    int status_ = 200;
    bool is_view_ = false;
    std::string content_type_;
    std::vector<std::pair<std::string, std::string>> headers_;
    std::string body_;
    std::string_view view_;
  };

  class Call;

  // What an asynchronous call wants to hear (Call::attach). Its functions, and the handler, never run at the same time. It
  // is destroyed when the call is finished and nothing of it runs any more.
  class Stream {
   public:
    virtual ~Stream() = default;
    // First, from within attach: the place to start the answer and to ask for the body.
    virtual void on_start(Call& call) { (void)call; }
    // The answer to call.read(). `chunk` is good until the return.
    virtual void on_body(Call& call, std::string_view chunk, bool end) { (void)call, (void)chunk, (void)end; }
    // After call.write() has said false: there is room again.
    virtual void on_writable(Call& call) { (void)call; }
    // Finish the call soon, with anything; this does it.
    virtual void on_cancel(Call& call);
  };

  // One call, to be finished once, at any time, from any thread. Move-only. Dropping it unfinished fails the event.
  class Call : public EventView {
   public:
    Call(const kaon_host* host, kaon_call call) : EventView(host, call) {}
    Call(Call&& other) noexcept : EventView(other) { other.call_ = {}; }
    Call& operator=(Call&& other) noexcept {
      if (this == &other) return *this;
      drop();
      EventView::operator=(other);
      other.call_ = {};
      return *this;
    }
    ~Call() { drop(); }

    // What had arrived of the body when the handler was called; `complete` says whether that is all. See read().
    std::string_view body() const { return detail::view(host_->body(call_, nullptr)); }
    bool body_complete() const {
      int32_t complete = 0;
      host_->body(call_, &complete);
      return complete != 0;
    }

    // --- finishing: false when it was finished before, or the answer is not valid ---
    bool respond(const Response& response) {
      return finish(response.with_head(
          [&](const kaon_head& head) { return host_->respond(call_, &head, response.body().data(), response.body().size()); }));
    }
    bool fail(std::string_view message, kaon_failure kind = KAON_FAIL_FUNCTION) {
      return finish(host_->fail(call_, kind, detail::str(message)));
    }
    bool end(std::string_view chunk = {}) { return finish(host_->end(call_, chunk.data(), chunk.size())); }

    // --- the answer in pieces: start, write…, end ---
    // `head` without its body; `size`: of the body, where it is known.
    bool start(const Response& head = {}, std::optional<uint64_t> size = {}) {
      return head.with_head([&](kaon_head raw) {
        raw.body_size = size.value_or(KAON_UNKNOWN_SIZE);
        return host_->start(call_, &raw);
      }) == KAON_OK;
    }
    // True: go on. False: write no more before Stream::on_writable, or at all when cancelled().
    bool write(std::string_view chunk) { return host_->write(call_, chunk.data(), chunk.size()) == KAON_OK; }

    // --- streaming in ---
    // Asks for the next chunk after body(): Stream::on_body answers.
    bool read() { return host_->read_body(call_) == KAON_OK; }

    // Inside the handler: gives the call to `stream`, whose functions go on with it. This object is empty afterwards.
    void attach(std::unique_ptr<Stream> stream) &&;

    explicit operator bool() const { return call_.slot != nullptr; }

   private:
    bool finish(int32_t result) {
      if (result == KAON_OK || result == KAON_E_FINISHED) call_ = {};
      return result == KAON_OK;
    }
    void drop() noexcept;
  };

  inline void Stream::on_cancel(Call & call) { call.fail("cancelled", KAON_FAIL_CANCELLED); }

  namespace detail {

  // The call whose asynchronous handler runs on this thread. When an exception destroys the Call in there, the failure
  // waits for the exception's message.
  struct Handling {
    kaon_call call;
    bool unwound;
  };
  inline thread_local Handling* handling = nullptr;

  struct Attached {
    Call call;
    std::unique_ptr<Stream> stream;
  };

  // Runs f; what it throws becomes the failure of the call.
  template <typename F>
  void guarded(const kaon_host* host, kaon_call call, F&& f) noexcept {
    auto fail = [&](kaon_failure kind, const char* message) { host->fail(call, kind, str(message)); };
    try {
      f();
    } catch (const Failure& failure) {
      fail(failure.kind(), failure.what());
    } catch (const std::exception& error) {
      fail(KAON_FAIL_FUNCTION, error.what());
    } catch (...) {
      fail(KAON_FAIL_FUNCTION, "the function threw something that is no std::exception");
    }
  }

  inline void attached_body(void* user, kaon_call call, const char* chunk, size_t size, int32_t end) {
    auto& self = *static_cast<Attached*>(user);
    guarded(self.call.host(), call, [&] { self.stream->on_body(self.call, std::string_view(chunk, size), end != 0); });
  }
  inline void attached_writable(void* user, kaon_call call) {
    auto& self = *static_cast<Attached*>(user);
    guarded(self.call.host(), call, [&] { self.stream->on_writable(self.call); });
  }
  inline void attached_cancelled(void* user, kaon_call call) {
    auto& self = *static_cast<Attached*>(user);
    guarded(self.call.host(), call, [&] { self.stream->on_cancel(self.call); });
  }
  inline void attached_closed(void* user) { delete static_cast<Attached*>(user); }

  inline int32_t init(const kaon_host* host, void** context, char* error, size_t capacity) {
    if (host->abi_version != KAON_ABI_VERSION || !KAON_HAS(host, log_enabled)) {
      std::snprintf(error, capacity, "this Kaon is too old for the kaon.hpp that the function was built with");
      return 1;
    }
    *context = const_cast<kaon_host*>(host);
    return 0;
  }

  template <auto Function>
  void handle(void* context, kaon_call call) {
    auto* host = static_cast<const kaon_host*>(context);
    guarded(host, call, [&] {
      Event event(host, call);
      const Response response = Function(event);
      int32_t result = response.with_head(
          [&](const kaon_head& head) { return host->respond(call, &head, response.body().data(), response.body().size()); });
      if (result == KAON_E_INVALID) throw std::invalid_argument("the response has a bad status, header name or header value");
      if (result != KAON_OK) throw std::runtime_error("the response could not be sent");
    });
  }

  template <auto Function>
  void handle_async(void* context, kaon_call call) {
    auto* host = static_cast<const kaon_host*>(context);
    Handling* outer = std::exchange(handling, nullptr);
    Handling here{call, false};
    handling = &here;
    guarded(host, call, [&] {
      try {
        Function(Call(host, call));
      } catch (...) {
        // An exception of a call that has been handed on or finished says nothing about the event any more.
        if (here.unwound) throw;
        host->log(host, kaon_call{}, KAON_ERROR, str("the function threw after it had handed on its call"), nullptr, 0);
      }
    });
    handling = outer;
  }

  }  // namespace detail

  inline void Call::drop() noexcept {
    if (!call_.slot) return;
    kaon_call call = std::exchange(call_, kaon_call{});
    if (auto* here = detail::handling;
        here && here->call.slot == call.slot && here->call.generation == call.generation && std::uncaught_exceptions() > 0) {
      here->unwound = true;
      return;
    }
    host_->fail(call, KAON_FAIL_FUNCTION, detail::str("the function dropped the call without an answer"));
  }

  inline void Call::attach(std::unique_ptr<Stream> stream)&& {
    const kaon_host* host = host_;
    kaon_call raw = call_;
    auto attached = std::unique_ptr<detail::Attached>(new detail::Attached{std::move(*this), std::move(stream)});
    static constexpr kaon_callbacks kCallbacks{sizeof(kaon_callbacks),     0,
                                               detail::attached_body,      detail::attached_writable,
                                               detail::attached_cancelled, detail::attached_closed};
    if (host->set_callbacks(raw, &kCallbacks, attached.get()) != KAON_OK) return;
    detail::Attached& self = *attached.release();
    detail::guarded(host, raw, [&] { self.stream->on_start(self.call); });
  }

}  // namespace )

#define KAON_DESCRIPTOR_(flags, handle)            \
  KAON_EXPORT const kaon_descriptor kaon_function; \
  const kaon_descriptor kaon_function = {          \
      KAON_ABI_VERSION, sizeof(kaon_descriptor), flags, nullptr, ::kaon::detail::init, handle, nullptr};

// KAON_HANDLER(f): `f(kaon::Event&)` returns a kaon::Response, or what one is made from. The body is whole.
#define KAON_HANDLER(f) KAON_DESCRIPTOR_(KAON_WHOLE_BODY, (::kaon::detail::handle<&f>))
// KAON_ASYNC_HANDLER(f): `f(kaon::Call)` returns nothing. The body may still be arriving.
#define KAON_ASYNC_HANDLER(f) KAON_DESCRIPTOR_(0, (::kaon::detail::handle_async<&f>))
