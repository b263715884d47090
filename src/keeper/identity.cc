#include "keeper/identity.h"

#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace kaon::keeper {
namespace {

constexpr int kCapabilityLimit = 64;

Result<void> check(int result, const char* what) {
  if (result < 0) return errno_error(what, errno);
  return {};
}

struct Capabilities {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  bool read() { return syscall(SYS_capget, &header, sets) == 0; }
  bool write() { return syscall(SYS_capset, &header, sets) == 0; }
  bool effective(int capability) const { return sets[capability / 32].effective & (1u << (capability % 32)); }
};

}  // namespace

bool may_change_identity() {
  Capabilities now;
  return now.read() && now.effective(CAP_SETUID) && now.effective(CAP_SETGID);
}

Result<void> clear_capabilities(bool keep_effective) {
  Capabilities now;
  if (!now.read()) return errno_error("capget", errno);
  if (now.effective(CAP_SETPCAP)) {
    for (int capability = 0; capability < kCapabilityLimit; ++capability)
      if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EINVAL)
        return errno_error("drop a bounding capability", errno);
  }
  KAON_TRY_VOID(check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "clear the ambient capabilities"));
  for (auto& set : now.sets) {
    set.inheritable = 0;
    if (!keep_effective) set.effective = set.permitted = 0;
  }
  if (!now.write()) return errno_error("capset", errno);
  return {};
}

Result<void> drop_privileges(const Identity& identity) {
  if (identity.change) {
    if (identity.uid == 0 || identity.gid == 0) return Error{ErrorCode::kInvalid, "the processor must not run as root"};
    // The bounding set can only be cleared while the capabilities last, and the uid only changed with them.
    KAON_TRY_VOID(clear_capabilities(true));
    std::string to = "change to user " + std::to_string(identity.uid);
    KAON_TRY_VOID(check(setgroups(0, nullptr), to.c_str()));
    KAON_TRY_VOID(check(setresgid(identity.gid, identity.gid, identity.gid), to.c_str()));
    KAON_TRY_VOID(check(setresuid(identity.uid, identity.uid, identity.uid), to.c_str()));
  }
  KAON_TRY_VOID(clear_capabilities(false));
  KAON_TRY_VOID(check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs"));
  KAON_TRY_VOID(check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "undumpable"));
  // A change of uid has cleared it.
  if (identity.parent != 0) {
    KAON_TRY_VOID(check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "tie the processor to the keeper's life"));
    if (getppid() != identity.parent) return Error{ErrorCode::kDisconnected, "the keeper has died"};
  }
  return install_filter();
}

}  // namespace kaon::keeper
