#pragma once
#include <sys/types.h>

#include "base/result.h"

namespace kaon::keeper {

// Numbers that Debian and systemd leave unassigned; the processor and the functions have different ones, so that neither
// can signal the other or read its memory.
inline constexpr uid_t kProcessorUid = 61100;
inline constexpr uid_t kFunctionUid = 61101;

struct Identity {
  uid_t uid = kProcessorUid;
  gid_t gid = kProcessorUid;
  bool change = false;  // to uid and gid; else the caller's are kept
  pid_t parent = 0;     // dies with this process; 0: with none
};

// Whether the caller holds the capabilities that a change of identity takes.
bool may_change_identity();

// Clears every capability set as far as the caller may: the bounding set needs CAP_SETPCAP. With `keep_effective` the effective
// and permitted sets stay, for a process that never executes anything and whose children shall have none.
Result<void> clear_capabilities(bool keep_effective);

// Gives up, for good: the identity (where `change`), capabilities, new privileges by execution, being dumped or traced by
// equals, and the system calls of install_filter(). To be called before the process has a second thread.
Result<void> drop_privileges(const Identity& identity);

// The processor's own seccomp filter; EPERM for what it refuses. Starting processes is the keeper's, so clone makes threads
// only, and nothing is executed.
Result<void> install_filter();

}  // namespace kaon::keeper
