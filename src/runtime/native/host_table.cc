#include <algorithm>
#include <cstring>
#include <new>

#include "base/text.h"
#include "runtime/native/core.h"
#include "runtime/native/native_call.h"

// The functions that the library calls. Each checks its arguments, and lets no exception through.
namespace kaon::runtime::native {
namespace {

constexpr size_t kMaxHeaders = 1024;
constexpr size_t kMaxLogFields = 16;

NativeCall* slot(kaon_call call) { return static_cast<NativeCall*>(call.slot); }
bool live(kaon_call call) { return call.slot && slot(call)->live(call.generation); }
std::string_view view(kaon_str text) { return text.size ? std::string_view(text.data, text.size) : std::string_view(); }
kaon_str str(std::string_view text) { return {text.data(), text.size()}; }

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && std::strchr("!#$%&'*+-.^_`|~", c));
  });
}
// What may stand in a header's value: nothing that could end it and begin another.
bool is_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return (c >= 32 && c != 127) || c == '\t'; });
}

// Copies what the library knew of `head`; false where it is wrong.
bool read_head(const kaon_head* head, kaon_head& out) {
  out = KAON_HEAD_INIT;
  if (!head) return true;
  constexpr size_t kLeast = offsetof(kaon_head, body_size) + sizeof(head->body_size);
  if (head->size < kLeast) return false;
  std::memcpy(&out, head, std::min<size_t>(head->size, sizeof out));
  if (out.status < 200 || out.status > 599 || !is_value(view(out.content_type)) || out.header_count > kMaxHeaders) return false;
  for (size_t i = 0; i < out.header_count; ++i)
    if (!is_token(view(out.headers[i].name)) || !is_value(view(out.headers[i].value))) return false;
  return true;
}

template <typename F>
int32_t shielded(kaon_call call, F&& f) {
  if (!call.slot) return KAON_E_FINISHED;
  try {
    return f(*slot(call), call.generation);
  } catch (const std::bad_alloc&) {
    return KAON_E_MEMORY;
  } catch (const std::length_error&) {
    return KAON_E_MEMORY;
  }
}

std::span<const Header> fields_of(const event::Event& event, kaon_fields which) {
  switch (which) {
    case KAON_HEADERS:
      return event.headers;
    case KAON_PARAMS:
      return event.params;
    case KAON_EXTENSIONS:
      return event.extensions;
  }
  return {};
}

kaon_str attribute(kaon_call call, kaon_attribute which) {
  if (!live(call)) return {};
  const event::Event& event = slot(call)->event();
  switch (which) {
    case KAON_ID:
      return str(event.id);
    case KAON_SOURCE:
      return str(event.source);
    case KAON_TYPE:
      return str(event.type);
    case KAON_SUBJECT:
      return str(event.subject);
    case KAON_TIME:
      return str(event.time);
    case KAON_DATACONTENTTYPE:
      return str(event.datacontenttype);
    case KAON_TRACEPARENT:
      return str(event.traceparent);
    case KAON_TRIGGER:
      return str(event.trigger);
    case KAON_METHOD:
      return str(event.method);
    case KAON_PATH:
      return str(event.path);
    case KAON_QUERY:
      return str(event.query);
    case KAON_TOPIC:
      return str(event.position.topic);
  }
  return {};
}

int64_t number(kaon_call call, kaon_number which) {
  if (!live(call)) return -1;
  const event::Event& event = slot(call)->event();
  switch (which) {
    case KAON_DEADLINE_NS:
      return event.deadline;
    case KAON_BODY_SIZE:
      return event.body_size && *event.body_size <= INT64_MAX ? static_cast<int64_t>(*event.body_size) : -1;
    case KAON_ATTEMPT:
      return event.position.attempt;
    case KAON_PARTITION:
      return event.position.partition;
    case KAON_OFFSET:
      return event.position.offset;
  }
  return -1;
}

int32_t field(kaon_call call, kaon_fields which, size_t index, kaon_field* out) {
  if (!live(call) || !out) return 0;
  auto fields = fields_of(slot(call)->event(), which);
  if (index >= fields.size()) return 0;
  *out = {str(fields[index].name), str(fields[index].value)};
  return 1;
}

int32_t find(kaon_call call, kaon_fields which, kaon_str name, kaon_str* value) {
  if (value) *value = {};
  if (!live(call)) return 0;
  for (const Header& header : fields_of(slot(call)->event(), which)) {
    if (!equals_ignore_case(header.name, view(name))) continue;
    if (value) *value = str(header.value);
    return 1;
  }
  return 0;
}

