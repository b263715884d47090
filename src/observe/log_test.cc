#include "observe/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <thread>

#include "base/fd.h"
#include "observe/ring_sink.h"

namespace kaon::observe {
namespace {

struct Collect : Sink {
  void write(Level, std::string_view line) override { lines.emplace_back(line); }
  void write_event(Level, std::string_view event_id, std::string_view line) override {
    events.emplace_back(event_id);
    lines.emplace_back(line);
  }
  std::vector<std::string> lines;
  std::vector<std::string> events;
};

// Digits of the first `size` characters as `0`.
std::string shape(std::string line, size_t size) {
  for (char& c : std::span(line).first(size)) c = c >= '0' && c <= '9' ? '0' : c;
  return line;
}

// The part after the time and the level, which begins at a fixed place.
std::string rest(const std::string& line) { return line.substr(19); }

TEST(Log, TextShape) {
  auto sink = std::make_shared<Collect>();
  Log log = Log(sink, Format::kText, Level::kInfo).with({{"function", "thumbs"}, {"version", "a b"}});
  log.write(Level::kInfo, "resizing", {{"size", int64_t{12}}, {"name", "x.png"}, {"ratio", 0.5}, {"ok", true}, {"empty", ""}});
  ASSERT_EQ(sink->lines.size(), 1u);
  EXPECT_EQ(shape(sink->lines[0], 12),
            "00:00:00.000 INFO  resizing function=thumbs version=\"a b\" size=12 name=x.png ratio=0.5 ok=true empty=\"\"\n");
}

TEST(Log, TextCannotBeForged) {
  auto sink = std::make_shared<Collect>();
  Log log(sink, Format::kText, Level::kDebug);
  log.write(Level::kError, "a\n15:00:00.000 INFO  forged\r\x1b[31m\x7f\xc2\x9b\xff\xe2\x80\xae", {});
  log.write(Level::kWarning, "done level=error", {});
  log.write(Level::kWarning, "\"quoted\" first", {});
  log.write(Level::kDebug, "x", {{"k=1 v", "a=\"b\" c\\\n"}, {"utf8", "größe"}});
  EXPECT_EQ(rest(sink->lines[0]), "a\\n15:00:00.000 INFO  forged\\r\\x1b[31m\\x7f\\u009b\\xff\\u202e\n");
  EXPECT_EQ(rest(sink->lines[1]), "\"done level=error\"\n");
  EXPECT_EQ(rest(sink->lines[2]), "\"\\\"quoted\\\" first\"\n");
  EXPECT_EQ(rest(sink->lines[3]), "x \"k=1 v\"=\"a=\\\"b\\\" c\\\\\\n\" utf8=größe\n");
  EXPECT_EQ(sink->lines[0].substr(13, 6), "ERROR ");
}

TEST(Log, JsonShape) {
  auto sink = std::make_shared<Collect>();
  Log log = Log(sink, Format::kJson, Level::kInfo).with({{"function", "f"}});
  log.write(Level::kWarning, "a \"b\"\n", {{"event", "E1"}, {"n", int64_t{-1}}, {"x", NAN}, {"level", "forged"}});
  log.write(Level::kInfo, "plain");
  EXPECT_EQ(shape(sink->lines[0], 37),
            "{\"time\":\"0000-00-00T00:00:00.000000Z\",\"level\":\"warning\",\"message\":\"a \\\"b\\\"\\n\",\"function\":\"f\","
            "\"event\":\"E1\",\"fields\":{\"n\":-1,\"x\":null,\"level\":\"forged\"}}\n");
  EXPECT_EQ(sink->lines[1].substr(38), "\"level\":\"info\",\"message\":\"plain\",\"function\":\"f\"}\n");
}

TEST(Log, EventOfARecordCannotBeForged) {
  auto sink = std::make_shared<Collect>();
  Log log(sink, Format::kJson, Level::kInfo);
  Field hostile[] = {{"event", "OTHER"}, {"a", int64_t{1}}};
  log.write_event(Level::kInfo, "MINE", "x", hostile);
  log.with({{"event", "TAGGED"}}).write(Level::kInfo, "y", {{"event", "OTHER"}});
  EXPECT_EQ(sink->events, (std::vector<std::string>{"MINE", "TAGGED"}));
  EXPECT_NE(sink->lines[0].find(R"("event":"MINE","fields":{"event":"OTHER","a":1}})"), std::string::npos) << sink->lines[0];
  EXPECT_NE(sink->lines[1].find(R"("event":"TAGGED","fields":{"event":"OTHER"}})"), std::string::npos) << sink->lines[1];
}

TEST(Log, LevelIsSharedByCopies) {
  auto sink = std::make_shared<Collect>();
  Log log(sink, Format::kText, Level::kWarning);
  Log copy = log.with({{"a", "b"}});
  Log own = log.with_own_level();
  copy.write(Level::kInfo, "no");
  log.set_level(Level::kDebug);
  EXPECT_TRUE(copy.enabled(Level::kDebug));
  EXPECT_FALSE(own.enabled(Level::kInfo));
  copy.write(Level::kDebug, "yes");
  log.set_level(Level::kError);
  copy.write_always(Level::kDebug, "always");
  ASSERT_EQ(sink->lines.size(), 2u);
  EXPECT_EQ(rest(sink->lines[1]), "always a=b\n");
}

TEST(Log, LongTextIsCutAndSaysSo) {
  auto sink = std::make_shared<Collect>();
  Log log(sink, Format::kJson, Level::kInfo);
  std::vector<Field> fields(100, Field{"k", int64_t{1}});
  std::string value = std::string((8 << 10) - 1, 'v') + "ä";  // the limit is within the character
  fields[0].value = std::string_view(value);
  log.write_event(Level::kInfo, "E", std::string(40'000, 'm'), fields);
  EXPECT_LT(sink->lines[0].size(), 50'000u);
  EXPECT_NE(sink->lines[0].find("m… (7232 more bytes)\""), std::string::npos);
  EXPECT_NE(sink->lines[0].find("v… (2 more bytes)\""), std::string::npos);
  EXPECT_NE(sink->lines[0].find("\"fields_cut\":36"), std::string::npos);
}

TEST(Log, Levels) {
  EXPECT_EQ(*parse_level("WARN"), Level::kWarning);
  EXPECT_EQ(*parse_level("debug"), Level::kDebug);
  EXPECT_EQ(parse_level("x\n").error().message, "unknown log level \"x\\n\": use debug, info, warning or error");
  EXPECT_EQ(level_name(Level::kError), "error");
}

TEST(Log, Rfc3339) {
  std::string text;
  append_rfc3339(text, 951'827'696'000'007'999);
  EXPECT_EQ(text, "2000-02-29T12:34:56.000007Z");
}

std::string drain(int fd) {
  std::string text(1 << 20, 0);
  size_t size = 0;
  for (ssize_t n; (n = read(fd, text.data() + size, text.size() - size)) > 0;) size += static_cast<size_t>(n);
  text.resize(size);
  return text;
}

TEST(FdSink, FullPipeDropsAndDoesNotBlock) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  Fd reader(fds[0]), writer(fds[1]);
  auto sink = make_fd_sink(writer.get());
  EXPECT_EQ(fcntl(writer.get(), F_GETFL) & O_NONBLOCK, 0) << "the caller's descriptor is as it was";
  std::string line(999, 'x');
  line += '\n';
  Nanos begin = monotonic_ns();
  for (int i = 0; i < 200; ++i) sink->write(Level::kInfo, line);
  EXPECT_LT(monotonic_ns() - begin, kSecond);
  EXPECT_GT(sink->dropped(), 50u);
  fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  std::string text = drain(reader.get());
  EXPECT_EQ(text.size(), (200 - sink->dropped()) * line.size()) << "whole records or none";
  sink->write(Level::kInfo, "after\n");
  EXPECT_EQ(drain(reader.get()), "after\n");
}

TEST(FdSink, ATornRecordIsEnded) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  Fd reader(fds[0]), writer(fds[1]);
  auto sink = make_fd_sink(writer.get());
  Nanos begin = monotonic_ns();
  for (int i = 0; i < 5; ++i) sink->write(Level::kInfo, std::string(50'000, 'x') + "\n");
  EXPECT_LT(monotonic_ns() - begin, 500 * kMillisecond);
  EXPECT_EQ(sink->dropped(), 4u);
  fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  std::string head = drain(reader.get());
  EXPECT_EQ(head.find('\n'), 50'000u);
  sink->write(Level::kInfo, "next\n");
  EXPECT_EQ(drain(reader.get()), "\nnext\n");
}

TEST(FdSink, AGoneReaderIsNoError) {
  signal(SIGPIPE, SIG_IGN);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  Fd writer(fds[1]);
  auto sink = make_fd_sink(writer.get());
  close(fds[0]);
  sink->write(Level::kInfo, "x\n");
  EXPECT_EQ(sink->dropped(), 1u);
  auto closed = make_fd_sink(-1);
  closed->write(Level::kInfo, "x\n");
  EXPECT_EQ(closed->dropped(), 1u);
}

TEST(FdSink, SocketsNeverBlockNorSignal) {
  signal(SIGPIPE, SIG_DFL);
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  Fd reader(fds[0]), writer(fds[1]);
  auto sink = make_fd_sink(writer.get());
  for (int i = 0; i < 2'000; ++i) sink->write(Level::kInfo, std::string(999, 'x') + "\n");
  EXPECT_GT(sink->dropped(), 0u);
  reader.reset();
  uint64_t before = sink->dropped();
  sink->write(Level::kInfo, "x\n");
  EXPECT_EQ(sink->dropped(), before + 1);
  signal(SIGPIPE, SIG_IGN);
}

TEST(FdSink, FilesKeepTheirPosition) {
  char path[] = "/tmp/kaon-log-XXXXXX";
  Fd file(mkstemp(path));
  ASSERT_EQ(write(file.get(), "before\n", 7), 7);
  make_fd_sink(file.get())->write(Level::kInfo, "record\n");
  ASSERT_EQ(write(file.get(), "after\n", 6), 6);
  char text[64];
  ssize_t n = pread(file.get(), text, sizeof text, 0);
  unlink(path);
  EXPECT_EQ(std::string(text, static_cast<size_t>(n)), "before\nrecord\nafter\n");
}

std::string through_terminal() {
  Fd master(posix_openpt(O_RDWR | O_NOCTTY));
  EXPECT_EQ(grantpt(master.get()), 0);
  EXPECT_EQ(unlockpt(master.get()), 0);
  Fd terminal(open(ptsname(master.get()), O_RDWR | O_NOCTTY));
  auto sink = make_fd_sink(terminal.get());
  sink->write(Level::kError, "15:04:05.123 ERROR broken a=b\n");
  fcntl(master.get(), F_SETFL, O_NONBLOCK);
  return drain(master.get());
}

TEST(FdSink, ColourOnTerminalsOnly) {
  unsetenv("NO_COLOR");
  setenv("TERM", "xterm", 1);
  EXPECT_EQ(through_terminal(), "15:04:05.123 \x1b[31mERROR\x1b[0m broken a=b\r\n");
  setenv("NO_COLOR", "1", 1);
  EXPECT_EQ(through_terminal(), "15:04:05.123 ERROR broken a=b\r\n");
  unsetenv("NO_COLOR");
}

TEST(RingSink, KeepsTheNewest) {
  RingSink ring(200);
  for (int i = 0; i < 1'000; ++i) ring.write_event(Level::kInfo, i % 2 ? "odd" : "even", "record " + std::to_string(i) + "\n");
  auto tail = ring.tail(100);
  ASSERT_GT(tail.size(), 5u);
  ASSERT_LT(tail.size(), 13u);
  EXPECT_EQ(tail.back(), "record 999\n");
  EXPECT_EQ(tail[tail.size() - 5], "record 995\n");
  EXPECT_EQ(ring.tail(2), (std::vector<std::string>{"record 998\n", "record 999\n"}));
  for (auto& line : ring.records_of("odd")) EXPECT_EQ((line[line.size() - 2] - '0') % 2, 1);
  EXPECT_TRUE(ring.records_of("od").empty());
  EXPECT_TRUE(ring.records_of("none").empty());
  EXPECT_EQ(ring.dropped(), 0u);
  ring.write(Level::kInfo, std::string(500, 'x'));
  EXPECT_EQ(ring.dropped(), 1u);
  EXPECT_EQ(ring.tail(1)[0], "record 999\n");
}

TEST(RingSink, Follows) {
  RingSink ring(1'000);
  uint64_t position = 0;
  ring.write(Level::kInfo, "a\n");
  EXPECT_EQ(ring.since(position), (std::vector<std::string>{"a\n"}));
  EXPECT_TRUE(ring.since(position).empty());
  ring.write(Level::kInfo, "b\n");
  EXPECT_EQ(ring.since(position), (std::vector<std::string>{"b\n"}));
  for (int i = 0; i < 500; ++i) ring.write(Level::kInfo, "c\n");
  EXPECT_EQ(ring.since(position).size(), ring.tail(500).size());
}

TEST(RingSink, ManyThreadsThroughATee) {
  auto ring = std::make_shared<RingSink>(1 << 20);
  auto other = std::make_shared<RingSink>(100);
  Log log(make_tee_sink({ring, other}), Format::kJson, Level::kInfo);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&log, t] {
      std::string id = "event" + std::to_string(t);
      for (int64_t i = 0; i < 500; ++i) log.write(Level::kInfo, "x", {{"event", id}, {"i", i}});
    });
  }
  for (int i = 0; i < 100; ++i) {
    (void)ring->tail(10);
    log.set_level(Level::kInfo);
  }
  for (auto& thread : threads) thread.join();
  auto records = ring->records_of("event2");
  ASSERT_EQ(records.size(), 500u);
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_NE(records[i].find("\"event\":\"event2\",\"fields\":{\"i\":" + std::to_string(i) + "}}\n"), std::string::npos);
  }
}

}  // namespace
}  // namespace kaon::observe
