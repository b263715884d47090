#include "request.h"

#include <strings.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace bench {
namespace {

enum : uint8_t { kToken = 1, kTarget = 2, kValue = 4 };

constexpr std::array<uint8_t, 256> make_table() {
  std::array<uint8_t, 256> table{};
  for (int c = 0; c < 256; ++c) {
    bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    bool mark = c != 0 && std::string_view("!#$%&'*+-.^_`|~").find(char(c)) != std::string_view::npos;
    if (alphanumeric || mark) table[c] |= kToken;
    if (c > ' ' && c != 127) table[c] |= kTarget;
    if (c == '\t' || (c >= ' ' && c != 127)) table[c] |= kValue;
  }
  return table;
}
constexpr std::array<uint8_t, 256> kTable = make_table();

bool all(std::string_view text, uint8_t kind) {
  for (unsigned char c : text) {
    if (!(kTable[c] & kind)) return false;
  }
  return true;
}

bool same(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && strncasecmp(text.data(), lower.data(), lower.size()) == 0;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool parse_size(std::string_view text, size_t& size) {
  if (text.empty() || text.size() > 18) return false;
  size = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    size = size * 10 + size_t(c - '0');
  }
  return true;
}

struct Seen {
  bool host = false;
  bool length = false;
  bool coding = false;
};

bool parse_start(std::string_view line, Request& request, bool& http_1_0) {
  size_t method_end = line.find(' ');
  size_t version = line.rfind(' ');
  if (method_end == std::string_view::npos || version == method_end) return false;
  std::string_view method = line.substr(0, method_end);
  std::string_view target = line.substr(method_end + 1, version - method_end - 1);
  std::string_view protocol = line.substr(version + 1);
  if (method.empty() || target.empty() || !all(method, kToken) || !all(target, kTarget)) return false;
  if (protocol == "HTTP/1.0") {
    http_1_0 = true;
    request.keep_alive = false;
  } else if (protocol != "HTTP/1.1") {
    return false;
  }
  request.head_only = method == "HEAD";
  return true;
}

void parse_connection(std::string_view value, Request& request) {
  while (!value.empty()) {
    size_t comma = value.find(',');
    std::string_view option = trim(value.substr(0, comma));
    if (same(option, "close")) request.keep_alive = false;
    if (same(option, "keep-alive")) request.keep_alive = true;
    value.remove_prefix(comma == std::string_view::npos ? value.size() : comma + 1);
  }
}

bool parse_header(std::string_view line, Request& request, Seen& seen) {
  size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  std::string_view name = line.substr(0, colon);
  std::string_view value = trim(line.substr(colon + 1));
  if (!all(name, kToken) || !all(value, kValue)) return false;
  // The length tells most names apart from the few that matter.
  switch (name.size()) {
    case 4:
      if (same(name, "host")) {
        if (seen.host) return false;
        seen.host = true;
      }
      break;
    case 6:
      if (same(name, "expect")) request.expects_continue = same(value, "100-continue");
      break;
    case 10:
      if (same(name, "connection")) parse_connection(value, request);
      break;
    case 14:
      if (same(name, "content-length")) {
        if (seen.length || !parse_size(value, request.body_size)) return false;
        seen.length = true;
      }
      break;
    case 17:
      if (same(name, "transfer-encoding")) seen.coding = true;
      break;
  }
  return true;
}

}  // namespace

Parse parse_request(std::string_view input, Request& request) {
  request = Request{};
  Seen seen;
  bool http_1_0 = false;
  size_t at = input.starts_with("\r\n") ? 2 : 0;  // some clients end a body with one (RFC 9112, 2.2)
  for (bool first = true;; first = false) {
    const void* found = memchr(input.data() + at, '\n', input.size() - at);
    if (!found) return Parse::kIncomplete;
    size_t end = size_t(static_cast<const char*>(found) - input.data());
    if (end == at || input[end - 1] != '\r') return Parse::kBad;
    std::string_view line = input.substr(at, end - 1 - at);
    at = end + 1;
    if (first) {
      if (!parse_start(line, request, http_1_0)) return Parse::kBad;
    } else if (line.empty()) {
      break;
    } else if (!parse_header(line, request, seen)) {
      return Parse::kBad;
    }
  }
  if (!http_1_0 && !seen.host) return Parse::kBad;
  if (seen.coding) return seen.length || http_1_0 ? Parse::kBad : Parse::kUnknown;
  request.head_size = at;
  return Parse::kComplete;
}

}  // namespace bench
