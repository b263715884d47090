#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <iterator>

#include "keeper/identity.h"

namespace kaon::keeper {
namespace {

#if defined(__x86_64__)
constexpr unsigned kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the processor's system call filter knows x86-64 and arm64"
#endif

// By number where the C library's headers may be older than the call; these numbers are the same everywhere.
constexpr int kQuotactlFd = 443;
constexpr int kMountSetattr = 442;

constexpr int kRefused[] = {
    // running other programs, looking into other processes
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_pidfd_getfd,
    SYS_process_madvise,
    // mounts and namespaces
    SYS_mount,
    SYS_umount2,
    kMountSetattr,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_unshare,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    // the kernel's larger attack surfaces
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_fanotify_init,
    SYS_fanotify_mark,
    SYS_lookup_dcookie,
    SYS_kexec_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    // the machine's own settings
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_syslog,
    SYS_quotactl,
    kQuotactlFd,
    SYS_vhangup,
    SYS_nfsservctl,
    SYS_personality,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#if defined(__x86_64__)
    SYS_fork,
    SYS_vfork,
    SYS_create_module,
    SYS_get_kernel_syms,
    SYS_query_module,
    SYS_uselib,
    SYS_ustat,
    SYS_sysfs,
    SYS__sysctl,
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
};

constexpr size_t kCalls = std::size(kRefused);

constexpr sock_filter load(unsigned offset) { return {BPF_LD | BPF_W | BPF_ABS, 0, 0, offset}; }
constexpr sock_filter answer(unsigned value) { return {BPF_RET | BPF_K, 0, 0, value}; }
constexpr sock_filter jump(unsigned short test, unsigned value, size_t yes, size_t no) {
  return {static_cast<unsigned short>(BPF_JMP | test | BPF_K), static_cast<unsigned char>(yes), static_cast<unsigned char>(no),
          value};
}

constexpr unsigned kNumber = offsetof(seccomp_data, nr);
constexpr unsigned kArch = offsetof(seccomp_data, arch);
// Both architectures are little-endian: the low half of an argument comes first.
constexpr unsigned argument(unsigned index) { return offsetof(seccomp_data, args) + 8 * index; }

constexpr unsigned kEperm = SECCOMP_RET_ERRNO | EPERM;

}  // namespace

Result<void> install_filter() {
  constexpr size_t kMax = kCalls + 32;
  static_assert(kCalls + 1 < 256, "jumps of a filter are one byte");
  sock_filter program[kMax];
  size_t n = 0;
  program[n++] = load(kArch);
  program[n++] = jump(BPF_JEQ, kArchitecture, 1, 0);
  program[n++] = answer(SECCOMP_RET_KILL_PROCESS);
  program[n++] = load(kNumber);
#if defined(__x86_64__)
  program[n++] = jump(BPF_JGE, 0x40000000u /* x32 */, 0, 1);
  program[n++] = answer(kEperm);
#endif
  for (size_t i = 0; i < kCalls; ++i) program[n++] = jump(BPF_JEQ, static_cast<unsigned>(kRefused[i]), kCalls - i, 0);
  program[n++] = jump(BPF_JA, 1, 0, 0);  // over the answer
  program[n++] = answer(kEperm);
  // clone3's flags lie behind a pointer; glibc falls back to clone when it is told that there is no clone3.
  program[n++] = jump(BPF_JEQ, SYS_clone3, 0, 1);
  program[n++] = answer(SECCOMP_RET_ERRNO | ENOSYS);
  program[n++] = jump(BPF_JEQ, SYS_clone, 0, 4);
  program[n++] = load(argument(0));
  program[n++] = jump(BPF_JSET, CLONE_THREAD, 1, 0);
  program[n++] = answer(kEperm);
  program[n++] = answer(SECCOMP_RET_ALLOW);
  // Keystrokes pushed into the terminal that the processor shares with a shell.
  program[n++] = jump(BPF_JEQ, SYS_ioctl, 0, 4);
  program[n++] = load(argument(1));
  program[n++] = jump(BPF_JEQ, TIOCSTI, 1, 0);
  program[n++] = jump(BPF_JEQ, 0x541C /* TIOCLINUX */, 0, 1);
  program[n++] = answer(kEperm);
  program[n++] = answer(SECCOMP_RET_ALLOW);
  sock_fprog filter{static_cast<unsigned short>(n), program};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0) {
    if (errno == EINVAL) return Error{ErrorCode::kUnimplemented, "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)"};
    return errno_error("install the system call filter", errno);
  }
  return {};
}

}  // namespace kaon::keeper
