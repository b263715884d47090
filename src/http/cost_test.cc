#include <errno.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>

#include "http/server_rig.h"

// Counts what the loop's thread allocates and calls. The sanitizers need these functions for themselves.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {
struct Counts {
  std::atomic<int> allocations, receives, sends, others;
};
Counts counts;
thread_local bool counted = false;
void note(std::atomic<int>& count) {
  if (counted) count.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* malloc(size_t size) {
  note(counts.allocations);
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  note(counts.allocations);
  return __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) {
  note(counts.allocations);
  return __libc_realloc(old, size);
}
ssize_t recv(int fd, void* out, size_t size, int flags) {
  note(counts.receives);
  return syscall(SYS_recvfrom, fd, out, size, flags, nullptr, nullptr);
}
ssize_t send(int fd, const void* data, size_t size, int flags) {
  note(counts.sends);
  return syscall(SYS_sendto, fd, data, size, flags, nullptr, 0);
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  note(counts.sends);
  return syscall(SYS_sendmsg, fd, message, flags);
}
int epoll_ctl(int epoll, int op, int fd, epoll_event* event) noexcept {
  note(counts.others);
  return static_cast<int>(syscall(SYS_epoll_ctl, epoll, op, fd, event));
}
ssize_t write(int fd, const void* data, size_t size) {
  note(counts.others);
  return syscall(SYS_write, fd, data, size);
}
ssize_t read(int fd, void* out, size_t size) {
  note(counts.others);
  return syscall(SYS_read, fd, out, size);
}
int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  note(counts.others);
  return static_cast<int>(syscall(SYS_setsockopt, fd, level, name, value, size));
}
int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  note(counts.others);
  return static_cast<int>(syscall(SYS_getsockopt, fd, level, name, value, size));
}
int poll(pollfd* fds, nfds_t count, int timeout) {
  note(counts.others);
  return static_cast<int>(syscall(SYS_poll, fds, count, timeout));
}
}

namespace kaon::http {
namespace {

struct Seen {
  int allocations, receives, sends, others;
};

// What `rounds` of `request` cost on the loop's thread, after some to warm up.
Seen cost(Rig& rig, Client& client, const std::string& request, int rounds) {
  auto round = [&] {
    client.send(request);
    EXPECT_EQ(status_of(client.read_response()), 200);
  };
  for (int i = 0; i < 20; ++i) round();
  rig.run([] { counted = true; });
  // The turn that took this message must be over before the counting.
  round();
  for (auto* each : {&counts.allocations, &counts.receives, &counts.sends, &counts.others}) each->store(0);
  for (int i = 0; i < rounds; ++i) round();
  Seen seen{counts.allocations, counts.receives, counts.sends, counts.others};
  rig.run([] { counted = false; });
  return seen;
}

TEST(Cost, AWarmRequestAllocatesNothingAndMakesTwoCalls) {
  Rig rig;
  Client client(rig);
  for (size_t size : {100, 8000}) {
    std::string body(size, 'x');
    std::string request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: " +
                          std::to_string(size) + "\r\n\r\n" + body;
    Seen seen = cost(rig, client, request, 1000);
    EXPECT_EQ(seen.allocations, 0) << size;
    EXPECT_EQ(seen.receives, 1000) << size;
    EXPECT_EQ(seen.sends, 1000) << size;
    EXPECT_EQ(seen.others, 0) << size;
  }
}

TEST(Cost, ALargeBodyIsReadIntoItsPlaceAndSentFromIt) {
  Rig rig;
  Client client(rig);
  std::string body(100'000, 'x');
  std::string request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + body;
  Seen seen = cost(rig, client, request, 100);
  EXPECT_EQ(seen.allocations, 0);
}

TEST(Cost, AnAnswerThatComesLaterMakesTwoCallsToo) {
  Rig rig;
  Client client(rig);
  Seen seen = cost(rig, client, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 20);
  EXPECT_EQ(seen.receives, 20);
  EXPECT_EQ(seen.sends, 20);
  EXPECT_EQ(seen.others, 0);
}

}  // namespace
}  // namespace kaon::http
#endif
