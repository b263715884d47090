#pragma once
#include <sys/resource.h>
#include <sys/types.h>

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "keeper/child.h"
#include "keeper/protocol.h"

namespace kaon::keeper {

class Channel;

// The keeper's children that run functions, by pid. A child outlives its channel until it is reaped.
class Children {
 public:
  explicit Children(size_t limit) : limit_(limit) {}
  bool full() const { return by_pid_.size() >= limit_; }
  bool empty() const { return by_pid_.empty(); }
  void add(pid_t pid, Channel& channel, uint64_t id) { by_pid_[pid] = {&channel, id}; }
  // The process groups of a channel are killed; their ends are reported to nobody.
  void abandon(Channel& channel);
  void kill_all();
  // `pid`, a child of this process, is a zombie and not yet waited for: its group is killed, it is reaped, and its
  // channel is told. False: it is none of these children.
  bool reap(pid_t pid);

 private:
  struct Child {
    Channel* channel;
    uint64_t id;
  };
  std::unordered_map<pid_t, Child> by_pid_;
  size_t limit_;
};

// The keeper's end of one channel to a processor, which is not trusted.
class Channel {
 public:
  class Owner {
   public:
    virtual void on_ready_message() = 0;
    virtual void on_finished_message(int exit_code) = 0;

   protected:
    ~Owner() = default;
  };
  Channel(Fd fd, std::vector<Policy> const& policies, Children& children, Owner* owner)
      : fd_(std::move(fd)), policies_(policies), children_(children), owner_(owner) {}
  ~Channel() { children_.abandon(*this); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  int fd() const { return fd_.get(); }
  // Takes one message. False: the other side has closed.
  bool receive();
  // Takes what a processor that has died still said of itself; starts nothing any more.
  void drain();
  // Replies that the socket does not take. While there are any, no further request is read: each is caused by a request
  // or by a child, so that their number is bounded by the children's.
  bool waiting() const { return !replies_.empty(); }
  void flush();
  void child_exited(uint64_t id, pid_t pid, int status, const rusage& usage);

 private:
  struct Pending {
    Reply reply;
    Fd fd;
  };
  struct Received {
    Fd fds[8];
    size_t fd_count = 0;
    bool truncated = false;
  };
  void spawn(std::string_view message, Received& received);
  int prepare(const SpawnMessage& head, std::string_view rest, Received& received, ChildPlan& plan);
  void fail(uint64_t id, Step step, int error);
  void reply(const Reply& reply, Fd fd);
  bool send(const Reply& reply, int fd);

  Fd fd_;
  const std::vector<Policy>& policies_;
  Children& children_;
  Owner* owner_;
  std::unordered_map<uint64_t, pid_t> live_;
  std::deque<Pending> replies_;
  std::vector<char*> strings_;
  std::string memory_;
  bool draining_ = false;
};

}  // namespace kaon::keeper
