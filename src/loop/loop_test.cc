#include "loop/loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "base/fd.h"

namespace kaon::loop {
namespace {

TEST(Loop, MessagesOfOnePosterArriveInOrder) {
  Loop loop;
  std::vector<int> got;
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) loop.post([&got, i] { got.push_back(i); });
    loop.post([&loop] { loop.stop(); });
  });
  loop.run();
  poster.join();
  ASSERT_EQ(got.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(got[static_cast<size_t>(i)], i);
}

TEST(Timer, FiresOnceAndNotAfterStop) {
  Loop loop;
  int fired = 0, stopped = 0;
  Timer first(loop, [&] { ++fired; });
  Timer second(loop, [&] { ++stopped; });
  Timer end(loop, [&] { loop.stop(); });
  first.start_after(kMillisecond);
  second.start_after(kMillisecond);
  second.stop();
  end.start_after(10 * kMillisecond);
  loop.run();
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(stopped, 0);
}

struct Reader : Watcher::Target {
  explicit Reader(int fd) : fd(fd) {}
  void on_ready(int ready) override {
    told |= ready;
    char buffer[16];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    if (n <= 0) loop->stop();
  }
  int fd, told = 0;
  std::string text;
  Loop* loop = nullptr;
};

TEST(Watcher, TellsBytesAndTheEnd) {
  Loop loop;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  Fd mine(pair[0]), theirs(pair[1]);
  Reader reader(mine.get());
  reader.loop = &loop;
  Watcher watcher(loop, mine.get(), reader);
  watcher.want(kReadable);
  ASSERT_EQ(write(theirs.get(), "hello", 5), 5);
  loop.run_once();
  EXPECT_EQ(reader.text, "hello");
  theirs.reset();
  loop.run();
  EXPECT_TRUE(reader.told & kReadable);
}

struct Late : Timeout {
  explicit Late(std::vector<Late*>& order) : order(order) {}
  void on_timeout() override { order.push_back(this); }
  std::vector<Late*>& order;
};

TEST(Timeouts, ARestartMovesItToTheEnd) {
  Loop loop;
  std::vector<Late*> order;
  Timeouts timeouts(loop, 4 * kMillisecond);
  Late first(order), second(order), third(order);
  timeouts.start(first);
  timeouts.start(second);
  timeouts.start(third);
  Timeouts::stop(third);
  loop.refresh();
  timeouts.start(first);
  Timer end(loop, [&] { loop.stop(); });
  end.start_after(40 * kMillisecond);
  loop.run();
  EXPECT_EQ(order, (std::vector<Late*>{&second, &first}));
}

}  // namespace
}  // namespace kaon::loop
