#pragma once
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace kaon {

// Appends `value` as a JSON string, quotes included. Invalid UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view value);

// Writes JSON by appending to a string; it puts the commas, the caller keeps the nesting balanced.
//   JsonWriter json(out); json.object().key("a").value(1).key("b").array().value("x").end_array().end_object();
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}
  JsonWriter& object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name) {
    separate();
    append_json_string(out_, name);
    out_ += ':';
    comma_ = false;
    return *this;
  }
  JsonWriter& value(std::string_view text) {
    separate();
    append_json_string(out_, text);
    return *this;
  }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool flag) { return raw(flag ? "true" : "false"); }
  JsonWriter& value(int number) { return value(static_cast<int64_t>(number)); }
  JsonWriter& value(int64_t number) { return integer(number); }
  JsonWriter& value(uint64_t number) { return integer(number); }
  JsonWriter& value(double number);
  JsonWriter& null() { return raw("null"); }
  // Appends `json` as it is.
  JsonWriter& raw(std::string_view json) {
    separate();
    out_ += json;
    return *this;
  }
  template <typename T>
  JsonWriter& member(std::string_view name, const T& v) {
    return key(name).value(v);
  }

 private:
  template <typename T>
  JsonWriter& integer(T number) {
    char text[24];
    auto end = std::to_chars(text, text + sizeof text, number).ptr;
    return raw({text, static_cast<size_t>(end - text)});
  }
  void separate() {
    if (comma_) out_ += ',';
    comma_ = true;
  }
  JsonWriter& open(char c) {
    separate();
    out_ += c;
    comma_ = false;
    return *this;
  }
  JsonWriter& close(char c) {
    out_ += c;
    comma_ = true;
    return *this;
  }
  std::string& out_;
  bool comma_ = false;
};

}  // namespace kaon
