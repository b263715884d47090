#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "event/event.h"

namespace kaon::runtime::exec {

// A command line with templates. Each element becomes exactly one argument, whatever the event holds: there is no shell,
// no splitting and no removal of empty arguments.
//   {{ id }} {{ source }} {{ type }} {{ subject }} {{ time }} {{ datacontenttype }} {{ trigger }} {{ method }} {{ path }} {{
//   query }}
//   {{ header.NAME }} {{ param.NAME }} {{ query.NAME }} {{ extension.NAME }}; what the event does not have is empty
class Command {
 public:
  // kInvalid with the place and what is known when a template is malformed or unknown, or in the first element.
  static Result<Command> parse(std::span<const std::string> elements);

  // The arguments for one event, in `out`, whose views point into `memory`. kInvalid for a value with a NUL,
  // and for one that would turn an argument into an option, which is allowed after an argument `--`.
  Result<void> expand(const event::Event& event, std::string& memory, std::vector<std::string_view>& out) const;

 private:
  enum class Source : unsigned char {
    kLiteral,
    kId,
    kSource,
    kType,
    kSubject,
    kTime,
    kContentType,
    kTrigger,
    kMethod,
    kPath,
    kQuery,
    kHeader,
    kParam,
    kQueryField,
    kExtension,
  };
  struct Part {
    Source source;
    std::string text;  // the literal, or the name after the dot
  };
  using Element = std::vector<Part>;
  static Result<Part> parse_template(std::string_view name, std::string_view element);
  static Result<Element> parse_element(std::string_view text);
  static void append(std::string& memory, const Part& part, const event::Event& event);

  std::vector<Element> elements_;
};

// Appends the value of `name` in a query string, percent-decoded, '+' as a space; of the first when there are several.
void append_query_value(std::string& out, std::string_view query, std::string_view name);

}  // namespace kaon::runtime::exec
