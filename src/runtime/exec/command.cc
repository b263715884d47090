#include "runtime/exec/command.h"

#include <algorithm>

#include "base/text.h"

namespace kaon::runtime::exec {
namespace {

constexpr std::string_view kNames[] = {"id",         "source",        "type", "subject", "time",        "datacontenttype",
                                       "trigger",    "method",        "path", "query",   "header.NAME", "param.NAME",
                                       "query.NAME", "extension.NAME"};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = to_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void append_decoded(std::string& out, std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    int high, low;
    if (text[i] == '%' && i + 2 < text.size() && (high = hex_digit(text[i + 1])) >= 0 && (low = hex_digit(text[i + 2])) >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
}

void append_header(std::string& out, std::span<const event::Header> headers, std::string_view name, bool ignore_case) {
  for (const event::Header& header : headers) {
    if (ignore_case ? !equals_ignore_case(header.name, name) : header.name != name) continue;
    out += header.value;
    return;
  }
}

}  // namespace

void append_query_value(std::string& out, std::string_view query, std::string_view name) {
  std::string key;
  while (!query.empty()) {
    std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    size_t equals = pair.find('=');
    key.clear();
    append_decoded(key, pair.substr(0, equals));
    if (key != name) continue;
    if (equals != pair.npos) append_decoded(out, pair.substr(equals + 1));
    return;
  }
}

Result<Command::Part> Command::parse_template(std::string_view name, std::string_view element) {
  struct Known {
    std::string_view name;
    Source source;
  };
  static constexpr Known kPlain[] = {
      {"id", Source::kId},           {"source", Source::kSource}, {"type", Source::kType},
      {"subject", Source::kSubject}, {"time", Source::kTime},     {"datacontenttype", Source::kContentType},
      {"trigger", Source::kTrigger}, {"method", Source::kMethod}, {"path", Source::kPath},
      {"query", Source::kQuery},
  };
  static constexpr Known kNamed[] = {
      {"header.", Source::kHeader},
      {"param.", Source::kParam},
      {"query.", Source::kQueryField},
      {"extension.", Source::kExtension},
  };
  for (const Known& known : kPlain)
    if (name == known.name) return Part{known.source, {}};
  for (const Known& known : kNamed)
    if (name.starts_with(known.name) && name.size() > known.name.size())
      return Part{known.source, std::string(name.substr(known.name.size()))};
  std::string message = "command: unknown template {{ " + std::string(name) + " }} in `" + std::string(element) + "`";
  std::string_view near = nearest(name, kNames);
  if (!near.empty()) message += "; did you mean {{ " + std::string(near) + " }}?";
  return Error{ErrorCode::kInvalid, message};
}

Result<Command::Element> Command::parse_element(std::string_view text) {
  Element parts;
  for (std::string_view rest = text; !rest.empty() || parts.empty();) {
    size_t open = rest.find("{{");
    if (open != 0) parts.push_back({Source::kLiteral, std::string(rest.substr(0, open))});
    if (open == rest.npos) break;
    size_t close = rest.find("}}", open + 2);
    if (close == rest.npos) return Error{ErrorCode::kInvalid, "command: `{{` without `}}` in `" + std::string(text) + "`"};
    KAON_TRY(Part part, parse_template(trim(rest.substr(open + 2, close - open - 2)), text));
    parts.push_back(std::move(part));
    rest.remove_prefix(close + 2);
  }
  return parts;
}

Result<Command> Command::parse(std::span<const std::string> elements) {
  Command command;
  if (elements.empty() || elements[0].empty()) return Error{ErrorCode::kInvalid, "command: the program is missing"};
  for (const std::string& text : elements) {
    if (text.find('\0') != text.npos) return Error{ErrorCode::kInvalid, "command: an element holds a NUL byte"};
    KAON_TRY(Element element, parse_element(text));
    if (command.elements_.empty() && (element.size() != 1 || element[0].source != Source::kLiteral))
      return Error{ErrorCode::kInvalid, "command: the program itself cannot come from the event: `" + text + "`"};
    command.elements_.push_back(std::move(element));
  }
  return command;
}

void Command::append(std::string& memory, const Part& part, const event::Event& event) {
  switch (part.source) {
    case Source::kLiteral:
      memory += part.text;
      break;
    case Source::kId:
      memory += event.id;
      break;
    case Source::kSource:
      memory += event.source;
      break;
    case Source::kType:
      memory += event.type;
      break;
    case Source::kSubject:
      memory += event.subject;
      break;
    case Source::kTime:
      memory += event.time;
      break;
    case Source::kContentType:
      memory += event.datacontenttype;
      break;
    case Source::kTrigger:
      memory += event.trigger;
      break;
    case Source::kMethod:
      memory += event.method;
      break;
    case Source::kPath:
      memory += event.path;
      break;
    case Source::kQuery:
      memory += event.query;
      break;
    case Source::kHeader:
      append_header(memory, event.headers, part.text, true);
      break;
    case Source::kParam:
      append_header(memory, event.params, part.text, false);
      break;
    case Source::kExtension:
      append_header(memory, event.extensions, part.text, false);
      break;
    case Source::kQueryField:
      append_query_value(memory, event.query, part.text);
      break;
  }
}

Result<void> Command::expand(const event::Event& event, std::string& memory, std::vector<std::string_view>& out) const {
  memory.clear();
  out.clear();
  bool options_end = false;
  for (size_t i = 0; i < elements_.size(); ++i) {
    const Element& element = elements_[i];
    bool literal = element.size() == 1 && element[0].source == Source::kLiteral;
    size_t begin = memory.size();
    for (const Part& part : element) append(memory, part, event);
    std::string_view value = std::string_view(memory).substr(begin);
    if (!literal) {
      auto place = [&] { return "argument " + std::to_string(i) + " of the command"; };
      if (value.find('\0') != value.npos) return Error{ErrorCode::kInvalid, place() + " would hold a NUL byte from the event"};
      if (value.starts_with('-') && element[0].source != Source::kLiteral && !options_end)
        return Error{ErrorCode::kInvalid,
                     place() + " would begin with `-` and be read as an option; put `--` before it in the command if it may"};
    }
    options_end = options_end || (literal && i > 0 && value == "--");
    out.push_back(value);
  }
  // The memory may have moved while it grew; the arguments lie in it end to end.
  size_t at = 0;
  for (std::string_view& view : out) {
    view = std::string_view(memory).substr(at, view.size());
    at += view.size();
  }
  return {};
}

}  // namespace kaon::runtime::exec
