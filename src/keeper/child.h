#pragma once
#include <sys/types.h>

#include "base/fd.h"
#include "keeper/protocol.h"

struct rlimit;

namespace kaon::keeper {

// What every child of one policy gets; prepared before the first request.
struct Policy {
  bool change_identity = false;
  uid_t uid = 0;
  gid_t gid = 0;
  unsigned long descriptors_soft = 1024, descriptors_hard = 4096;  // RLIMIT_NOFILE
};

struct ChildPlan {
  const Policy* policy;
  const char* path;  // ignored when executable >= 0
  char* const* arguments;
  char* const* environment;
  int standard[3];
  int executable = -1;
  int folder = -1;
};

struct ChildResult {
  pid_t pid = -1;  // -1: it did not start
  Fd pidfd;
  Step step = Step::kNone;
  int error = 0;
};

// Starts a process in a session and process group of its own, with no signal blocked, no privileges, the three descriptors
// and no others, that dies with the calling process. Returns when it executes the program or has failed. The caller
// must have blocked all signals that it handles, and must have no signal handlers.
ChildResult start_child(const ChildPlan& plan, bool with_pidfd);

}  // namespace kaon::keeper
