#include "runtime/exec/log_lines.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace kaon::runtime::exec {
namespace {

constexpr size_t kMaxFields = 32;
constexpr size_t kMaxLast = 200;
constexpr int kMaxDepth = 32;

// Reads one JSON object of scalars, enough for a log line; what is nested is kept as its text. Anything that is not well
// formed makes the whole line plain text.
class Scanner {
 public:
  Scanner(std::string_view text, std::string& memory) : text_(text), memory_(memory) {
    // Decoded text is never longer than its source, so that views into the memory stay good.
    memory_.clear();
    memory_.reserve(text.size());
  }

  bool object(std::vector<observe::Field>& out) {
    space();
    if (!eat('{')) return false;
    space();
    if (eat('}')) return at_end();
    do {
      observe::Field field;
      space();
      if (out.size() >= kMaxFields || !string(field.key)) return false;
      space();
      if (!eat(':') || !value(field)) return false;
      out.push_back(field);
      space();
    } while (eat(','));
    return eat('}') && at_end();
  }

 private:
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool eat(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool at_end() {
    space();
    return at_ == text_.size();
  }
  bool eat(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  bool value(observe::Field& field) {
    space();
    if (at_ >= text_.size()) return false;
    char c = text_[at_];
    if (c == '"') {
      std::string_view text;
      if (!string(text)) return false;
      field.value = text;
      return true;
    }
    if (c == '{' || c == '[') {
      size_t begin = at_;
      if (!skip_nested()) return false;
      field.value = text_.substr(begin, at_ - begin);
      return true;
    }
    if (eat("true")) return field.value = true, true;
    if (eat("false")) return field.value = false, true;
    if (eat("null")) return field.value = std::string_view("null"), true;
    return number(field);
  }

  bool number(observe::Field& field) {
    size_t end = at_;
    while (end < text_.size() && std::string_view("+-.0123456789eE").find(text_[end]) != std::string_view::npos) ++end;
    const char* first = text_.data() + at_;
    const char* last = text_.data() + end;
    int64_t integer = 0;
    if (auto [p, error] = std::from_chars(first, last, integer); error == std::errc() && p == last && first != last) {
      field.value = integer;
    } else {
      double real = 0;
      auto [q, failed] = std::from_chars(first, last, real);
      if (failed != std::errc() || q != last || first == last) return false;
      field.value = real;
    }
    at_ = end;
    return true;
  }

  // Finds the end of an array or object without looking at more than brackets and strings.
  bool skip_nested() {
    int depth = 0;
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == '"') {
        for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_)
          if (text_[at_] == '\\') ++at_;
        if (at_ >= text_.size()) return false;
      } else if (c == '{' || c == '[') {
        if (++depth > kMaxDepth) return false;
      } else if ((c == '}' || c == ']') && --depth == 0) {
        ++at_;
        return true;
      }
    }
    return false;
  }

  bool string(std::string_view& out) {
    if (!eat('"')) return false;
    size_t begin = memory_.size();
    while (at_ < text_.size() && text_[at_] != '"') {
      char c = text_[at_++];
      if (c == '\\') {
        if (!escape()) return false;
      } else {
        memory_ += c;
      }
    }
    if (!eat('"')) return false;
    out = std::string_view(memory_).substr(begin);
    return true;
  }

  bool escape() {
    if (at_ >= text_.size()) return false;
    char c = text_[at_++];
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (size_t i = kFrom.find(c); i != kFrom.npos) {
      memory_ += kTo[i];
      return true;
    }
    unsigned code = 0;
    if (c != 'u' || !hex4(code)) return false;
    if (code >= 0xD800 && code < 0xDC00) {
      unsigned low = 0;
      if (!eat("\\u") || !hex4(low) || low < 0xDC00 || low > 0xDFFF) return false;
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
      return false;
    }
    append_utf8(code);
    return true;
  }

  bool hex4(unsigned& code) {
    if (text_.size() - at_ < 4) return false;
    const char* first = text_.data() + at_;
    auto [end, error] = std::from_chars(first, first + 4, code, 16);
    if (error != std::errc() || end != first + 4) return false;
    at_ += 4;
    return true;
  }

