#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "event/event.h"

namespace kaon::runtime::exec {

inline constexpr size_t kMaxHeaderBlock = 16 << 10;
inline constexpr size_t kMaxHeaders = 64;

// The head of a result under `output: headers`: lines `Name: value`, ended by LF or CRLF, up to an empty line. `Status` (200
// to 599; a reason after it is ignored), `Content-Type` and `Content-Length` are taken out; fields of one connection
// (Connection, Transfer-Encoding, …) are left out.
struct HeaderBlock {
  int status = 200;
  std::string_view content_type;
  std::optional<uint64_t> content_length;
  std::vector<event::Header> headers;  // all views point into the text that was parsed
  size_t size = 0;                     // with the empty line; 0: the text does not hold the whole block yet
};

// kUserCode: the text cannot become a block, or is one that no client may see.
Result<void> parse_header_block(std::string_view text, HeaderBlock& out);

}  // namespace kaon::runtime::exec
