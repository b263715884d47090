#include "artifact/ignore.h"

#include <span>

namespace kaon::artifact {
namespace {

constexpr size_t kMaxSize = 64 << 10;
constexpr size_t kMaxPatterns = 200;
constexpr size_t kMaxPattern = 256;

// One element of a pattern's segment against one character; sets `next` to the element after it.
bool matches_one(std::string_view pattern, size_t at, char c, size_t& next) {
  if (pattern[at] == '?') {
    next = at + 1;
    return true;
  }
  if (pattern[at] == '\\' && at + 1 < pattern.size()) {
    next = at + 2;
    return pattern[at + 1] == c;
  }
  if (pattern[at] == '[') {
    size_t i = at + 1;
    bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
    if (negated) ++i;
    bool found = false;
    for (size_t first = i; i < pattern.size() && (i == first || pattern[i] != ']');) {
      char low = pattern[i];
      char high = low;
      if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
        high = pattern[i + 2];
        i += 2;
      }
      ++i;
      found |= low <= c && c <= high;
    }
    if (i < pattern.size()) {
      next = i + 1;
      return found != negated;
    }
    // Not closed: a plain bracket.
  }
  next = at + 1;
  return pattern[at] == c;
}

// Only the last `*` is ever tried again, so the time is the product of the lengths at worst.
bool matches_segment(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t star_name = 0;
  while (n < name.size()) {
    size_t next = 0;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_name = n;
    } else if (p < pattern.size() && matches_one(pattern, p, name[n], next)) {
      p = next;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// The same one level up, where `**` is the star and a segment the character.
bool matches_path(std::span<const std::string> pattern, std::span<const std::string_view> path) {
  size_t p = 0;
  size_t n = 0;
  size_t star = SIZE_MAX;
  size_t star_path = 0;
  while (n < path.size()) {
    if (p < pattern.size() && pattern[p] == "**") {
      star = p++;
      star_path = n;
    } else if (p < pattern.size() && matches_segment(pattern[p], path[n])) {
      ++p;
      ++n;
    } else if (star != SIZE_MAX) {
      p = star + 1;
      n = ++star_path;
    } else {
      return false;
    }
  }
  // `a/**` is what lies in a, not a itself.
  return p == pattern.size();
}

}  // namespace

Result<Ignore> Ignore::parse(std::string_view text) {
  if (text.size() > kMaxSize) return Error{ErrorCode::kInvalid, ".kaonignore is over 64 KiB"};
  Ignore ignore;
  for (size_t number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line.empty() || line[0] == '#') continue;
    std::string at = ".kaonignore:" + std::to_string(number) + ": ";
    if (line.size() > kMaxPattern) return Error{ErrorCode::kInvalid, at + "the pattern is over 256 bytes"};
    if (ignore.patterns_.size() == kMaxPatterns) return Error{ErrorCode::kInvalid, at + "there are over 200 patterns"};
    Pattern pattern{};
    if (line[0] == '!') {
      pattern.negated = true;
      line.remove_prefix(1);
    }
    if (!line.empty() && line.back() == '/') {
      pattern.folders_only = true;
      line.remove_suffix(1);
    }
    pattern.anchored = line.find('/') != line.npos;
    if (!line.empty() && line[0] == '/') line.remove_prefix(1);
    while (!line.empty()) {
      size_t slash = line.find('/');
      if (slash != 0) pattern.segments.emplace_back(line.substr(0, slash));
      line.remove_prefix(slash == line.npos ? line.size() : slash + 1);
    }
    if (pattern.segments.empty()) return Error{ErrorCode::kInvalid, at + "the pattern is empty"};
    ignore.patterns_.push_back(std::move(pattern));
  }
  return ignore;
}

bool Ignore::matches(std::string_view path, bool folder) const {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
  }
  if (segments.empty()) return false;
  bool ignored = false;
  for (const Pattern& pattern : patterns_) {
    if (pattern.negated != ignored || (pattern.folders_only && !folder)) continue;
    bool match = pattern.anchored ? matches_path(pattern.segments, segments)
                                  : matches_segment(pattern.segments[0], segments.back());
    if (match) ignored = !pattern.negated;
  }
  return ignored;
}

}  // namespace kaon::artifact
