#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"

namespace kaon::http {

inline constexpr size_t kMaxParams = 16;

// Finds the entry for a method and a path. A pattern is a path whose segments are literals, `{name}` (one segment, not
// empty) or, last, `{name...}` (what is left, its slashes included, possibly nothing). Literals win over `{name}`, which wins
// over `{name...}`; with that, two patterns that match the same path are refused only when they have the same shape. Paths
// are compared as they came: nothing is decoded and `//` is no `/`.
class Router {
 public:
  struct Match {
    int status = 404;         // 200: found; 204: OPTIONS of a known path, answer with `allow`; 404; 405, with `allow`
    void* target = nullptr;
    std::string_view allow;   // good as long as the router is not changed
    std::string_view pattern;
    size_t param_count = 0;
    // Names point into the router, values into the path. Those past param_count are not initialised: a match is made for
    // every request.
    union {
      Header params[kMaxParams];
    };
    Match() {}
    std::span<const Header> parameters() const { return {params, param_count}; }
  };

  Router();
  ~Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;

  // An empty method stands for every method that has no entry of its own. `target` is the caller's and not null.
  // kInvalid: what is wrong with the pattern, or which other one it conflicts with.
  Result<void> add(std::string_view method, std::string_view pattern, void* target);
  void remove(void* target);  // all entries of it
  // No allocation. HEAD is answered by GET where it has no entry of its own.
  Match find(std::string_view method, std::string_view path) const;
  bool empty() const;

 private:
  struct Node;
  struct Route;
  static Route* walk(const Node& node, std::string_view rest, std::string_view* values, size_t depth, std::string_view method,
                     Route*& fallback);
  std::unique_ptr<Node> root_;
};

}  // namespace kaon::http
