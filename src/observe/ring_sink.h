#pragma once
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "observe/log.h"

namespace kaon::observe {

// Keeps the newest records in `capacity` bytes of memory, allocated when the first one comes. Thread-safe. A record that
// does not fit at all is dropped.
class RingSink final : public Sink {
 public:
  explicit RingSink(size_t capacity = 256 << 10);

  void write(Level level, std::string_view line) override { write_event(level, {}, line); }
  void write_event(Level level, std::string_view event_id, std::string_view line) override;
  uint64_t dropped() const override;

  // The records of one event, oldest first, as lines with their newline. What a record says is never asked, so a
  // function cannot put a record under another's event.
  std::vector<std::string> records_of(std::string_view event_id) const;
  // The newest `count` records, oldest first.
  std::vector<std::string> tail(size_t count) const;
  // The records that came after `position`, oldest first; sets it to the newest. Starts at 0; for following.
  std::vector<std::string> since(uint64_t& position) const;

 private:
  struct Head {
    uint32_t line;
    uint16_t event;
  };
  void put(uint64_t at, const void* data, size_t size);
  void get(uint64_t at, void* data, size_t size) const;
  template <typename F>
  void for_each(uint64_t from, F&& f) const;
  size_t capacity_;
  mutable std::mutex mutex_;
  std::string bytes_;
  uint64_t begin_ = 0;  // of the oldest record; positions only grow, their place is the rest by capacity
  uint64_t end_ = 0;
  uint64_t count_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace kaon::observe
