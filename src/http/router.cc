#include "http/router.h"

#include <algorithm>

#include "base/check.h"
#include "http/tables.h"

namespace kaon::http {

// The end of a pattern: its methods.
struct Router::Route {
  struct Entry {
    std::string method;
    void* target;
  };
  std::string pattern;
  std::vector<std::string> names;
  std::vector<Entry> entries;
  std::string allow;

  void* find(std::string_view method) const {
    for (const Entry& each : entries)
      if (each.method == method) return each.target;
    return nullptr;
  }
  void* target(std::string_view method) const {
    if (void* found = find(method)) return found;
    if (method == "HEAD")
      if (void* found = find("GET")) return found;
    return find("");
  }
  void describe() {
    allow.clear();
    auto add = [&](std::string_view method) {
      if (!allow.empty()) allow += ", ";
      allow += method;
    };
    if (find("")) {
      allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
      return;
    }
    for (const Entry& each : entries) add(each.method);
    if (find("GET") && !find("HEAD")) add("HEAD");
    if (!find("OPTIONS")) add("OPTIONS");
  }
};

struct Router::Node {
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> literals;  // sorted
  std::unique_ptr<Node> any;
  std::unique_ptr<Route> rest;
  std::unique_ptr<Route> here;

  auto place(std::string_view segment) {
    auto before = [](const auto& each, std::string_view s) { return each.first < s; };
    return std::lower_bound(literals.begin(), literals.end(), segment, before);
  }
  const Node* literal(std::string_view segment) const {
    auto found = const_cast<Node*>(this)->place(segment);
    return found != literals.end() && found->first == segment ? found->second.get() : nullptr;
  }
  void remove(void* target) {
    auto clean = [&](std::unique_ptr<Route>& route) {
      if (!route) return;
      std::erase_if(route->entries, [&](const Route::Entry& each) { return each.target == target; });
      route->describe();
      if (route->entries.empty()) route.reset();
    };
    clean(rest);
    clean(here);
    for (auto& [name, node] : literals) node->remove(target);
    std::erase_if(literals, [](const auto& each) { return each.second->empty(); });
    if (any) any->remove(target);
    if (any && any->empty()) any.reset();
  }
  bool empty() const { return !rest && !here && !any && literals.empty(); }
};

Router::Router() : root_(std::make_unique<Node>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

namespace {

std::string_view take_segment(std::string_view& rest) {
  size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view segment = rest.substr(0, slash);
  rest.remove_prefix(slash);
  return segment;
}

bool valid_name(std::string_view name) {
  auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && std::all_of(name.begin(), name.end(), good);
}

}  // namespace

Result<void> Router::add(std::string_view method, std::string_view pattern, void* target) {
  KAON_CHECK(target != nullptr);
  auto invalid = [&](std::string_view what) {
    return Error{ErrorCode::kInvalid, "route " + std::string(pattern) + ": " + std::string(what)};
  };
  if (!all(method, kToken)) return invalid("the method is not a token");
  if (pattern.empty() || pattern[0] != '/') return invalid("a path begins with /");
  std::vector<std::string> names;
  // Judged whole before the tree is touched, so that an error leaves nothing behind.
  for (std::string_view rest = pattern; !rest.empty();) {
    rest.remove_prefix(1);
    std::string_view segment = take_segment(rest);
    bool braces = segment.find_first_of("{}") != segment.npos;
    if (!braces) {
      if (!all(segment, kTarget) || segment.find('?') != segment.npos) return invalid("a byte must be percent-encoded");
      continue;
    }
    if (segment.size() < 2 || segment.front() != '{' || segment.back() != '}') return invalid("{name} must be a whole segment");
    std::string_view name = segment.substr(1, segment.size() - 2);
    bool tail = name.ends_with("...");
    if (tail) name.remove_suffix(3);
    if (!valid_name(name)) return invalid("a parameter's name has letters, digits and _");
    if (tail && !rest.empty()) return invalid("{name...} must be the last segment");
    if (std::find(names.begin(), names.end(), name) != names.end()) return invalid("two parameters have the same name");
    if (names.size() == kMaxParams) return invalid("more than 16 parameters");
    names.emplace_back(name);
  }
  Node* node = root_.get();
  std::unique_ptr<Route>* route = nullptr;
  for (std::string_view rest = pattern; !rest.empty() && !route;) {
    rest.remove_prefix(1);
    std::string_view segment = take_segment(rest);
    if (segment.ends_with("...}")) {
      route = &node->rest;
    } else if (segment.starts_with('{')) {
      if (!node->any) node->any = std::make_unique<Node>();
      node = node->any.get();
    } else {
      auto place = node->place(segment);
      if (place == node->literals.end() || place->first != segment)
        place = node->literals.emplace(place, std::string(segment), std::make_unique<Node>());
      node = place->second.get();
    }
  }
  if (!route) route = &node->here;
  if (!*route) {
    *route = std::make_unique<Route>();
    (*route)->pattern = pattern;
    (*route)->names = std::move(names);
  } else if ((*route)->pattern != pattern) {
    return invalid("it matches the same paths as " + (*route)->pattern);
  } else if ((*route)->find(method)) {
    return invalid((method.empty() ? "every method" : "the method " + std::string(method)) + " is taken");
  }
  (*route)->entries.push_back({std::string(method), target});
  (*route)->describe();
  return {};
}

void Router::remove(void* target) { root_->remove(target); }
bool Router::empty() const { return root_->empty(); }

// `rest` begins with the slash before the next segment, or is empty. Tries the more special before the more general; a
// route that has the path and not the method is only remembered. `depth` is bounded by the longest pattern.
Router::Route* Router::walk(const Node& node, std::string_view rest, std::string_view* values, size_t depth,
                            std::string_view method, Route*& fallback) {
  auto judge = [&](Route* route) -> Route* {
    if (!route || route->target(method)) return route;
    if (!fallback) fallback = route;
    return nullptr;
  };
  if (rest.empty()) {
    if (Route* found = judge(node.here.get())) return found;
    if (!node.rest) return nullptr;
    values[depth] = rest;
    return judge(node.rest.get());
  }
  std::string_view after = rest.substr(1);
  std::string_view segment = take_segment(after);
  if (const Node* next = node.literal(segment))
    if (Route* found = walk(*next, after, values, depth, method, fallback)) return found;
  if (node.any && !segment.empty()) {
    values[depth] = segment;
    if (Route* found = walk(*node.any, after, values, depth + 1, method, fallback)) return found;
  }
  if (!node.rest) return nullptr;
  values[depth] = rest.substr(1);
  return judge(node.rest.get());
}

Router::Match Router::find(std::string_view method, std::string_view path) const {
  Match match;
  if (path.empty() || path[0] != '/') return match;
  union Values {
    std::string_view at[kMaxParams + 1];
    Values() {}
  } captured;
  std::string_view* values = captured.at;
  Route* fallback = nullptr;
  Route* route = walk(*root_, path, values, 0, method, fallback);
  if (!route && !fallback) return match;
  if (!route) {
    match.status = method == "OPTIONS" ? 204 : 405;
    match.allow = fallback->allow;
    match.pattern = fallback->pattern;
    return match;
  }
  match.status = 200;
  match.target = route->target(method);
  match.allow = route->allow;
  match.pattern = route->pattern;
  for (const std::string& name : route->names) {
    match.params[match.param_count] = {name, values[match.param_count]};
    ++match.param_count;
  }
  return match;
}

}  // namespace kaon::http
