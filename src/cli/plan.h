#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kaon::cli {

// What the stager decided and every processor of this keeper runs: small, plain, kept by the keeper as bytes.
struct Plan {
  std::string function;
  std::string version;  // the id of the sealed version
  std::string store;    // the version store's folder
  std::string control;  // path of the control socket
  std::string admin;    // address of the admin listener; empty: none
  std::vector<std::string> addresses;  // of the triggers
  unsigned loops = 1;
  int drain_ms = 10'000;
  std::string log_level, log_format;
  unsigned owner = 0;  // the user who started it

  std::string write() const;
  static Result<Plan> read(std::string_view text);
};

// The file of a sealed version that holds its configuration, overrides applied.
inline constexpr const char* kSealedConfiguration = ".kaon.yaml";

}  // namespace kaon::cli
