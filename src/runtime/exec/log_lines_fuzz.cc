#include "runtime/exec/log_lines.h"

#include <cstdlib>

namespace {

struct Counting final : kaon::observe::Sink {
  void write(kaon::observe::Level, std::string_view line) override {
    if (!line.ends_with('\n') || line.find('\n') != line.size() - 1) abort();
  }
};

}  // namespace

// Whatever a process writes, in whatever pieces, each record is one line.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kaon;
  static const observe::Log log(std::make_shared<Counting>(), observe::Format::kJson, observe::Level::kDebug);
  std::string_view text(reinterpret_cast<const char*>(data), size);
  runtime::exec::LogLines lines;
  lines.start("event");
  size_t step = size > 0 ? data[0] % 7 + 1u : 1u;
  for (size_t at = 0; at < size; at += step) lines.add(log, text.substr(at, step), static_cast<Nanos>(at));
  lines.finish(log);
  runtime::exec::LogLine line;
  runtime::exec::parse_log_line(text, line);
  return 0;
}
