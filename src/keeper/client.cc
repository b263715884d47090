#include "keeper/client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kaon::keeper {
namespace {

constexpr size_t kMaxQueued = 4096;
constexpr size_t kMaxQueuedBytes = 32 << 20;
constexpr int kSendBuffer = 4 << 20;

Result<Fd> sealed_memory(std::string_view bytes) {
  Fd memory(memfd_create("kaon-spawn", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return errno_error("memfd_create", errno);
  for (size_t written = 0; written < bytes.size();) {
    ssize_t n = ::write(memory.get(), bytes.data() + written, bytes.size() - written);
    if (n <= 0) return errno_error("write to a memfd", errno);
    written += static_cast<size_t>(n);
  }
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return errno_error("seal a memfd", errno);
  return memory;
}

}  // namespace

Client::Client(Fd fd) : fd_(std::move(fd)) {
  // A burst of requests waits in the socket; what the system allows less than this is made up for by the queue.
  setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
}

Result<bool> Client::send(std::string_view bytes, std::span<const int> fds) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(6 * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
    if (errno == EINTR) continue;
    // ETOOMANYREFS: more descriptors are in flight than RLIMIT_NOFILE allows; they land as the keeper reads.
    if (errno == EAGAIN || errno == ETOOMANYREFS || errno == ENOBUFS) return false;
    return errno_error("send to the keeper", errno);
  }
}

Result<void> Client::send_or_queue(std::string_view bytes, std::span<const int> fds) {
  if (queue_.empty()) {
    KAON_TRY(bool sent, send(bytes, fds));
    if (sent) return {};
  }
  if (queue_.size() >= kMaxQueued || queued_bytes_ + bytes.size() > kMaxQueuedBytes)
    return Error{ErrorCode::kOverloaded, "too many processes are waiting to be started"};
  Queued entry;
  entry.bytes = bytes;
  for (int fd : fds) {
    entry.fds[entry.fd_count].reset(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!entry.fds[entry.fd_count++]) return errno_error("keep a descriptor for a process that waits to be started", errno);
  }
  queued_bytes_ += bytes.size();
  queue_.push_back(std::move(entry));
  return {};
}

Result<void> Client::flush() {
  while (!queue_.empty()) {
    Queued& entry = queue_.front();
    int fds[6];
    for (int i = 0; i < entry.fd_count; ++i) fds[i] = entry.fds[i].get();
    KAON_TRY(bool sent, send(entry.bytes, {fds, static_cast<size_t>(entry.fd_count)}));
    if (!sent) return {};
    queued_bytes_ -= entry.bytes.size();
    queue_.pop_front();
  }
  return {};
}

Result<void> Client::spawn(const SpawnRequest& request) {
  std::string& out = scratch_;
  out.assign(sizeof(SpawnMessage), '\0');
  auto append = [&](std::string_view text) {
    out += text;
    out += '\0';
    return text.find('\0') == text.npos && out.size() <= kMaxBytes + sizeof(SpawnMessage);
  };
  bool fits = append(request.path);
  for (std::string_view text : request.arguments) fits = fits && append(text);
  for (std::string_view text : request.environment) fits = fits && append(text);
  if (!fits)
    return Error{ErrorCode::kInvalid, out.size() > kMaxBytes ? "arguments and environment exceed 1 MiB"
                                                             : "an argument or environment value contains a NUL byte"};
  int fds[6] = {request.standard_input, request.standard_output, request.standard_error};
  size_t fd_count = 3;
  SpawnMessage head{{kMagic, kProtocolVersion, static_cast<uint16_t>(Kind::kSpawn), request.id},
                    request.policy,
                    0,
                    static_cast<uint32_t>(request.arguments.size()),
                    static_cast<uint32_t>(request.environment.size()),
                    static_cast<uint32_t>(out.size() - sizeof(SpawnMessage)),
                    0};
  if (request.executable >= 0) head.flags |= kExecutable, fds[fd_count++] = request.executable;
  if (request.folder >= 0) head.flags |= kFolder, fds[fd_count++] = request.folder;
  if (request.quiet) head.flags |= kQuiet;
  if (request.pidfd) head.flags |= kPidfd;
  Fd memory;
  if (head.bytes > kInlineBytes) {
    KAON_TRY(memory, sealed_memory(std::string_view(out).substr(sizeof head)));
    head.flags |= kMemory;
    fds[fd_count++] = memory.get();
    out.resize(sizeof head);
  }
  std::memcpy(out.data(), &head, sizeof head);
  auto sent = send_or_queue(out, {fds, fd_count});
  if (out.capacity() > 4 * kInlineBytes) std::string().swap(out);
  return sent;
}

Result<void> Client::control(Kind kind, uint64_t id, int value) {
  ControlMessage message{{kMagic, kProtocolVersion, static_cast<uint16_t>(kind), id}, value, 0};
  return send_or_queue({reinterpret_cast<const char*>(&message), sizeof message}, {});
}

Result<void> Client::kill(uint64_t id, int signal) { return control(Kind::kKill, id, signal); }
Result<void> Client::ready() { return control(Kind::kReady, 0, 0); }
Result<void> Client::finished(int exit_code) { return control(Kind::kFinished, 0, exit_code); }

Result<size_t> Client::receive(std::span<Reply> replies, std::span<int> pidfds) {
  constexpr size_t kBatch = 16;
  size_t count = std::min(replies.size(), kBatch);
  mmsghdr messages[kBatch] = {};
  iovec parts[kBatch];
  alignas(cmsghdr) char controls[kBatch][CMSG_SPACE(sizeof(int))];
  for (size_t i = 0; i < count; ++i) {
    parts[i] = {&replies[i], sizeof(Reply)};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    if (i < pidfds.size()) {
      messages[i].msg_hdr.msg_control = controls[i];
      messages[i].msg_hdr.msg_controllen = sizeof controls[i];
    }
  }
  int got;
  do got = recvmmsg(fd_.get(), messages, static_cast<unsigned>(count), MSG_DONTWAIT | MSG_CMSG_CLOEXEC, nullptr);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return size_t{0};
  if (got < 0) return errno_error("receive from the keeper", errno);
  size_t valid = 0;
  for (int i = 0; i < got; ++i) {
    if (messages[i].msg_len != sizeof(Reply)) break;  // a packet of no bytes: the keeper has closed
    if (valid < pidfds.size()) {
      pidfds[valid] = -1;
      cmsghdr* header = CMSG_FIRSTHDR(&messages[i].msg_hdr);
      if (header && header->cmsg_type == SCM_RIGHTS) std::memcpy(&pidfds[valid], CMSG_DATA(header), sizeof(int));
    }
    ++valid;
  }
  if (valid == 0) return Error{ErrorCode::kDisconnected, "the keeper has closed the channel"};
  return valid;
}

Error spawn_error(const Reply& reply, std::string_view path) {
  std::string name(path.empty() ? std::string_view("the executable") : path);
  int number = reply.error;
  auto with = [&](ErrorCode code, std::string_view what) {
    return Error{code, "cannot start " + name + ": " + std::string(what)};
  };
  if (number == EAGAIN || number == ENOMEM || number == EMFILE || number == ENFILE)
    return with(ErrorCode::kOverloaded, errno_error("no room for another process", number).message);
  if (number == E2BIG) return with(ErrorCode::kInvalid, "the event makes arguments or environment larger than the system allows");
  std::string reason = std::strerror(number);
  switch (reply.step) {
    case Step::kRequest:
      return with(ErrorCode::kInternal, "the keeper refused the request: " + reason);
    case Step::kCapacity:
      return with(ErrorCode::kOverloaded, "too many processes are running");
    case Step::kClone:
      return with(ErrorCode::kInternal, "clone: " + reason);
    case Step::kSession:
      return with(ErrorCode::kInternal, "setsid: " + reason);
    case Step::kDescriptors:
      return with(ErrorCode::kInternal, "passing its descriptors: " + reason);
    case Step::kFolder:
      return with(ErrorCode::kUserCode,
                  "its folder cannot be entered: " + reason + "; the function's user must be able to search it");
    case Step::kLimits:
      return with(ErrorCode::kInternal, "setting its limits: " + reason);
    case Step::kIdentity:
      return with(ErrorCode::kInternal, "changing to the function's user: " + reason);
    case Step::kPrivileges:
      return with(ErrorCode::kInternal, "dropping privileges: " + reason);
    case Step::kParent:
      return with(ErrorCode::kInternal, "tying it to the keeper's life: " + reason);
    case Step::kExec:
      if (number == ENOENT)
        return with(ErrorCode::kUserCode, "no such file; if it is a script, check that the interpreter on its first line exists");
      if (number == EACCES) return with(ErrorCode::kUserCode, "permission denied; make it executable (chmod +x) and readable");
      if (number == ENOEXEC)
        return with(ErrorCode::kUserCode, "it is not a program for this machine; a script needs a first line such as #!/bin/sh");
      return with(ErrorCode::kUserCode, reason);
    case Step::kNone:
      break;
  }
  return with(ErrorCode::kInternal, reason);
}

}  // namespace kaon::keeper
