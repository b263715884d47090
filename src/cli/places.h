#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace kaon::cli {

// Where Kaon keeps things on this machine, for this user. Folders are made when they are first needed, for their owner
// alone unless said otherwise.
struct Places {
  std::string state;  // KAON_STATE_DIR, /var/lib/kaon for root, else $XDG_STATE_HOME/kaon; readable by the processor's user
  std::string run;    // KAON_RUN_DIR, /run/kaon for root, else $XDG_RUNTIME_DIR/kaon or /tmp/kaon-UID
};

Result<Places> places();
// Makes the folder and those above it. kDenied when it belongs to somebody else and others may write to it.
Result<void> make_folder(const std::string& path, int mode);

// Control sockets are called <function>.<keeper's pid>.sock.
std::string control_socket(const Places& places, const std::string& function, int pid);
struct RunningFunction {
  std::string function;
  int pid;  // of the keeper
  std::string socket;
};
// Those of processors that answer; sockets that dead ones left behind are removed.
Result<std::vector<RunningFunction>> running_functions();
// The one called `function`, or the only one when it is empty.
Result<RunningFunction> find_running(const std::string& function);

}  // namespace kaon::cli
