#include "http/parser.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/text.h"
#include "http/tables.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace kaon::http {
namespace {

// Longest request line: the target, a method of 32 bytes, the version and the spaces.
size_t line_limit(const HeadLimits& limits) { return limits.target_bytes + 48; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

#ifdef __SSE2__
struct Masks {
  uint32_t lf, cr, bad;
};

inline Masks classify(const char* at) {
  __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  __m128i lf = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
  __m128i cr = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r'));
  __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
  // Unsigned "at most 0x1f" is "the minimum with 0x1f is the byte itself".
  __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
  __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
  __m128i allowed = _mm_or_si128(_mm_or_si128(lf, cr), tab);
  __m128i bad = _mm_or_si128(_mm_andnot_si128(allowed, control), del);
  auto mask = [](__m128i v) { return static_cast<uint32_t>(_mm_movemask_epi8(v)); };
  return {mask(lf), mask(cr), mask(bad)};
}
#endif

}  // namespace

// Notes the end of a line; true when it was the empty one that ends the head. The CRLF that some clients send before a
// request line is taken as part of it, once.
bool HeadParser::line_end(size_t at) {
  size_t start = lines_ == 0 ? 0 : line_ends_[lines_ - 1];
  bool empty = at + 1 - start == 2;
  line_ends_[lines_++] = static_cast<uint32_t>(at + 1);
  return empty && lines_ > 1;
}

// Finds the ends of the lines and refuses every byte that no head may have, in byte order.
Parse HeadParser::scan(std::string_view data, const HeadLimits& limits) {
  size_t end = std::min(data.size(), limits.head_bytes);
  size_t at = scanned_;
  const size_t first_limit = line_limit(limits);
  // The first real line: behind the forgiven CRLF, if there is one.
  auto first_line = [&] { return lines_ == 0 || (lines_ == 1 && line_ends_[0] == 2); };
  auto one = [&](size_t i, bool lf, bool wrong) -> Parse {
    if (first_line() && i >= first_limit) return fail(414, "the request target is too long");
    if (wrong) return fail(400, lf ? "a line ends without CR" : "a control byte or bare CR in the head");
    if (lf) {
      if (line_end(i)) {
        // The forgiven CRLF followed by another is no request.
        if (lines_ == 2 && line_ends_[0] == 2) return fail(400, "the request line is empty");
        scanned_ = static_cast<uint32_t>(i + 1);
        return Parse::kDone;
      }
      if (lines_ == kMaxHeaders + 2) return fail(431, "too many header lines");
    }
    return Parse::kMore;
  };
  bool after_cr = at > 0 && data[at - 1] == '\r';
#ifdef __SSE2__
  for (; at + 16 <= end; at += 16) {
    Masks masks = classify(data.data() + at);
    uint32_t behind_cr = ((masks.cr << 1) | static_cast<uint32_t>(after_cr)) & 0xffff;
    uint32_t wrong = masks.bad | (behind_cr ^ masks.lf);
    after_cr = (masks.cr >> 15) != 0;
    for (uint32_t events = masks.lf | wrong; events != 0; events &= events - 1) {
      int bit = std::countr_zero(events);
      Parse verdict = one(at + static_cast<size_t>(bit), (masks.lf >> bit) & 1, (wrong >> bit) & 1);
      if (verdict != Parse::kMore) return verdict;
    }
  }
#endif
  for (; at < end; ++at) {
    char c = data[at];
    bool lf = c == '\n';
    bool wrong = after_cr != lf || !(is_value(c) || lf || c == '\r');
    after_cr = c == '\r';
    if (!lf && !wrong) continue;
    Parse verdict = one(at, lf, wrong);
    if (verdict != Parse::kMore) return verdict;
  }
  scanned_ = static_cast<uint32_t>(end);
  if (first_line() && scanned_ > first_limit) return fail(414, "the request target is too long");
  if (data.size() >= limits.head_bytes) return fail(431, "the head is too large");
  return Parse::kMore;
}

Parse HeadParser::parse(std::string_view data, const HeadLimits& limits, Request& request) {
  Parse scanned = scan(data, limits);
  if (scanned != Parse::kDone) return scanned;
  request = Request();
  status_ = 0;
  hosts_ = 0;
  close_ = keep_alive_ = false;
  authority_ = {};
  // The last line is the empty one.
  uint32_t first = line_ends_[0] == 2 ? 1 : 0;
  auto line = [&](uint32_t i) {
    uint32_t start = i == 0 ? 0 : line_ends_[i - 1];
    return data.substr(start, line_ends_[i] - 2 - start);
  };
  if (!request_line(line(first), limits, request)) return Parse::kError;
  size_t count = 0;
  for (uint32_t i = first + 1; i + 1 < lines_; ++i) {
    if (count == kMaxHeaders) return fail(431, "too many header lines");
    Header& header = headers_[count++];
    if (!header_line(line(i), header) || !known_header(header, request)) return Parse::kError;
  }
  request.headers = {headers_, count};
  return finish(request) ? Parse::kDone : Parse::kError;
}

bool HeadParser::request_line(std::string_view line, const HeadLimits& limits, Request& request) {
  auto bad = [&](int status, std::string_view problem) { return fail(status, problem) == Parse::kDone; };
  size_t space = line.find(' ');
  if (space == line.npos || space == 0 || space > 32) return bad(400, "the request line is malformed");
  request.method = line.substr(0, space);
  if (!all(request.method, kToken)) return bad(400, "the method is not a token");
  line.remove_prefix(space + 1);
  space = line.find(' ');
  if (space == line.npos || space == 0) return bad(400, "the request line is malformed");
  request.target = line.substr(0, space);
  std::string_view version = line.substr(space + 1);
  if (request.target.size() > limits.target_bytes) return bad(414, "the request target is too long");
  if (!all(request.target, kTarget)) return bad(400, "the request target has a byte that must be encoded");
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (version.size() != 8 || version.substr(0, 5) != "HTTP/" || !digit(version[5]) || version[6] != '.' || !digit(version[7]))
    return bad(400, "the request line has no HTTP version");
  if (version[5] != '1') return bad(505, "the version must be HTTP/1.0 or HTTP/1.1");
  request.minor_version = version[7] == '0' ? 0 : 1;
  request.head = request.method == "HEAD";
  return target_form(request);
}

bool HeadParser::target_form(Request& request) {
  auto bad = [&](int status, std::string_view problem) { return fail(status, problem) == Parse::kDone; };
  std::string_view target = request.target;
  if (request.method == "CONNECT") return bad(501, "CONNECT is not supported");
  if (target[0] != '/') {
    if (target == "*") {
      if (request.method != "OPTIONS") return bad(400, "the target * belongs to OPTIONS");
      request.path = target;
      return true;
    }
    auto begins = [&](std::string_view with) { return equals_ignore_case(target.substr(0, with.size()), with); };
    size_t scheme = begins("http://") ? 7 : begins("https://") ? 8 : 0;
    if (scheme == 0) return bad(400, "the request target is neither a path nor an http URL");
    target.remove_prefix(scheme);
    size_t end = std::min(target.find_first_of("/?"), target.size());
    authority_ = target.substr(0, end);
    if (authority_.empty() || !all(authority_, kHost)) return bad(400, "the request target has no valid authority");
    target.remove_prefix(end);
  }
  size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != target.npos) request.query = target.substr(mark + 1);
  if (request.path.empty()) request.path = "/";
  return true;
}

