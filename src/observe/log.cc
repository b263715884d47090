#include "observe/log.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/clock.h"
#include "base/json.h"
#include "base/printable.h"
#include "base/text.h"

namespace kaon::observe {
namespace {

constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
constexpr std::string_view kLabels[] = {"DEBUG ", "INFO  ", "WARN  ", "ERROR "};
constexpr size_t kMaxMessage = 32 << 10;
constexpr size_t kMaxValue = 8 << 10;
constexpr size_t kMaxFields = 64;
constexpr size_t kKeptBuffer = 256 << 10;

template <size_t kDigits>
void put_digits(char* out, uint64_t number) {
  for (size_t i = kDigits; i-- > 0; number /= 10) out[i] = static_cast<char>('0' + number % 10);
}

// The text of a second, which most records share with the one before.
struct SecondCache {
  int64_t second = INT64_MIN;
  char text[20];
};

void append_local_time(std::string& out, Nanos nanos) {
  thread_local SecondCache cache;
  int64_t second = nanos / kSecond;
  if (second != cache.second) {
    time_t t = second;
    tm parts{};
    localtime_r(&t, &parts);
    put_digits<2>(cache.text, static_cast<uint64_t>(parts.tm_hour));
    put_digits<2>(cache.text + 3, static_cast<uint64_t>(parts.tm_min));
    put_digits<2>(cache.text + 6, static_cast<uint64_t>(parts.tm_sec));
    cache.text[2] = cache.text[5] = ':';
    cache.second = second;
  }
  char text[13];
  std::copy_n(cache.text, 8, text);
  text[8] = '.';
  put_digits<3>(text + 9, static_cast<uint64_t>(nanos % kSecond / kMillisecond));
  text[12] = ' ';
  out.append(text, sizeof text);
}

// At most `limit` bytes, not cut within a character; `left` is what is missing.
std::string_view cut(std::string_view text, size_t limit, size_t& left) {
  left = 0;
  if (text.size() <= limit) return text;
  size_t end = limit;
  while (end > limit - 4 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  left = text.size() - end;
  return text.substr(0, end);
}

// What stands after a text that was cut.
struct CutNote {
  char text[48];
  size_t size = 0;
  explicit CutNote(size_t left) {
    static constexpr std::string_view kBefore = "… (";
    static constexpr std::string_view kAfter = " more bytes)";
    char* end = std::copy(kBefore.begin(), kBefore.end(), text);
    end = std::to_chars(end, text + 30, left).ptr;
    end = std::copy(kAfter.begin(), kAfter.end(), end);
    size = static_cast<size_t>(end - text);
  }
  std::string_view view() const { return {text, size}; }
};

template <typename T>
void append_number(std::string& out, T number) {
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
}

bool is_word(std::string_view text) {
  return !text.empty() && text.find_first_of(" \"=\\") == text.npos && is_printable(text);
}

// Joins a cut text with its note before it is escaped, so that the note lies within the quotes.
template <typename Append>
void append_capped(std::string& out, std::string_view text, size_t limit, Append append) {
  size_t left;
  std::string_view head = cut(text, limit, left);
  if (left == 0) return append(out, text);
  std::string joined(head);
  joined += CutNote(left).view();
  append(out, joined);
}

void append_text_word(std::string& out, std::string_view text) {
  if (is_word(text)) out += text;
  else append_quoted(out, text);
}

void append_text_field(std::string& out, const Field& field) {
  out += ' ';
  append_capped(out, field.key, 256, append_text_word);
  out += '=';
  if (auto* text = std::get_if<std::string_view>(&field.value)) append_capped(out, *text, kMaxValue, append_text_word);
  else if (auto* integer = std::get_if<int64_t>(&field.value)) append_number(out, *integer);
  else if (auto* number = std::get_if<double>(&field.value)) append_number(out, *number);
  else out += std::get<bool>(field.value) ? "true" : "false";
}

void append_json_capped(std::string& out, std::string_view text, size_t limit) {
  append_capped(out, text, limit, [](std::string& to, std::string_view value) { append_json_string(to, value); });
}

void append_json_field(std::string& out, const Field& field) {
  append_json_capped(out, field.key, 256);
  out += ':';
  if (auto* text = std::get_if<std::string_view>(&field.value)) append_json_capped(out, *text, kMaxValue);
  else if (auto* integer = std::get_if<int64_t>(&field.value)) append_number(out, *integer);
  else if (auto* number = std::get_if<double>(&field.value)) JsonWriter(out).value(*number);
  else out += std::get<bool>(field.value) ? "true" : "false";
}

struct Record {
  Level level;
  std::string_view tags;
  std::string_view tagged_event;  // already among the tags
  std::string_view event;
  std::string_view message;
  std::span<const Field> fields;
  // The field that `event` came from, which is not shown twice.
  const Field* event_field = nullptr;
};

void append_text_message(std::string& out, std::string_view message) {
  // A message with `=` in it, or one that begins with a quote, could pass for fields or for a quoted message.
  bool quotes = message.find('=') != message.npos || message.starts_with('"');
  append_capped(out, message, kMaxMessage, [&](std::string& to, std::string_view text) {
    if (quotes) append_quoted(to, text);
    else append_printable(to, text);
  });
}

void append_text_record(std::string& out, const Record& record) {
  append_local_time(out, wall_ns());
  out += kLabels[static_cast<size_t>(record.level)];
  append_text_message(out, record.message);
  out += record.tags;
  if (!record.event.empty()) append_text_field(out, {kEventKey, record.event});
  size_t shown = 0;
  for (const Field& field : record.fields) {
    if (&field == record.event_field) continue;
    if (++shown > kMaxFields) break;
    append_text_field(out, field);
  }
  if (shown > kMaxFields) append_text_field(out, {"fields_cut", static_cast<int64_t>(record.fields.size() - kMaxFields)});
  out += '\n';
}

void append_json_record(std::string& out, const Record& record) {
  out += "{\"time\":\"";
  append_rfc3339(out, wall_ns());
  out += "\",\"level\":\"";
  out += level_name(record.level);
  out += "\",\"message\":";
  append_json_capped(out, record.message, kMaxMessage);
  out += record.tags;
  if (!record.event.empty()) {
    out += ',';
    append_json_field(out, {kEventKey, record.event});
  }
  size_t shown = 0;
  for (const Field& field : record.fields) {
    if (&field == record.event_field) continue;
    if (++shown > kMaxFields) break;
    out += shown == 1 ? ",\"fields\":{" : ",";
    append_json_field(out, field);
  }
  if (shown > kMaxFields) {
    out += ',';
    append_json_field(out, {"fields_cut", static_cast<int64_t>(record.fields.size() - kMaxFields)});
  }
  out += shown ? "}}\n" : "}\n";
}

void emit(Sink& sink, Format format, const Record& record) {
  thread_local std::string buffer;
  buffer.clear();
  if (format == Format::kJson) append_json_record(buffer, record);
  else append_text_record(buffer, record);
  std::string_view event = record.event.empty() ? record.tagged_event : record.event;
  if (event.empty()) sink.write(record.level, buffer);
  else sink.write_event(record.level, event, buffer);
  if (buffer.capacity() > kKeptBuffer) std::string().swap(buffer);
}

class TeeSink final : public Sink {
 public:
  explicit TeeSink(std::vector<std::shared_ptr<Sink>> sinks) : sinks_(std::move(sinks)) {}
  void write(Level level, std::string_view line) override {
    for (auto& sink : sinks_) sink->write(level, line);
  }
  void write_event(Level level, std::string_view event_id, std::string_view line) override {
    for (auto& sink : sinks_) sink->write_event(level, event_id, line);
  }
  uint64_t dropped() const override {
    uint64_t sum = 0;
    for (auto& sink : sinks_) sum += sink->dropped();
    return sum;
  }

 private:
  std::vector<std::shared_ptr<Sink>> sinks_;
};

}  // namespace

std::string_view level_name(Level level) {
  auto index = static_cast<size_t>(level);
  KAON_CHECK(index < std::size(kNames), index);
  return kNames[index];
}

Result<Level> parse_level(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (equals_ignore_case(name, kNames[i])) return static_cast<Level>(i);
  }
  if (equals_ignore_case(name, "warn")) return Level::kWarning;
  return Error{ErrorCode::kInvalid, "unknown log level " + quoted(name.substr(0, 64)) + ": use debug, info, warning or error"};
}

void append_rfc3339(std::string& out, Nanos nanos) {
  thread_local SecondCache cache;
  int64_t second = nanos / kSecond;
  if (second != cache.second) {
    time_t t = second;
    tm parts{};
    gmtime_r(&t, &parts);
    put_digits<4>(cache.text, static_cast<uint64_t>(parts.tm_year + 1900));
    put_digits<2>(cache.text + 5, static_cast<uint64_t>(parts.tm_mon + 1));
    put_digits<2>(cache.text + 8, static_cast<uint64_t>(parts.tm_mday));
    put_digits<2>(cache.text + 11, static_cast<uint64_t>(parts.tm_hour));
    put_digits<2>(cache.text + 14, static_cast<uint64_t>(parts.tm_min));
    put_digits<2>(cache.text + 17, static_cast<uint64_t>(parts.tm_sec));
    cache.text[4] = cache.text[7] = '-';
    cache.text[10] = 'T';
    cache.text[13] = cache.text[16] = ':';
    cache.text[19] = '.';
    cache.second = second;
  }
  char text[27];
  std::copy_n(cache.text, 20, text);
  put_digits<6>(text + 20, static_cast<uint64_t>(nanos % kSecond / kMicrosecond));
  text[26] = 'Z';
  out.append(text, sizeof text);
}

Log::Log(std::shared_ptr<Sink> sink, Format format, Level level)
    : sink_(std::move(sink)), level_(std::make_shared<std::atomic<Level>>(level)), format_(format) {}

Log Log::with(std::initializer_list<Field> tags) const {
  Log result(*this);
  for (const Field& tag : tags) {
    if (format_ == Format::kJson) {
      result.tags_ += ',';
      append_json_field(result.tags_, tag);
    } else {
      append_text_field(result.tags_, tag);
    }
    if (auto* text = std::get_if<std::string_view>(&tag.value); text && tag.key == kEventKey) result.event_ = *text;
  }
  return result;
}

Log Log::with_own_level() const {
  Log result(*this);
  result.level_ = std::make_shared<std::atomic<Level>>(level());
  return result;
}

void Log::write_always(Level level, std::string_view message, std::initializer_list<Field> fields) const {
  Record record{level, tags_, event_, {}, message, {fields.begin(), fields.size()}};
  if (event_.empty()) {
    for (const Field& field : fields) {
      auto* text = std::get_if<std::string_view>(&field.value);
      if (!text || field.key != kEventKey) continue;
      record.event = *text;
      record.event_field = &field;
      break;
    }
  }
  emit(*sink_, format_, record);
}

void Log::write_event(Level level, std::string_view event_id, std::string_view message, std::span<const Field> fields) const {
  emit(*sink_, format_, {level, tags_, event_, event_ == event_id ? std::string_view() : event_id, message, fields});
}

std::shared_ptr<Sink> make_tee_sink(std::vector<std::shared_ptr<Sink>> sinks) {
  return std::make_shared<TeeSink>(std::move(sinks));
}

}  // namespace kaon::observe
