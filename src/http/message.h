#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/header.h"

namespace kaon::http {

using kaon::Header;  // values are without the white space around them

// The head of one request. All views point into the buffer that it was parsed from.
struct Request {
  std::string_view method;  // a token, case-sensitive
  std::string_view target;  // as it stood in the request line
  std::string_view path;    // of the target, "/" at least; "*" for OPTIONS *; percent-decoded nowhere
  std::string_view query;   // behind the first '?', without it
  std::string_view host;    // value of Host; it equals the authority of an absolute target
  int minor_version = 1;    // HTTP/1.x: 0 or 1
  std::span<const Header> headers;
  std::optional<uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = true;        // what version and Connection say
  bool expect_continue = false;  // of a 1.1 request with a body
  bool head = false;             // the method is HEAD

  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
  // The first header of that name, in any case; empty when there is none.
  std::string_view header(std::string_view name) const;
};

// "OK" for 200; empty for a status without a registered phrase.
std::string_view reason_phrase(int status);

// Whether name and value can stand in a head: a token, and no control byte except the tab.
bool valid_header(std::string_view name, std::string_view value);

}  // namespace kaon::http
