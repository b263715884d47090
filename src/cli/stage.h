#pragma once
#include <memory>
#include <string>

#include "artifact/store.h"
#include "cli/commands.h"
#include "cli/places.h"
#include "cli/plan.h"
#include "keeper/listen.h"

namespace kaon::cli {

// Turns what the user named into a sealed version: finds its configuration, guesses what is missing, copies its files,
// builds it. Runs as the invoking user, in a process of its own.
class Stager {
 public:
  static Result<Stager> open(const Parts& parts, const RunOptions& options);

  // Reads everything anew. The same content gives the same version.
  Result<artifact::Version> stage();
  // For the version that was staged last.
  const config::Function& function() const { return function_; }
  Result<Plan> plan(const artifact::Version& version, int keeper_pid) const;
  // The folder, or the file, that a change of makes a new version.
  const std::string& source() const { return source_; }

 private:
  Stager(const Parts& parts, const RunOptions& options, Places places, artifact::Store store);
  Result<config::Function> configuration();
  Result<config::Function> guess(const std::string& file) const;
  Result<void> apply_options(config::Function& function) const;

  const Parts& parts_;
  const RunOptions& options_;
  Places places_;
  artifact::Store store_;
  config::Function function_;
  std::string source_;
};

Result<keeper::ListenRequest> listen_request(const std::string& address, unsigned copies);

}  // namespace kaon::cli
