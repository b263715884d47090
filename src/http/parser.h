#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http/message.h"

namespace kaon::http {

struct HeadLimits {
  size_t head_bytes = 16 << 10;   // the whole head, its empty line included
  size_t target_bytes = 8 << 10;
};

inline constexpr size_t kMaxHeaders = 100;

enum class Parse : uint8_t { kMore, kDone, kError };

// Parses the head of a request in place, strictly (RFC 9112 without its leniencies: one CRLF before the request line is
// all that is forgiven). What was scanned is not scanned again, and a verdict does not depend on how the bytes were cut.
class HeadParser {
 public:
  void reset() { scanned_ = lines_ = 0; }
  // `data` is all of the head that has arrived, from its first byte, and possibly what follows it; it may have moved since the
  // last call. kDone: `request` is filled with views into `data` and of this object's headers. kError: see `status`.
  Parse parse(std::string_view data, const HeadLimits& limits, Request& request);
  size_t head_size() const { return scanned_; }  // after kDone
  int status() const { return status_; }         // after kError: 400, 413, 414, 417, 431, 501 or 505
  std::string_view problem() const { return problem_; }  // a static string for a person

 private:
  Parse fail(int status, std::string_view problem) {
    status_ = status;
    problem_ = problem;
    return Parse::kError;
  }
  Parse scan(std::string_view data, const HeadLimits& limits);
  bool line_end(size_t at);
  bool request_line(std::string_view line, const HeadLimits& limits, Request& request);
  bool target_form(Request& request);
  bool header_line(std::string_view line, Header& header);
  bool known_header(const Header& header, Request& request);
  bool finish(Request& request);

  uint32_t scanned_ = 0;
  uint32_t lines_ = 0;
  uint32_t line_ends_[kMaxHeaders + 2];  // offset behind each LF
  int status_ = 0;
  uint8_t hosts_ = 0;
  bool close_ = false;
  bool keep_alive_ = false;
  std::string_view problem_;
  std::string_view authority_;  // of an absolute target
  Header headers_[kMaxHeaders];
};

// Decodes the chunked transfer coding, strictly: sizes of 1…16 hexadecimal digits, extensions and trailers bounded, checked
// and dropped. Any cut of the input gives the same output and verdict.
class ChunkedDecoder {
 public:
  void reset() { *this = ChunkedDecoder(); }
  struct Step {
    Parse parse;      // kDone: the body has ended with the last byte that was consumed
    size_t consumed;  // bytes of `in`; all of it unless kDone, kError, or `out` was full
    size_t produced;  // bytes written to `out`
  };
  // Writes payload to `out`, at most `room` bytes; `out` may be `in` or lie before it in the same buffer.
  Step decode(const char* in, size_t size, char* out, size_t room);

 private:
  enum class At : uint8_t {
    kSize, kExtension, kSizeLf, kData, kDataCr, kDataLf,
    kTrailerStart, kTrailerName, kTrailerValue, kTrailerLf, kEndLf, kDone, kError
  };
  bool framing(char c);  // one byte outside the payload
  uint64_t left_ = 0;      // of the size line: its value; of the data: bytes to come
  uint64_t excess_ = 0;    // bytes of framing beyond what the payload justifies
  uint32_t trailer_ = 0;
  uint16_t extension_ = 0;
  uint8_t digits_ = 0;
  At at_ = At::kSize;
};

}  // namespace kaon::http
