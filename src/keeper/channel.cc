#include "keeper/channel.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

namespace kaon::keeper {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Reply make_reply(Kind kind, uint64_t id) {
  Reply reply{};
  reply.header = {kMagic, kProtocolVersion, static_cast<uint16_t>(kind), id};
  return reply;
}

int64_t microseconds(const timeval& time) { return time.tv_sec * int64_t{1'000'000} + time.tv_usec; }

// 0 or an errno.
int read_sealed(int fd, std::string& out, size_t bytes) {
  int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return EPERM;
  out.resize(bytes);
  for (size_t done = 0; done < bytes;) {
    ssize_t n = pread(fd, out.data() + done, bytes - done, static_cast<off_t>(done));
    if (n <= 0) return n < 0 ? errno : EBADMSG;
    done += static_cast<size_t>(n);
  }
  return 0;
}

}  // namespace

void Children::abandon(Channel& channel) {
  for (auto& [pid, child] : by_pid_) {
    if (child.channel != &channel) continue;
    kill(-pid, SIGKILL);
    child.channel = nullptr;
  }
}

void Children::kill_all() {
  for (auto& [pid, child] : by_pid_) kill(-pid, SIGKILL);
}

bool Children::reap(pid_t pid) {
  auto found = by_pid_.find(pid);
  if (found == by_pid_.end()) return false;
  // While the leader is a zombie its number is nobody else's, nor is its group's.
  kill(-pid, SIGKILL);
  int status = 0;
  rusage usage{};
  while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  Child child = found->second;
  by_pid_.erase(found);
  if (child.channel) child.channel->child_exited(child.id, pid, status, usage);
  return true;
}

bool Channel::receive() {
  alignas(8) static char buffer[sizeof(SpawnMessage) + kInlineBytes];
  alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
  iovec part{buffer, sizeof buffer};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) return false;
  Received received;
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof fd, sizeof fd);
      if (received.fd_count < std::size(received.fds))
        received.fds[received.fd_count++].reset(fd);
      else
        close(fd);
    }
  }
  received.truncated = message.msg_flags & MSG_CTRUNC;

  std::string_view bytes(buffer, static_cast<size_t>(size));
  Header header{};
  if (bytes.size() >= sizeof header) std::memcpy(&header, buffer, sizeof header);
  bool known = header.magic == kMagic && header.version == kProtocolVersion && !(message.msg_flags & MSG_TRUNC);
  ControlMessage order{};
  if (known && header.kind == static_cast<uint16_t>(Kind::kSpawn)) {
    if (!draining_) spawn(bytes, received);
    return true;
  }
  if (!known || bytes.size() != sizeof order) {
    fail(header.id, Step::kRequest, message.msg_flags & MSG_TRUNC ? EMSGSIZE : EPROTO);
    return true;
  }
  std::memcpy(&order, buffer, sizeof order);
  if (header.kind == static_cast<uint16_t>(Kind::kKill)) {
    // Only groups that this channel started. One that has gone already is the ordinary race.
    auto child = live_.find(header.id);
    if (child != live_.end() && order.signal > 0 && order.signal <= SIGRTMAX) kill(-child->second, order.signal);
  } else if (header.kind == static_cast<uint16_t>(Kind::kReady)) {
    if (owner_) owner_->on_ready_message();
  } else if (header.kind == static_cast<uint16_t>(Kind::kFinished)) {
    if (owner_) owner_->on_finished_message(order.signal);
  } else {
    fail(header.id, Step::kRequest, EPROTO);
  }
  return true;
}

