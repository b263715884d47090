// A JSON object goes in; it comes out with one member more, "kaon", which says what the event knew and what shape the
// object has. The rest of it stays as it was, byte for byte.
#include <kaon.hpp>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace {

constexpr int kMaxDepth = 128;

struct Shape {
  size_t members = 0;  // of all objects
  size_t values = 0;   // strings, numbers, true, false, null
  int depth = 0;
};

// Checks a text against RFC 8259 and counts. It looks at each byte once and keeps nothing.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  // The text is one object and white space; throws otherwise. `end` is where its last brace is.
  Shape object(size_t& end, bool& empty) {
    space();
    if (!at('{')) fail("a JSON object was expected");
    size_t members_before = shape_.members;
    value(1);
    end = at_ - 1;
    empty = shape_.members == members_before;
    space();
    if (at_ != text_.size()) fail("something follows the object");
    return shape_;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw kaon::Failure(KAON_FAIL_INVALID, std::string(what) + ", at byte " + std::to_string(at_));
  }
  bool at(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) {
    if (!at(c)) return false;
    ++at_;
    return true;
  }
  void space() {
    while (at(' ') || at('\n') || at('\r') || at('\t')) ++at_;
  }
  bool digits() {
    size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ > begin;
  }

  void value(int depth) {
    if (depth > kMaxDepth) fail("nested too deeply");
    if (depth > shape_.depth) shape_.depth = depth;
    space();
    if (take('{')) return list('}', depth, true);
    if (take('[')) return list(']', depth, false);
    ++shape_.values;
    if (at('"')) return string();
    for (std::string_view word : {"true", "false", "null"}) {
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return;
    }
    number();
  }

  void list(char end, int depth, bool object) {
    space();
    if (take(end)) return;
    do {
      if (object) {
        space();
        string();
        space();
        if (!take(':')) fail("a colon is missing");
        ++shape_.members;
      }
      value(depth + 1);
      space();
    } while (take(','));
    if (!take(end)) fail(object ? "a comma or } is missing" : "a comma or ] is missing");
  }

  void string() {
    if (!take('"')) fail("a string was expected");
    while (!take('"')) {
      if (at_ >= text_.size()) fail("a string does not end");
      unsigned char c = static_cast<unsigned char>(text_[at_++]);
      if (c < 0x20) fail("a control character in a string");
      if (c == '\\') escape();
    }
  }

  void escape() {
    if (take('u')) {
      for (int i = 0; i < 4; ++i, ++at_) {
        if (at_ >= text_.size() || !std::strchr("0123456789abcdefABCDEF", text_[at_]) || !text_[at_]) fail("a bad \\u escape");
      }
      return;
    }
    if (at_ >= text_.size() || !text_[at_] || !std::strchr("\"\\/bfnrt", text_[at_])) fail("a bad escape");
    ++at_;
  }

  void number() {
    take('-');
    if (!take('0') && !digits()) fail("a value was expected");
    if (take('.') && !digits()) fail("digits are missing after the point");
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) fail("digits are missing in the exponent");
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  Shape shape_;
};

void append_string(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

kaon::Response handle(kaon::Event& event) {
  std::string_view body = event.body();
  size_t end = 0;
  bool empty = false;
  Shape shape = Scanner(body).object(end, empty);

  std::string out;
  out.reserve(body.size() + 300);
  out += body.substr(0, end);
  out += empty ? "\"kaon\":{\"id\":" : ",\"kaon\":{\"id\":";
  append_string(out, event.id());
  out += ",\"time\":";
  append_string(out, event.time());
  out += ",\"path\":";
  append_string(out, event.path());
  out += ",\"bytes\":" + std::to_string(body.size()) + ",\"members\":" + std::to_string(shape.members) +
         ",\"values\":" + std::to_string(shape.values) + ",\"depth\":" + std::to_string(shape.depth) + "}";
  out += body.substr(end);
  event.log(KAON_DEBUG, "enriched", {{"path", event.path()}});
  return kaon::Response::json(std::move(out));
}

KAON_HANDLER(handle)