  void append_utf8(unsigned code) {
    auto byte = [&](unsigned b) { memory_ += static_cast<char>(b); };
    if (code < 0x80) {
      byte(code);
    } else if (code < 0x800) {
      byte(0xC0 | code >> 6), byte(0x80 | (code & 63));
    } else if (code < 0x10000) {
      byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 63)), byte(0x80 | (code & 63));
    } else {
      byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 63)), byte(0x80 | (code >> 6 & 63)), byte(0x80 | (code & 63));
    }
  }

  std::string_view text_;
  std::string& memory_;
  size_t at_ = 0;
};

observe::Level level_of(std::string_view name) {
  auto is = [&](std::initializer_list<std::string_view> names) {
    return std::any_of(names.begin(), names.end(), [&](std::string_view each) { return equals_ignore_case(name, each); });
  };
  if (is({"trace", "debug"})) return observe::Level::kDebug;
  if (is({"warn", "warning"})) return observe::Level::kWarning;
  if (is({"err", "error", "fatal", "critical", "panic"})) return observe::Level::kError;
  return observe::Level::kInfo;
}

}  // namespace

void parse_log_line(std::string_view line, LogLine& out) {
  out.level = observe::Level::kInfo;
  out.message = line;
  out.fields.clear();
  if (line.empty() || line.front() != '{') return;
  if (!Scanner(line, out.memory).object(out.fields)) {
    out.fields.clear();
    return;
  }
  auto take = [&](std::initializer_list<std::string_view> keys) {
    for (auto field = out.fields.begin(); field != out.fields.end(); ++field) {
      auto* text = std::get_if<std::string_view>(&field->value);
      if (!text || std::find(keys.begin(), keys.end(), field->key) == keys.end()) continue;
      std::string_view value = *text;
      out.fields.erase(field);
      return value;
    }
    return std::string_view();
  };
  out.level = level_of(take({"level", "severity", "lvl"}));
  out.message = take({"message", "msg"});
}

void LogLines::start(std::string_view event_id) {
  event_id_ = event_id;
  partial_.clear();
  last_.clear();
  window_ = 0;
  in_window_ = 0;
  dropped_ = 0;
  cut_ = false;
}

void LogLines::add(const observe::Log& log, std::string_view chunk, Nanos now) {
  while (!chunk.empty()) {
    size_t end = chunk.find('\n');
    std::string_view piece = chunk.substr(0, end);
    bool whole = end != chunk.npos;
    chunk.remove_prefix(std::min(chunk.size(), piece.size() + 1));
    if (cut_) {
      cut_ = !whole;
      continue;
    }
    if (whole && partial_.empty() && piece.size() <= kMaxLine) {
      line(log, piece, now);
      continue;
    }
    bool too_long = partial_.size() + piece.size() > kMaxLine;
    partial_ += piece.substr(0, kMaxLine - partial_.size());
    if (!whole && !too_long) continue;
    if (too_long) partial_ += "… (cut)";
    line(log, partial_, now);
    partial_.clear();
    cut_ = !whole;
  }
}

void LogLines::line(const observe::Log& log, std::string_view text, Nanos now) {
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.empty()) return;
  if (now - window_ >= kSecond) {
    tell_dropped(log);
    window_ = now;
    in_window_ = 0;
  }
  last_.assign(text.substr(0, kMaxLast));
  for (char& c : last_)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  if (++in_window_ > kLinesPerSecond) {
    ++dropped_;
    return;
  }
  parse_log_line(text, parsed_);
  if (log.enabled(parsed_.level)) log.write_event(parsed_.level, event_id_, parsed_.message, parsed_.fields);
}

void LogLines::tell_dropped(const observe::Log& log) {
  if (dropped_ == 0) return;
  observe::Field fields[] = {{"dropped", static_cast<int64_t>(dropped_)}};
  if (log.enabled(observe::Level::kWarning))
    log.write_event(observe::Level::kWarning, event_id_,
                    "the function logs more than 1000 lines in a second; the rest was left out", fields);
  dropped_ = 0;
}

void LogLines::finish(const observe::Log& log) {
  if (!partial_.empty()) line(log, partial_, window_);
  partial_.clear();
  tell_dropped(log);
}

}  // namespace kaon::runtime::exec
