#include "observe/ring_sink.h"

#include <algorithm>
#include <cstring>

namespace kaon::observe {

RingSink::RingSink(size_t capacity) : capacity_(capacity) {}

void RingSink::put(uint64_t at, const void* data, size_t size) {
  if (size == 0) return;
  size_t place = at % capacity_;
  size_t first = std::min(size, capacity_ - place);
  std::memcpy(bytes_.data() + place, data, first);
  std::memcpy(bytes_.data(), static_cast<const char*>(data) + first, size - first);
}

void RingSink::get(uint64_t at, void* data, size_t size) const {
  if (size == 0) return;
  size_t place = at % capacity_;
  size_t first = std::min(size, capacity_ - place);
  std::memcpy(data, bytes_.data() + place, first);
  std::memcpy(static_cast<char*>(data) + first, bytes_.data(), size - first);
}

void RingSink::write_event(Level, std::string_view event_id, std::string_view line) {
  std::lock_guard lock(mutex_);
  Head head{static_cast<uint32_t>(line.size()), static_cast<uint16_t>(event_id.size())};
  size_t size = sizeof head + event_id.size() + line.size();
  if (size > capacity_ || event_id.size() > UINT16_MAX) {
    ++dropped_;
    return;
  }
  if (bytes_.empty()) bytes_.resize(capacity_);
  while (end_ + size - begin_ > capacity_) {
    Head oldest;
    get(begin_, &oldest, sizeof oldest);
    begin_ += sizeof oldest + oldest.event + oldest.line;
    --count_;
  }
  put(end_, &head, sizeof head);
  put(end_ + sizeof head, event_id.data(), event_id.size());
  put(end_ + sizeof head + event_id.size(), line.data(), line.size());
  end_ += size;
  ++count_;
}

uint64_t RingSink::dropped() const {
  std::lock_guard lock(mutex_);
  return dropped_;
}

// Calls f(head, position of the event id).
template <typename F>
void RingSink::for_each(uint64_t from, F&& f) const {
  for (uint64_t at = from; at < end_;) {
    Head head;
    get(at, &head, sizeof head);
    f(head, at + sizeof head);
    at += sizeof head + head.event + head.line;
  }
}

std::vector<std::string> RingSink::records_of(std::string_view event_id) const {
  std::vector<std::string> records;
  std::string id(event_id.size(), 0);
  std::lock_guard lock(mutex_);
  for_each(begin_, [&](const Head& head, uint64_t at) {
    if (head.event != event_id.size()) return;
    get(at, id.data(), id.size());
    if (id != event_id) return;
    get(at + head.event, records.emplace_back(head.line, 0).data(), head.line);
  });
  return records;
}

std::vector<std::string> RingSink::tail(size_t count) const {
  std::vector<std::string> records;
  std::lock_guard lock(mutex_);
  uint64_t skip = count_ > count ? count_ - count : 0;
  for_each(begin_, [&](const Head& head, uint64_t at) {
    if (skip > 0) {
      --skip;
      return;
    }
    get(at + head.event, records.emplace_back(head.line, 0).data(), head.line);
  });
  return records;
}

std::vector<std::string> RingSink::since(uint64_t& position) const {
  std::vector<std::string> records;
  std::lock_guard lock(mutex_);
  // Every position given out is an end_, so where it is still in the ring a record begins there.
  uint64_t from = position > end_ ? end_ : std::max(position, begin_);
  for_each(from, [&](const Head& head, uint64_t at) {
    get(at + head.event, records.emplace_back(head.line, 0).data(), head.line);
  });
  position = end_;
  return records;
}

}  // namespace kaon::observe
