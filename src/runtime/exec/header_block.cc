#include "runtime/exec/header_block.h"

#include <algorithm>

#include "base/text.h"

namespace kaon::runtime::exec {
namespace {

constexpr std::string_view kConnectionFields[] = {"connection", "keep-alive",        "proxy-connection", "te",
                                                  "trailer",    "transfer-encoding", "upgrade",          "proxy-authenticate"};

bool is_token(std::string_view name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    char lower = to_lower(c);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || kMarks.find(c) != kMarks.npos;
  });
}

bool is_value(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Error refuse(std::string what) { return {ErrorCode::kUserCode, "the function's header block " + std::move(what)}; }

Result<void> take_field(std::string_view name, std::string_view value, HeaderBlock& out) {
  if (equals_ignore_case(name, "status")) {
    std::string_view code = value.substr(0, value.find(' '));
    auto number = parse_uint(code);
    if (code.size() != 3 || !number || *number < 200 || *number > 599) return refuse("has a Status that is not 200 to 599");
    out.status = static_cast<int>(*number);
  } else if (equals_ignore_case(name, "content-type")) {
    out.content_type = value;
  } else if (equals_ignore_case(name, "content-length")) {
    out.content_length = parse_uint(value);
    if (!out.content_length) return refuse("has a Content-Length that is no number");
  } else {
    bool dropped = std::any_of(std::begin(kConnectionFields), std::end(kConnectionFields),
                               [&](std::string_view field) { return equals_ignore_case(name, field); });
    if (dropped) return {};
    if (out.headers.size() >= kMaxHeaders) return refuse("has more than 64 fields");
    out.headers.push_back({name, value});
  }
  return {};
}

}  // namespace

Result<void> parse_header_block(std::string_view text, HeaderBlock& out) {
  out = HeaderBlock();
  for (size_t at = 0;;) {
    size_t end = text.find('\n', at);
    if (end == text.npos || end > kMaxHeaderBlock) {
      out.size = 0;
      if (text.size() > kMaxHeaderBlock) return refuse("does not end within 16 KiB; it ends with an empty line");
      return {};
    }
    std::string_view line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    at = end + 1;
    if (line.empty()) {
      out.size = at;
      return {};
    }
    size_t colon = line.find(':');
    std::string_view name = line.substr(0, colon);
    if (colon == line.npos || !is_token(name))
      return refuse("has a line that is no `Name: value`; end the block with an empty line, or use `output: raw`");
    std::string_view value = trim(line.substr(colon + 1));
    if (!is_value(value)) return refuse("has control bytes in the value of " + std::string(name));
    KAON_TRY_VOID(take_field(name, value, out));
  }
}

}  // namespace kaon::runtime::exec