kaon_str body(kaon_call call, int32_t* complete) {
  if (complete) *complete = 0;
  if (!live(call)) return {};
  if (complete) *complete = slot(call)->body_complete();
  return str(slot(call)->body());
}

int32_t set_callbacks(kaon_call call, const kaon_callbacks* callbacks, void* user) {
  constexpr size_t kLeast = offsetof(kaon_callbacks, closed) + sizeof(callbacks->closed);
  if (!callbacks || callbacks->size < kLeast) return KAON_E_INVALID;
  kaon_callbacks copy{};
  std::memcpy(&copy, callbacks, std::min<size_t>(callbacks->size, sizeof copy));
  return shielded(call, [&](NativeCall& c, uint64_t g) { return c.set_callbacks(g, copy, user); });
}

int32_t read_body(kaon_call call) {
  return shielded(call, [](NativeCall& c, uint64_t g) { return c.read_body(g); });
}

int32_t cancelled(kaon_call call) { return !live(call) || slot(call)->cancelled(); }

int32_t respond(kaon_call call, const kaon_head* head, const char* data, size_t size) {
  kaon_head copy;
  if (!read_head(head, copy)) return KAON_E_INVALID;
  return shielded(call, [&](NativeCall& c, uint64_t g) { return c.respond(g, copy, view({data, size})); });
}

int32_t start(kaon_call call, const kaon_head* head) {
  kaon_head copy;
  if (!read_head(head, copy)) return KAON_E_INVALID;
  return shielded(call, [&](NativeCall& c, uint64_t g) { return c.start(g, copy); });
}

int32_t write(kaon_call call, const char* data, size_t size) {
  return shielded(call, [&](NativeCall& c, uint64_t g) { return c.write(g, view({data, size})); });
}

int32_t end(kaon_call call, const char* data, size_t size) {
  return shielded(call, [&](NativeCall& c, uint64_t g) { return c.end(g, view({data, size})); });
}

ErrorCode error_code(kaon_failure why) {
  switch (why) {
    case KAON_FAIL_FUNCTION:
      return ErrorCode::kUserCode;
    case KAON_FAIL_INVALID:
      return ErrorCode::kInvalid;
    case KAON_FAIL_NOT_FOUND:
      return ErrorCode::kNotFound;
    case KAON_FAIL_DENIED:
      return ErrorCode::kDenied;
    case KAON_FAIL_OVERLOADED:
      return ErrorCode::kOverloaded;
    case KAON_FAIL_UNAVAILABLE:
      return ErrorCode::kDisconnected;
    case KAON_FAIL_TIMEOUT:
      return ErrorCode::kTimeout;
    case KAON_FAIL_CANCELLED:
      return ErrorCode::kCancelled;
  }
  return ErrorCode::kUserCode;
}

int32_t fail(kaon_call call, kaon_failure why, kaon_str message) {
  return shielded(call, [&](NativeCall& c, uint64_t g) { return c.fail(g, error_code(why), view(message)); });
}

void log(const kaon_host* host, kaon_call call, kaon_level level, kaon_str message, const kaon_field* fields, size_t count) {
  const observe::Log& log = reinterpret_cast<const HostTable*>(host)->core->log();
  auto to = static_cast<observe::Level>(std::clamp<int>(level, KAON_DEBUG, KAON_ERROR));
  if (!log.enabled(to)) return;
  observe::Field copies[kMaxLogFields];
  count = std::min(count, kMaxLogFields);
  for (size_t i = 0; i < count; ++i) copies[i] = {view(fields[i].name), view(fields[i].value)};
  try {
    log.write_event(to, live(call) ? slot(call)->event().id : std::string_view(), view(message), std::span(copies, count));
  } catch (const std::bad_alloc&) {
  }
}

int32_t log_enabled(const kaon_host* host, kaon_level level) {
  auto to = static_cast<observe::Level>(std::clamp<int>(level, KAON_DEBUG, KAON_ERROR));
  return reinterpret_cast<const HostTable*>(host)->core->log().enabled(to);
}

}  // namespace

kaon_host make_host_table() {
  return {KAON_ABI_VERSION, sizeof(kaon_host), attribute, number, field, find, body, set_callbacks, read_body,
          cancelled,        respond,           start,     write,  end,   fail, log,  log_enabled};
}

}  // namespace kaon::runtime::native
