#include "config/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <sstream>
#include <unordered_map>

#include "base/check.h"
#include "base/text.h"
#include "config/diagnostic.h"

namespace kaon::config::yaml {
namespace {

struct Refused {
  Problem problem;
};

Mark place(const YAML::Mark& mark) { return mark.is_null() ? Mark{} : Mark{mark.line + 1, mark.column + 1}; }

[[noreturn]] void refuse(const YAML::Mark& mark, std::string message) { throw Refused{{place(mark), std::move(message)}}; }

// yaml-cpp takes other encodings and replaces bad bytes; a file that means different things to different readers is refused.
bool check_bytes(std::string_view text, std::vector<Problem>& problems) {
  Mark mark{1, 1};
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    size_t length = utf8_length(text.substr(i));
    if (length == 0) {
      problems.push_back({mark, "the file is not UTF-8 text"});
      return false;
    }
    if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f) {
      problems.push_back(
          {mark,
           fmt::format("the control character \\x{:02x} may not stand in the file; write it as an escape in double quotes", c)});
      return false;
    }
    i += length;
    if (c == '\n') {
      mark = {mark.line + 1, 1};
    } else {
      ++mark.column;
    }
  }
  return true;
}

}  // namespace

// Makes the tree from the parser's events, so that every limit is enforced before anything is expanded.
class Builder : public YAML::EventHandler {
 public:
  Builder(Document& document, std::vector<Problem>& problems) : document_(document), problems_(problems) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { attach(make(Kind::kNull, mark, anchor), mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    check_tag(mark, tag);
    if (value.find('\0') != std::string::npos) refuse(mark, "a value may not hold a NUL byte");
    Node& node = make(Kind::kScalar, mark, anchor);
    node.text = value;
    node.plain = tag == "?";
    // "\xff" in double quotes is a code point, but a lone surrogate ("\ud800") comes out as bytes that are not UTF-8.
    for (size_t i = 0; i < value.size();) {
      size_t length = utf8_length(std::string_view(value).substr(i));
      if (length == 0) refuse(mark, "an escape in this value is not a character");
      i += length;
    }
    attach(node, mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    check_tag(mark, tag);
    open(make(Kind::kList, mark, anchor), mark);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    check_tag(mark, tag);
    open(make(Kind::kMap, mark, anchor), mark);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (++aliases_ > kMaxAliases) refuse(mark, fmt::format("there are more than {} aliases", kMaxAliases));
    auto found = anchors_.find(anchor);
    if (found == anchors_.end()) refuse(mark, "this alias has no anchor");
    Node& node = *found->second;
    for (const Frame& frame : stack_)
      if (frame.node == &node) refuse(mark, "this alias stands inside the value that it names: a cycle");
    count(node.values, mark);
    if (stack_.size() + node.height >= kMaxDepth) too_deep(mark);
    if (!stack_.empty() && stack_.back().node->kind == Kind::kMap && !stack_.back().key)
      refuse(mark, "a key may not be an alias");
    attach(node, mark);
  }

 private:
  struct Frame {
    Node* node;
    const Node* key = nullptr;  // of a map: waits for its value
    bool duplicate = false;
    std::map<std::string_view, int> lines;
  };

  static void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, fmt::format("tags are not used here: remove {}", quoted(tag)));
  }
  [[noreturn]] static void too_deep(const YAML::Mark& mark) {
    refuse(mark, fmt::format("values are nested deeper than {} levels", kMaxDepth));
  }
  void count(size_t values, const YAML::Mark& mark) {
    values_ += values;
    if (values_ > kMaxValues) refuse(mark, fmt::format("there are more than {} values", kMaxValues));
  }

  Node& make(Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    count(1, mark);
    Node& node = document_.nodes_.emplace_back();
    node.kind = kind;
    node.mark = place(mark);
    if (anchor != 0) anchors_[anchor] = &node;
    return node;
  }

  void open(Node& node, const YAML::Mark& mark) {
    if (stack_.size() >= kMaxDepth) too_deep(mark);
    if (!stack_.empty() && stack_.back().node->kind == Kind::kMap && !stack_.back().key)
      refuse(mark, "a key must be a single word");
    stack_.push_back({&node});
  }

  void close() {
    Node& node = *stack_.back().node;
    stack_.pop_back();
    attach(node, YAML::Mark::null_mark());
  }

  void attach(Node& node, const YAML::Mark& mark) {
    if (stack_.empty()) {
      document_.root_ = &node;
      return;
    }
    Frame& frame = stack_.back();
    if (frame.node->kind == Kind::kMap && !frame.key) {
      if (node.kind != Kind::kScalar) refuse(mark, "a key must be a single word");
      if (node.plain && node.text == "<<") refuse(mark, "merge keys (`<<`) are not supported: repeat the keys");
      auto [first, added] = frame.lines.emplace(node.text, node.mark.line);
      if (!added)
        problems_.push_back(
            {node.mark, fmt::format("duplicate key {}, the first is on line {}", quoted(node.text), first->second)});
      frame.duplicate = !added;
      frame.key = &node;
      return;
    }
    Node& parent = *frame.node;
    parent.values += node.values;
    parent.height = std::max(parent.height, node.height + 1);
    if (parent.kind == Kind::kList) {
      parent.items.push_back(&node);
    } else {
      if (!frame.duplicate) parent.members.emplace_back(frame.key, &node);
      frame.key = nullptr;
    }
  }

  Document& document_;
  std::vector<Problem>& problems_;
  std::vector<Frame> stack_;
  std::unordered_map<YAML::anchor_t, Node*> anchors_;
  size_t aliases_ = 0;
  size_t values_ = 0;
};

bool Document::parse(std::string_view text, std::vector<Problem>& problems) {
  KAON_CHECK(!root_);
  if (text.size() > kMaxBytes) {
    problems.push_back({{}, fmt::format("the file has {} bytes, at most {} are read", text.size(), kMaxBytes)});
    return false;
  }
  if (!check_bytes(text, problems)) return false;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Builder builder(*this, problems);
    if (!parser.HandleNextDocument(builder) || !root_) {
      problems.push_back({{}, "the file is empty"});
      return false;
    }
    std::vector<Problem> ignored;
    Document second;
    Builder other(second, ignored);
    if (parser.HandleNextDocument(other)) {
      problems.push_back(
          {second.root_ ? second.root_->mark : Mark{}, "there is a second YAML document (`---`); a file holds one"});
      return false;
    }
    return true;
  } catch (const Refused& refused) {
    problems.push_back(refused.problem);
  } catch (const YAML::Exception& exception) {
    // The parser's messages may repeat bytes of the file.
    problems.push_back({place(exception.mark), fmt::format("not valid YAML: {}", printable(exception.msg, 200))});
  }
  return false;
}

}  // namespace kaon::config::yaml
