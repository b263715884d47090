#pragma once
#include <sys/types.h>

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "keeper/client.h"
#include "keeper/identity.h"
#include "keeper/listen.h"
#include "keeper/stage.h"

namespace kaon::keeper {

struct KeeperOptions {
  // Runs first, in a child of its own with the caller's identity and privileges: loads, copies, compiles, commits. It
  // may stay, to commit again; its end after a commit means nothing. Its exit code is the keeper's when it ends without
  // one. Null: the processor starts with an empty blob and no sockets.
  int (*stage)(StageContext& context) = nullptr;
  void* user = nullptr;  // for both; what it points to is copied by fork, as all memory is

  unsigned channels = 1;           // one for each loop
  size_t max_children = 8192;      // functions' processes at a time
  unsigned max_failed_starts = 5;  // processors in a row that died without having been ready
  // As root, the processor and the functions change to these; else everything keeps the caller's.
  Identity processor;
  uid_t function_uid = kFunctionUid;
  gid_t function_gid = kFunctionUid;
};

// What a processor starts with. Its descriptors are 0 to 2 and those named here; all else is closed. SIGPIPE is
// ignored, every other signal is as the keeper was started with.
struct ProcessorStart {
  struct Listening {
    ListenRequest request;
    std::vector<int> sockets;  // the processor's to close
  };
  void* user;
  std::string_view blob;
  std::vector<Listening> listeners;  // in the order of the commit
  std::vector<Client> channels;      // Client::ready on any of them ends the start
  Identity identity;                 // for drop_privileges
  unsigned restarts;                 // of crashed processors before this one
};

// Makes the calling process the keeper: to be called before the process has a second thread or much memory. Returns when
// it is over, with the exit code for main.
//
// What `processor_main` returns ends the keeper with that code; so does exit code 0. Any other death of the processor
// kills the functions that it started, and a new one gets the same sockets: at once, after a pause when it lived for less than
// a second, never after max_failed_starts. SIGTERM, SIGINT and SIGHUP are forwarded to the processor once, as SIGTERM; a second
// SIGINT kills. When the keeper dies, so do the processor, the stager and the functions' main processes.
//
// A function's process group is killed when its main process ends. A process that has left the group (setsid) is not
// followed: that takes the sandbox's PID namespace.
int run_keeper(const KeeperOptions& options, int (*processor_main)(ProcessorStart& start));

// A keeper without processor or stager: a child process that serves one channel until it is closed, and then kills what
// it started. For commands, benchmarks and tests of a single-threaded process, which reaps `pid` itself.
struct ForkedKeeper {
  pid_t pid;
  Client client;
};
Result<ForkedKeeper> fork_keeper(const KeeperOptions& options = {});

}  // namespace kaon::keeper
