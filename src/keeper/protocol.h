#pragma once
#include <cstdint>

// What a processor and its keeper say to each other over a SOCK_SEQPACKET pair, one message for each packet. The
// keeper treats all of it as coming from a party with fewer privileges: each field is checked, descriptors are counted,
// and a request can only name a policy that was prepared beforehand.
namespace kaon::keeper {

inline constexpr uint32_t kMagic = 0x314e414b;  // "KAN1"
inline constexpr uint16_t kProtocolVersion = 1;

// Path, arguments and environment of a spawn follow its header in the packet up to this size; above it they lie in a
// memfd sealed against writing, shrinking, growing and unsealing.
inline constexpr uint32_t kInlineBytes = 32 << 10;
inline constexpr uint32_t kMaxBytes = 1 << 20;

enum class Kind : uint16_t {
  kSpawn = 1,
  kKill = 2,
  kReady = 3,     // the processor serves: its start has succeeded
  kFinished = 4,  // the processor ends on purpose, with `signal` as its exit code
  kSpawned = 16,
  kFailed = 17,
  kExited = 18,
};

struct Header {
  uint32_t magic;
  uint16_t version;
  uint16_t kind;
  uint64_t id;  // chosen by the processor; unique among the live children of its channel
};

// Followed by `bytes` bytes: the path, the arguments and the environment, each ended by a NUL. Descriptors, in this order:
// standard input, output, error; the executable (kExecutable); the working directory (kFolder); the memfd (kMemory).
struct SpawnMessage {
  Header header;
  uint32_t policy;
  uint32_t flags;
  uint32_t argument_count;
  uint32_t environment_count;
  uint32_t bytes;
  uint32_t reserved;
};

enum SpawnFlags : uint32_t {
  kExecutable = 1,  // execute the descriptor; the path is empty
  kFolder = 2,
  kMemory = 4,
  kQuiet = 8,   // no kSpawned message; kExited or kFailed is the only answer
  kPidfd = 16,  // kSpawned brings a pidfd
  kAllFlags = 31,
};

// kKill, kReady and kFinished.
struct ControlMessage {
  Header header;
  int32_t signal;  // to the child's whole process group
  uint32_t reserved;
};

// The step of a start that failed; its errno comes with it.
enum class Step : uint32_t {
  kNone,
  kRequest,   // the request itself was refused
  kCapacity,  // too many children already
  kClone,
  kSession,
  kDescriptors,
  kFolder,
  kLimits,
  kIdentity,
  kPrivileges,
  kParent,
  kExec,
};

struct Reply {
  Header header;
  int32_t pid;
  int32_t error;    // errno, of kFailed
  Step step;        // of kFailed
  int32_t status;   // as of wait(2), of kExited
  int64_t user_us;  // CPU time of the process and of those children that it waited for
  int64_t system_us;
  int64_t max_rss_kib;
};

static_assert(sizeof(Header) == 16 && sizeof(SpawnMessage) == 40 && sizeof(ControlMessage) == 24 && sizeof(Reply) == 56);

// Policies. More of them come with the sandbox.
inline constexpr uint32_t kPlainPolicy = 0;

}  // namespace kaon::keeper
