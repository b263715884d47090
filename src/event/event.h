#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/header.h"

namespace kaon::event {

using kaon::Header;

// Where the event stands in its source. Of an HTTP request only `attempt` means anything.
struct Position {
  std::string_view topic;
  int32_t partition = -1;
  int64_t offset = -1;
  uint32_t attempt = 1;  // 1 for the first delivery
};

// One event, the same structure for every source: CloudEvents 1.0 attributes, a body that nobody has parsed, and what
// the source has besides. All views point into memory of the exchange that brought it and live as long as its call.
struct Event {
  std::string_view id;  // unique together with `source`; made here where the source gives none
  std::string_view source;
  std::string_view type;
  std::string_view subject;          // empty when absent, as are the next two
  std::string_view time;             // RFC 3339
  std::string_view datacontenttype;
  std::span<const Header> extensions;  // lower-case names
  std::string_view traceparent;

  std::string_view trigger;             // its name in function.yaml
  std::string_view method, path, query;  // HTTP only; `path` is percent-decoded nowhere
  std::span<const Header> headers;      // HTTP headers, Kafka headers, …
  std::span<const Header> params;       // path parameters
  Position position;

  // What has arrived of the body. The rest, when `body_complete` is false, comes by Call::read_body.
  Bytes body;
  bool body_complete = true;
  std::optional<uint64_t> body_size;  // where the source said it beforehand

  Nanos deadline = kNever;
};

// What a function answers. Views are read before the call that takes the head returns.
struct ResponseHead {
  int status = 200;
  std::string_view content_type;  // empty: the trigger chooses
  std::span<const Header> headers;
  std::optional<uint64_t> size;  // of the body, where it is known before it is sent
};

}  // namespace kaon::event
