#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kaon::config::yaml {

struct Mark {
  int line = 0;    // from 1
  int column = 0;  // from 1
};

enum class Kind : uint8_t { kNull, kScalar, kList, kMap };

struct Node {
  Kind kind = Kind::kNull;
  bool plain = false;  // a scalar without quotes
  Mark mark;
  std::string text;                                          // kScalar
  std::vector<const Node*> items;                            // kList
  std::vector<std::pair<const Node*, const Node*>> members;  // kMap, in the order of the file; keys are scalars, each once
  // Of what it stands for, aliases followed.
  size_t values = 1;
  size_t height = 0;
};

struct Problem {
  Mark mark;
  std::string message;
};

inline constexpr size_t kMaxBytes = 1 << 20;
inline constexpr size_t kMaxDepth = 32;
inline constexpr size_t kMaxAliases = 64;
inline constexpr size_t kMaxValues = 20'000;  // aliases followed

// One YAML document as a tree. An alias is the anchored node itself, so the "tree" may share nodes, but it has no
// cycle, and a walk that follows every path is bounded by the limits above.
class Document {
 public:
  Document() = default;
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  // Reads hostile text. False: it is not usable, the last problem says why. True: it has a root; problems that leave a
  // tree (duplicate keys: the first one counts) are appended all the same. Called once.
  bool parse(std::string_view text, std::vector<Problem>& problems);
  const Node& root() const { return *root_; }

 private:
  friend class Builder;
  std::deque<Node> nodes_;
  const Node* root_ = nullptr;
};

}  // namespace kaon::config::yaml