bool HeadParser::header_line(std::string_view line, Header& header) {
  size_t colon = 0;
  while (colon < line.size() && is_token(line[colon])) ++colon;
  if (colon == 0 || colon == line.size() || line[colon] != ':') {
    fail(400, line[0] == ' ' || line[0] == '\t' ? "a header line is folded" : "a header's name is malformed");
    return false;
  }
  header = {line.substr(0, colon), trim(line.substr(colon + 1))};
  return true;
}

bool HeadParser::known_header(const Header& header, Request& request) {
  auto bad = [&](int status, std::string_view problem) { return fail(status, problem) == Parse::kDone; };
  std::string_view name = header.name, value = header.value;
  auto named = [&](std::string_view known) { return is_named(name, known); };
  switch (name.size()) {
    case 4:
      if (!named("host")) break;
      if (hosts_++ != 0) return bad(400, "Host is given twice");
      if (!all(value, kHost)) return bad(400, "Host is malformed");
      request.host = value;
      break;
    case 6:
      if (!named("expect")) break;
      if (!equals_ignore_case(value, "100-continue")) return bad(417, "only 100-continue can be expected");
      request.expect_continue = true;
      break;
    case 10:
      if (!named("connection")) break;
      for (std::string_view rest = value; !rest.empty();) {
        size_t comma = std::min(rest.find(','), rest.size());
        std::string_view option = trim(rest.substr(0, comma));
        if (equals_ignore_case(option, "close")) close_ = true;
        if (equals_ignore_case(option, "keep-alive")) keep_alive_ = true;
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
      break;
    case 14: {
      if (!named("content-length")) break;
      if (request.content_length) return bad(400, "Content-Length is given twice");
      bool digits = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (!digits) return bad(400, "Content-Length is not a number");
      request.content_length = parse_uint(value);
      if (!request.content_length) return bad(413, "Content-Length is too large");
      break;
    }
    case 17:
      if (!named("transfer-encoding")) break;
      if (request.chunked) return bad(400, "Transfer-Encoding is given twice");
      if (!equals_ignore_case(value, "chunked")) return bad(501, "the only transfer coding known here is chunked");
      request.chunked = true;
      break;
    default: break;
  }
  return true;
}

// What only the whole head shows.
bool HeadParser::finish(Request& request) {
  auto bad = [&](int status, std::string_view problem) { return fail(status, problem) == Parse::kDone; };
  if (request.chunked && request.content_length) return bad(400, "both Transfer-Encoding and Content-Length are given");
  if (request.chunked && request.minor_version == 0) return bad(400, "HTTP/1.0 has no Transfer-Encoding");
  if (request.minor_version == 1 && hosts_ == 0) return bad(400, "Host is missing");
  if (!authority_.empty()) {
    if (hosts_ != 0 && !equals_ignore_case(authority_, request.host)) return bad(400, "Host differs from the request target");
    request.host = authority_;
  }
  request.keep_alive = !close_ && (request.minor_version == 1 || keep_alive_);
  request.expect_continue = request.expect_continue && request.minor_version == 1 && request.has_body();
  return true;
}

// ---- chunked ----

namespace {

constexpr uint16_t kMaxExtension = 256;     // of one chunk
constexpr uint32_t kMaxTrailer = 8 << 10;   // all trailers together
constexpr uint64_t kMaxExcess = 64 << 10;   // framing beyond 16 bytes for each chunk plus the payload

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  char lower = to_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

bool ChunkedDecoder::framing(char c) {
  switch (at_) {
    case At::kSize: {
      int digit = hex_digit(c);
      if (digit >= 0) {
        if (digits_++ == 16) return false;
        left_ = left_ << 4 | static_cast<uint64_t>(digit);
        return true;
      }
      if (digits_ == 0) return false;
      extension_ = 0;
      at_ = c == ';' ? At::kExtension : At::kSizeLf;
      return c == ';' || c == '\r';
    }
    case At::kExtension:
      if (c == '\r') {
        at_ = At::kSizeLf;
        return true;
      }
      // A client could send a megabyte of extensions around each byte of payload.
      return is_value(c) && ++extension_ <= kMaxExtension && ++excess_ <= kMaxExcess;
    case At::kSizeLf:
      digits_ = 0;
      at_ = left_ == 0 ? At::kTrailerStart : At::kData;
      return c == '\n';
    case At::kDataCr:
      at_ = At::kDataLf;
      return c == '\r';
    case At::kDataLf:
      at_ = At::kSize;
      return c == '\n';
    case At::kTrailerStart:
      if (c == '\r') {
        at_ = At::kEndLf;
        return true;
      }
      at_ = At::kTrailerName;
      return is_token(c) && ++trailer_ <= kMaxTrailer;
    case At::kTrailerName:
      if (c == ':') at_ = At::kTrailerValue;
      return (c == ':' || is_token(c)) && ++trailer_ <= kMaxTrailer;
    case At::kTrailerValue:
      if (c == '\r') {
        at_ = At::kTrailerLf;
        return true;
      }
      return is_value(c) && ++trailer_ <= kMaxTrailer;
    case At::kTrailerLf:
      at_ = At::kTrailerStart;
      return c == '\n';
    case At::kEndLf:
      at_ = At::kDone;
      return c == '\n';
    case At::kData: case At::kDone: case At::kError: break;
  }
  return false;
}

ChunkedDecoder::Step ChunkedDecoder::decode(const char* in, size_t size, char* out, size_t room) {
  Step step{Parse::kMore, 0, 0};
  if (at_ == At::kError) step.parse = Parse::kError;
  if (at_ == At::kDone) step.parse = Parse::kDone;
  while (step.parse == Parse::kMore && step.consumed < size) {
    if (at_ == At::kData) {
      auto length = static_cast<size_t>(std::min<uint64_t>({left_, size - step.consumed, room - step.produced}));
      if (length == 0) break;
      std::memmove(out + step.produced, in + step.consumed, length);
      step.consumed += length;
      step.produced += length;
      left_ -= length;
      excess_ -= std::min<uint64_t>(excess_, length);
      if (left_ == 0) at_ = At::kDataCr;
      continue;
    }
    if (!framing(in[step.consumed])) {
      at_ = At::kError;
      step.parse = Parse::kError;
      break;
    }
    ++step.consumed;
    if (at_ == At::kDone) step.parse = Parse::kDone;
  }
  return step;
}

}  // namespace kaon::http
