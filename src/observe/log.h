#pragma once
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace kaon::observe {

enum class Level : uint8_t { kDebug, kInfo, kWarning, kError };
std::string_view level_name(Level level);  // "debug", "info", "warning", "error"
Result<Level> parse_level(std::string_view name);

struct Field {
  std::string_view key;
  std::variant<std::string_view, int64_t, double, bool> value;
};

// The key of the tag or field that says which event a record belongs to; its value is a string.
inline constexpr std::string_view kEventKey = "event";

// Where finished records go. Thread-safe; must not write to a Log itself.
class Sink {
 public:
  virtual ~Sink() = default;
  // `line` ends with a newline; written whole or not at all. It is good until the return.
  virtual void write(Level level, std::string_view line) = 0;
  // A record that belongs to one event.
  virtual void write_event(Level level, std::string_view event_id, std::string_view line) {
    (void)event_id;
    write(level, line);
  }
  // Records that were lost, since the start.
  virtual uint64_t dropped() const { return 0; }
};

enum class Format : uint8_t { kText, kJson };

// Structured records with a message, fields, and the tags of what writes them (function, version, trigger, worker).
// Copies are cheap and share the sink and the level, so that a changed level is seen by all of them at once.
// Thread-safe. A record below the level costs one relaxed load; another allocates nothing in a steady state.
//
// kText: `15:04:05.123 INFO  message tag=value event=ID field=value`, local time. Whatever could forge a line, a field or
// a terminal escape is quoted and escaped.
// kJson: {"time":"2006-01-02T15:04:05.123456Z","level":"info","message":…,<tags>,"event":…,"fields":{…}}. Fields have an
// object of their own, so that a function's field cannot pass for a tag.
// A message over 32 KiB, a value over 8 KiB and fields past the 64th are cut, and say so.
class Log {
 public:
  // To `sink`, without tags.
  Log(std::shared_ptr<Sink> sink, Format format, Level level);
  // The same with further tags.
  Log with(std::initializer_list<Field> tags) const;
  // The same with a level of its own, starting from the present one.
  Log with_own_level() const;

  bool enabled(Level level) const { return level >= level_->load(std::memory_order_relaxed); }
  void set_level(Level level) { level_->store(level, std::memory_order_relaxed); }  // of every copy
  Level level() const { return level_->load(std::memory_order_relaxed); }
  void write(Level level, std::string_view message, std::initializer_list<Field> fields = {}) const {
    if (enabled(level)) write_always(level, message, fields);
  }
  // As if enabled; for a level that was changed for one call only.
  void write_always(Level level, std::string_view message, std::initializer_list<Field> fields = {}) const;
  // As if enabled, a record that belongs to an event; `fields` may come from outside, and none of them can name another.
  void write_event(Level level, std::string_view event_id, std::string_view message, std::span<const Field> fields = {}) const;

 private:
  std::shared_ptr<Sink> sink_;
  std::shared_ptr<std::atomic<Level>> level_;
  std::string tags_;   // already encoded in the format
  std::string event_;  // the event's id, where it is among the tags
  Format format_;
};

// Lines to a descriptor that it borrows (2 for the terminal): one write(2) for each. Coloured where it is a terminal,
// unless NO_COLOR or TERM=dumb is in the environment. A reader that is slow or gone costs records (`dropped`), and never
// more than 20 ms at once. The process must ignore SIGPIPE.
std::shared_ptr<Sink> make_fd_sink(int fd);

// To each of `sinks`.
std::shared_ptr<Sink> make_tee_sink(std::vector<std::shared_ptr<Sink>> sinks);

// The head of a record: `nanos` since the epoch as RFC 3339 in UTC with microseconds, 27 characters.
void append_rfc3339(std::string& out, Nanos nanos);

}  // namespace kaon::observe