void Channel::drain() {
  draining_ = true;
  char first;
  while (recv(fd_.get(), &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0 && receive()) {
  }
}

// Checks a request and lays out its strings. 0 or an errno.
int Channel::prepare(const SpawnMessage& head, std::string_view rest, Received& received, ChildPlan& plan) {
  if (head.flags & ~kAllFlags || head.policy >= policies_.size() || live_.contains(head.header.id)) return EINVAL;
  if (head.bytes == 0 || head.bytes > kMaxBytes) return E2BIG;
  size_t wanted = 3;
  for (uint32_t flag : {kExecutable, kFolder, kMemory}) wanted += (head.flags & flag) != 0;
  if (received.truncated) return EMFILE;
  if (received.fd_count != wanted) return EBADF;
  size_t next = 3;
  for (int i = 0; i < 3; ++i) plan.standard[i] = received.fds[i].get();
  if (head.flags & kExecutable) plan.executable = received.fds[next++].get();
  if (head.flags & kFolder) plan.folder = received.fds[next++].get();
  if (head.flags & kMemory) {
    if (!rest.empty()) return EPROTO;
    if (int error = read_sealed(received.fds[next].get(), memory_, head.bytes)) return error;
  } else {
    if (rest.size() != head.bytes || rest.size() > kInlineBytes) return EPROTO;
    memory_ = rest;
  }
  if (memory_.back() != '\0' || head.argument_count < 1) return EPROTO;
  // Every string has at least its NUL, so that the counts are bounded by the bytes.
  uint64_t count = uint64_t{1} + head.argument_count + head.environment_count;
  if (count > memory_.size()) return EPROTO;
  strings_.clear();
  strings_.reserve(count + 2);
  uint64_t seen = 0;
  for (char* at = memory_.data(); at < memory_.data() + memory_.size(); at += std::strlen(at) + 1) {
    if (++seen > count) return EPROTO;
    strings_.push_back(at);
    if (seen == 1 + uint64_t{head.argument_count}) strings_.push_back(nullptr);
  }
  if (seen != count) return EPROTO;
  strings_.push_back(nullptr);
  plan.policy = &policies_[head.policy];
  plan.path = strings_[0];
  plan.arguments = &strings_[1];
  plan.environment = &strings_[2 + head.argument_count];
  if ((*plan.path == '\0') != (plan.executable >= 0)) return EINVAL;
  return 0;
}

void Channel::spawn(std::string_view message, Received& received) {
  SpawnMessage head;
  Header header;
  std::memcpy(&header, message.data(), sizeof header);
  if (message.size() < sizeof head) return fail(header.id, Step::kRequest, EPROTO);
  std::memcpy(&head, message.data(), sizeof head);
  ChildPlan plan{};
  plan.executable = plan.folder = -1;
  if (int error = prepare(head, message.substr(sizeof head), received, plan)) return fail(header.id, Step::kRequest, error);
  if (children_.full()) return fail(header.id, Step::kCapacity, EAGAIN);
  ChildResult child = start_child(plan, head.flags & kPidfd);
  if (memory_.capacity() > 4 * kInlineBytes) std::string().swap(memory_);
  if (child.pid < 0) return fail(header.id, child.step, child.error);
  children_.add(child.pid, *this, header.id);
  live_[header.id] = child.pid;
  if (head.flags & kQuiet) return;
  Reply answer = make_reply(Kind::kSpawned, header.id);
  answer.pid = child.pid;
  reply(answer, std::move(child.pidfd));
}

void Channel::fail(uint64_t id, Step step, int error) {
  Reply answer = make_reply(Kind::kFailed, id);
  answer.step = step;
  answer.error = error;
  reply(answer, Fd());
}

void Channel::child_exited(uint64_t id, pid_t pid, int status, const rusage& usage) {
  live_.erase(id);
  Reply answer = make_reply(Kind::kExited, id);
  answer.pid = pid;
  answer.status = status;
  answer.user_us = microseconds(usage.ru_utime);
  answer.system_us = microseconds(usage.ru_stime);
  answer.max_rss_kib = usage.ru_maxrss;
  reply(answer, Fd());
}

void Channel::reply(const Reply& reply, Fd fd) {
  if (replies_.empty() && send(reply, fd.get())) return;
  replies_.push_back({reply, std::move(fd)});
}

// False: it must wait. An error is left to the next read, which sees it too.
bool Channel::send(const Reply& reply, int fd) {
  iovec part{const_cast<Reply*>(&reply), sizeof reply};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  while (sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    return errno != EAGAIN && errno != ENOBUFS && errno != ETOOMANYREFS;
  }
  return true;
}

void Channel::flush() {
  while (!replies_.empty() && send(replies_.front().reply, replies_.front().fd.get())) replies_.pop_front();
}

}  // namespace kaon::keeper
