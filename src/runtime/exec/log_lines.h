#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "observe/log.h"

namespace kaon::runtime::exec {

inline constexpr size_t kMaxLine = 8 << 10;
inline constexpr unsigned kLinesPerSecond = 1000;

// A line of a function's log, taken apart: a JSON object gives level, message and fields, any other text is the message.
// Views point into the line or into `memory`.
struct LogLine {
  observe::Level level = observe::Level::kInfo;
  std::string_view message;
  std::vector<observe::Field> fields;
  std::string memory;
};
void parse_log_line(std::string_view line, LogLine& out);

// Turns what a process writes to its standard error into records of one event. A longer line than kMaxLine is cut; of
// more than kLinesPerSecond lines the rest is counted and left out.
class LogLines {
 public:
  void start(std::string_view event_id);
  void add(const observe::Log& log, std::string_view chunk, Nanos now);
  void finish(const observe::Log& log);
  // The last line that was not empty, printable and short enough for an error message.
  const std::string& last() const { return last_; }

 private:
  void line(const observe::Log& log, std::string_view text, Nanos now);
  void tell_dropped(const observe::Log& log);

  std::string_view event_id_;
  std::string partial_;
  std::string last_;
  LogLine parsed_;
  Nanos window_ = 0;
  unsigned in_window_ = 0;
  uint64_t dropped_ = 0;
  bool cut_ = false;  // the rest of an overlong line is being skipped
};

}  // namespace kaon::runtime::exec
