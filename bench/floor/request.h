#pragma once
#include <cstddef>
#include <string_view>

namespace bench {

// The head of one HTTP/1.1 request, as far as an echo server must understand it.
struct Request {
  size_t head_size = 0;     // with the empty line
  size_t body_size = 0;     // from Content-Length
  bool keep_alive = true;
  bool head_only = false;   // HEAD: the answer has no body
  bool expects_continue = false;
};

enum class Parse {
  kComplete,    // the whole head is there
  kIncomplete,  // needs more bytes
  kBad,         // 400
  kUnknown,     // 501: a transfer coding
};

// Reads the head that `input` begins with. `request` is good only after kComplete. A head is read again from its start
// when it was incomplete, so the caller must bound its size.
Parse parse_request(std::string_view input, Request& request);

}  // namespace bench
