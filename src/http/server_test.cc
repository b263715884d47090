#include "http/server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <fstream>

#include "http/server_rig.h"

namespace kaon::http {
namespace {

std::string post(std::string_view path, std::string_view body, std::string_view headers = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(headers) + "\r\n" + std::string(body);
}
std::string get(std::string_view path, std::string_view headers = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(headers) + "\r\n";
}
const std::string kClose = "Connection: close\r\n";
const std::string kChunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }
size_t count(std::string_view text, std::string_view what) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != text.npos; at += what.size()) ++n;
  return n;
}
size_t resident_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
  return 0;
}

TEST(Server, AnswersAndKeepsTheConnection) {
  Rig rig;
  Client client(rig);
  for (int i = 0; i < 3; ++i) {
    client.send(post("/echo", "hello"));
    std::string response = client.read_response();
    EXPECT_EQ(status_of(response), 200);
    EXPECT_EQ(body_of(response), "hello");
    EXPECT_NE(response.find("\r\nServer: kaon\r\nDate: "), response.npos) << response;
    EXPECT_NE(response.find("\r\nContent-Type: text/plain\r\n"), response.npos);
    EXPECT_EQ(response.find("Connection:"), response.npos);
  }
  EXPECT_EQ(rig.stats().accepted, 1u);
  EXPECT_EQ(rig.stats().requests, 3u);
}

TEST(Server, ClosesWhenAsked) {
  Rig rig;
  std::string response = talk(rig, post("/echo", "x", kClose));
  EXPECT_NE(response.find("Connection: close\r\n"), response.npos);
  EXPECT_TRUE(response.ends_with("\r\n\r\nx")) << response;
  response = talk(rig, "GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_NE(response.find("Connection: close\r\n"), response.npos);
  Client client(rig);
  client.send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_NE(client.read_response().find("Connection: keep-alive\r\n"), response.npos);
  client.send(get("/echo", kClose));
  EXPECT_EQ(status_of(client.read_all()), 200);
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
  Rig rig;
  for (std::string path : {"/echo", "/later"}) {
    std::string input, expected;
    for (int i = 0; i < 200; ++i) {
      bool slow = path == "/later" && i % 50 == 0;
      input += post(slow ? "/later" : "/echo", "<" + std::to_string(i) + ">", i == 199 ? kClose : "");
      expected += "<" + std::to_string(i) + ">";
    }
    std::string output = talk(rig, input), bodies;
    EXPECT_EQ(count(output, "HTTP/1.1 200 OK"), 200u);
    for (size_t at = 0; (at = output.find('<', at)) != output.npos; ++at)
      bodies += output.substr(at, output.find('>', at) - at + 1);
    EXPECT_EQ(bodies, expected);
  }
}

TEST(Server, DoesNotCareHowTheInputIsCut) {
  Rig rig;
  std::string input = post("/echo", "12345") + kChunked + "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: x\r\n\r\n" + get("/echo", kClose);
  auto strip = [](std::string text) {
    for (size_t at; (at = text.find("Date: ")) != text.npos;) text.erase(at, text.find("\r\n", at) + 2 - at);
    return text;
  };
  std::string whole = strip(talk(rig, input));
  EXPECT_EQ(count(whole, "HTTP/1.1 200"), 3u);
  EXPECT_NE(whole.find("abcde"), whole.npos);
  for (size_t cut = 1; cut < input.size(); ++cut) {
    Client client(rig);
    client.send(input.substr(0, cut));
    if (cut % 8 == 0) pause_ms(2);
    client.send(input.substr(cut));
    EXPECT_EQ(strip(client.read_all()), whole) << "cut at " << cut;
  }
  Client bytewise(rig);
  int on = 1;
  setsockopt(bytewise.fd(), 6, 1, &on, sizeof on);
  for (char c : input) bytewise.send({&c, 1});
  EXPECT_EQ(strip(bytewise.read_all()), whole);
}

TEST(Server, RefusesWhatIsMalformedAndCloses) {
  using namespace std::string_literals;
  Rig rig(ServerOptions{.max_head_bytes = 2048, .max_target_bytes = 256, .max_body_bytes = 1000});
  const std::string second = get("/who");  // must never be taken for a request
  struct {
    std::string input;
    int status;
  } table[] = {
      {"GET / HTTP/1.1\r\n\r\n" + second, 400},
      {post("/echo", "", "Transfer-Encoding: chunked\r\n") + second, 400},
      {post("/echo", "abc", "Content-Length: 3\r\n") + second, 400},
      {get("/echo", "Content-Length : 5\r\n") + second, 400},
      {get("/echo", "X: a\r\n b\r\n") + second, 400},
      {"GET /echo HTTP/1.1\nHost: a\n\n" + second, 400},
      {get("/echo", "X: a\0b\r\n"s) + second, 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n" + second, 501},
      {kChunked + "zz\r\n" + second, 400},
      {kChunked + "3\nabc\r\n0\r\n\r\n" + second, 400},
      {kChunked + "fffffffffffffffff\r\n" + second, 400},
      {kChunked + "500\r\n" + std::string(0x500, 'x') + "\r\n0\r\n\r\n" + second, 413},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + second, 413},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n" + second, 413},
      {get("/" + std::string(300, 'a')) + second, 414},
      {get("/echo", "X: " + std::string(3000, 'a') + "\r\n") + second, 431},
      {"GET /echo HTTP/2.0\r\nHost: a\r\n\r\n" + second, 505},
      {post("/echo", "a", "Expect: magic\r\n") + second, 417},
  };
  for (auto& each : table) {
    std::string response = talk(rig, each.input);
    EXPECT_EQ(status_of(response), each.status) << each.input.substr(0, 100);
    EXPECT_EQ(count(response, "HTTP/1.1 " + std::to_string(each.status)), 1u) << each.input.substr(0, 100) << " got " << response;
    EXPECT_NE(response.find("Connection: close\r\n"), response.npos);
    EXPECT_EQ(count(response, "Server: kaon"), 1u) << response;
  }
  EXPECT_EQ(rig.stats().bad_requests, std::size(table));
}

TEST(Server, MalformedChunksAfterTheRequestWasTold) {
  Rig rig;
  Client client(rig);
  client.send("POST /swallow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  pause_ms(30);
  client.send("what?\r\n" + get("/who"));
  std::string response = client.read_all();
  EXPECT_EQ(status_of(response), 400);
  EXPECT_EQ(count(response, "HTTP/1.1 "), 1u);
  EXPECT_EQ(rig.gone(), std::vector<std::string>{"invalid"});
  // With the response begun, only a reset can tell.
  Client duplex(rig);
  duplex.send("POST /duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  pause_ms(30);
  duplex.send("what?\r\n");
  duplex.read_all();
  EXPECT_TRUE(duplex.broken);
}

TEST(Server, BodiesOfEverySizeComeBack) {
  Rig rig;
  Client client(rig);
  for (size_t size : {0, 1, 1000, 4096, 4097, 15000, 16384, 17000, 65536, 100'000, 1 << 20, (1 << 20) + 1, 5 << 20}) {
    std::string body(size, 'x');
    for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>('a' + i * 7 % 26);
    std::thread sender([&] { client.send(post("/echo", body)); });
    std::string response = client.read_response();
    sender.join();
    EXPECT_EQ(status_of(response), 200) << size;
    EXPECT_TRUE(body_of(response) == body) << size;
    std::thread chunked([&] {
      client.send("POST /duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
      for (size_t at = 0; at < size; at += 30'000) {
        std::string_view part = std::string_view(body).substr(at, 30'000);
        char head[32];
        snprintf(head, sizeof head, "%zx\r\n", part.size());
        client.send(head + std::string(part) + "\r\n");
      }
      client.send("0\r\n\r\n");
    });
    std::string all = client.read_until("\r\n0\r\n\r\n");
    chunked.join();
    EXPECT_TRUE(body_of(all) == body) << size << " chunked";
  }
}

TEST(Server, StreamsInConstantMemory) {
  Rig rig(ServerOptions{.max_body_bytes = 1 << 30});
  talk(rig, post("/swallow", "warm", kClose));
  size_t before = resident_kb();
  constexpr size_t kSize = 64 << 20;
  Client in(rig);
  in.send("POST /swallow HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(kSize) + "\r\n" + kClose + "\r\n");
  std::string block(1 << 20, 'x');
  for (size_t sent = 0; sent < kSize; sent += block.size()) ASSERT_TRUE(in.send(block));
  EXPECT_EQ(body_of(in.read_all()), std::to_string(kSize));
  // A reader that sleeps first: the writer must have been held back.
  Client out(rig);
  out.send(get("/big?" + std::to_string(kSize), kClose));
  pause_ms(200);
  size_t after = resident_kb();
  size_t received = 0;
  for (std::string part; !(part = out.read(1 << 20)).empty();) received += part.size();
  EXPECT_GT(received, kSize);
  EXPECT_LT(received, kSize + 1000);
  EXPECT_LT(after, before + (8 << 10));
  size_t largest = 0;
  rig.run([&] { largest = rig.application().largest_chunk; });
  EXPECT_LE(largest, 64u << 10);
}

TEST(Server, BackpressureOfAFullDuplexEcho) {
  Rig rig;
  Client client(rig);
  client.send("POST /duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  // Nobody reads: sending must come to a stop long before 64 MiB.
  fcntl(client.fd(), F_SETFL, O_NONBLOCK);
  std::string piece = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  size_t sent = 0;
  for (int idle = 0; idle < 20 && sent < (64u << 20);) {
    ssize_t n = ::send(client.fd(), piece.data() + sent % piece.size(), piece.size() - sent % piece.size(), MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<size_t>(n), idle = 0;
    else ++idle, pause_ms(10);
  }
  EXPECT_LT(sent, 32u << 20);
  client.reset();
  EXPECT_TRUE(eventually([&] { return rig.gone() == std::vector<std::string>{"disconnected"}; }));
}

TEST(Server, Continue) {
  Rig rig(ServerOptions{.max_body_bytes = 4 << 20});
  for (size_t size : {size_t{5}, size_t{2} << 20}) {  // collected whole, and asked for by read_body
    Client client(rig);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + kClose +
                "Content-Length: " + std::to_string(size) + "\r\n\r\n");
    EXPECT_EQ(client.read(25), "HTTP/1.1 100 Continue\r\n\r\n");
    std::string body(size, 'c');
    std::thread sender([&] { client.send(body); });
    EXPECT_TRUE(body_of(client.read_all()) == body);
    sender.join();
  }
  // Answered without the body: the connection cannot be kept.
  std::string early = "POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string response = talk(rig, early);
  EXPECT_EQ(status_of(response), 200);
  EXPECT_NE(response.find("Connection: close"), response.npos);
  response = talk(rig, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n");
  EXPECT_EQ(status_of(response), 413);
}

TEST(Server, AnEarlyAnswerNeverSmuggles) {
  Rig rig(ServerOptions{.whole_body_bytes = 0});
  std::string hidden = get("/who");
  Client client(rig);
  client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(hidden.size()) + "\r\n\r\n");
  EXPECT_EQ(body_of(client.read_response()), "early\n");
  client.send(hidden);  // the body: thrown away
  client.send(get("/echo", kClose));
  std::string rest = client.read_all();
  EXPECT_EQ(count(rest, "HTTP/1.1 "), 1u);
  EXPECT_EQ(rest.find("/who"), rest.npos);
  std::string response = talk(rig, "POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden);
  EXPECT_EQ(count(response, "HTTP/1.1 "), 1u);
  EXPECT_NE(response.find("Connection: close"), response.npos);
  response = talk(rig, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n" + hidden);
  EXPECT_EQ(count(response, "HTTP/1.1 "), 1u);
  EXPECT_NE(response.find("Connection: close"), response.npos);
}

TEST(Server, HeadAndBodilessStatuses) {
  Rig rig;
  std::string response = talk(rig, "HEAD /who HTTP/1.1\r\nHost: a\r\n" + kClose + "\r\n");
  EXPECT_EQ(status_of(response), 200);
  EXPECT_NE(response.find("Content-Length: "), response.npos);
  EXPECT_EQ(body_of(response), "");
  response = talk(rig, "HEAD /big?1000 HTTP/1.1\r\nHost: a\r\n" + kClose + "\r\n");
  EXPECT_NE(response.find("Content-Length: 1000\r\n"), response.npos);
  EXPECT_EQ(body_of(response), "");
  response = talk(rig, get("/status?204", kClose));
  EXPECT_EQ(response.find("Content-Length"), response.npos);
  EXPECT_EQ(body_of(response), "");
  EXPECT_EQ(body_of(talk(rig, get("/status?304", kClose))), "");
  for (const char* odd : {"/status?100", "/status?0", "/status?999"})
    EXPECT_EQ(status_of(talk(rig, get(odd, kClose))), 500) << odd;
}

TEST(Server, HeadersOfAResponseCannotBreakOut) {
  Rig rig;
  std::string response = talk(rig, get("/inject", kClose));
  EXPECT_NE(response.find("X-Good: 1\r\n"), response.npos);
  for (const char* bad : {"Evil", "evil", "77", "chunked", "upgrade"}) EXPECT_EQ(response.find(bad), response.npos) << bad;
  EXPECT_EQ(rig.stats().dropped_headers, 2u);
}

TEST(Server, ATruncatedResponseIsAReset) {
  Rig rig;
  for (const char* path : {"/short", "/long", "/leave"}) EXPECT_TRUE(talk(rig, get(path)).ends_with("<reset>")) << path;
  EXPECT_EQ(rig.stats().resets, 3u);
}

TEST(Server, Http10GetsABodyThatEndsWithTheConnection) {
  Rig rig;
  std::string response = talk(rig, "POST /duplex HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc");
  EXPECT_EQ(response.find("Transfer-Encoding"), response.npos);
  EXPECT_EQ(body_of(response), "abc");
}

TEST(Server, AHalfClosedClientGetsItsAnswer) {
  Rig rig;
  for (const char* path : {"/echo", "/later"}) {
    Client client(rig);
    client.send(post(path, "half") + post(path, "second"));
    client.end();
    std::string all = client.read_all();
    EXPECT_EQ(count(all, "HTTP/1.1 200"), 2u) << path;
    EXPECT_FALSE(client.broken);
  }
  EXPECT_TRUE(rig.gone().empty());
  Rig strict(ServerOptions{.answer_half_closed = false});
  Client client(strict);
  client.send(get("/never"));
  pause_ms(20);
  client.end();
  EXPECT_TRUE(eventually([&] { return strict.gone().size() == 1; }));
}

TEST(Server, NoticesAClientThatLeaves) {
  Rig rig;
  auto gone = [&](size_t n) { return eventually([&] { return rig.gone().size() == n; }); };
  Client waiting(rig);
  waiting.send(get("/never"));
  pause_ms(20);
  waiting.reset();
  EXPECT_TRUE(gone(1));
  Client piping(rig);  // unread bytes in front of the reset
  piping.send(get("/never"));
  pause_ms(20);
  piping.send(get("/never"));
  pause_ms(20);
  piping.reset();
  EXPECT_TRUE(gone(2));
  Client halved(rig);  // FIN first, reset later
  halved.send(get("/never"));
  halved.end();
  pause_ms(50);
  EXPECT_EQ(rig.gone().size(), 2u);
  halved.reset();
  EXPECT_TRUE(gone(3));
  Client body(rig);
  body.send("POST /swallow HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\nabc");
  pause_ms(20);
  body.close();
  EXPECT_TRUE(gone(4));
  Client reading(rig);
  reading.send(get("/big?100000000"));
  reading.read(100'000);
  reading.close();
  EXPECT_TRUE(gone(5));
  // Before the request was told: nobody hears of it.
  Client head(rig);
  head.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nabc");
  head.close();
  EXPECT_TRUE(eventually([&] { return rig.connections() == 0; }));
  EXPECT_EQ(rig.gone().size(), 5u);
}

TEST(Server, TimeOuts) {
  Rig rig(ServerOptions{.header_timeout_ms = 100, .body_timeout_ms = 150, .idle_timeout_ms = 300, .write_timeout_ms = 200});
  auto started = std::chrono::steady_clock::now();
  auto elapsed = [&] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started).count();
  };
  Client drip(rig);  // a byte now and then does not help
  std::string head = "GET /echo HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaa";
  for (char c : head) {
    pollfd readable{drip.fd(), POLLIN, 0};
    if (poll(&readable, 1, 10) == 1 || !drip.send({&c, 1})) break;
  }
  EXPECT_EQ(status_of(drip.read_all()), 408);
  EXPECT_LT(elapsed(), 400);
  EXPECT_EQ(status_of(talk(rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")), 408);
  EXPECT_EQ(status_of(talk(rig, "POST /swallow HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\nabc")), 408);
  EXPECT_EQ(rig.gone(), std::vector<std::string>{"timeout"});
  started = std::chrono::steady_clock::now();
  EXPECT_EQ(talk(rig, ""), "");
  EXPECT_GT(elapsed(), 250);
  EXPECT_LT(elapsed(), 700);
  Client lazy(rig);
  lazy.send(get("/big?100000000"));
  EXPECT_TRUE(eventually([&] { return rig.gone().size() == 2; }));
  EXPECT_EQ(rig.gone().back(), "timeout");
  EXPECT_TRUE(eventually([&] { return rig.connections() == 0; }));
}

TEST(Server, ConnectionLimit) {
  Rig rig(ServerOptions{.max_connections = 2});
  Client a(rig), b(rig);
  a.send(get("/echo")), b.send(get("/echo"));
  a.read_response(), b.read_response();
  std::string response = talk(rig, "");
  EXPECT_EQ(status_of(response), 503);
  EXPECT_NE(response.find("Retry-After: 1"), response.npos);
  a.close();
  EXPECT_TRUE(eventually([&] { return rig.connections() == 1; }));
  EXPECT_EQ(status_of(talk(rig, get("/echo", kClose))), 200);
}

TEST(Server, SurvivesRunningOutOfDescriptors) {
  Rig rig;
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  std::vector<Client> clients;
  clients.reserve(10);
  for (int i = 0; i < 10; ++i) clients.emplace_back(rig);  // connected by the kernel or taken
  EXPECT_TRUE(eventually([&] { return rig.connections() == 10; }));
  Fd lowest(dup(0));
  rlimit tight{static_cast<rlim_t>(lowest.get()), before.rlim_max};
  Client late(rig), later(rig);
  EXPECT_TRUE(eventually([&] { return rig.connections() == 12; }));
  lowest.reset();
  Fd probe(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(rig.port());
  tight.rlim_cur = 3;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  rusage start{}, end{};
  getrusage(RUSAGE_SELF, &start);
  EXPECT_EQ(connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  pause_ms(350);
  getrusage(RUSAGE_SELF, &end);
  uint64_t exhausted = rig.stats().accept_exhausted;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_GE(exhausted, 1u);
  EXPECT_LE(exhausted, 5u);
  auto cpu_ms = [](const rusage& r) {
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1000;
  };
  EXPECT_LT(cpu_ms(end) - cpu_ms(start), 150);
  clients[0].send(get("/echo"));
  EXPECT_EQ(status_of(clients[0].read_response()), 200);
  EXPECT_EQ(status_of(talk(rig, get("/echo", kClose))), 200);
}

TEST(Server, Drain) {
  Rig rig;
  Client idle(rig), busy(rig);
  idle.send(get("/echo"));
  idle.read_response();
  busy.send(post("/later", "last"));
  pause_ms(10);
  rig.run([&] { rig.server().drain(); });
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_FALSE(idle.broken);
  std::string response = busy.read_all();
  EXPECT_EQ(body_of(response), "last");
  EXPECT_NE(response.find("Connection: close"), response.npos);
  idle.close();
  busy.close();
  EXPECT_TRUE(eventually([&] { return rig.connections() == 0; }));
}

TEST(Server, RequestsOutliveTheirServer) {
  Rig rig;
  Client client(rig);
  client.send(get("/never"));
  EXPECT_TRUE(eventually([&] { return rig.stats().requests == 1; }));
}  // the rig destroys the server first, then the application releases

TEST(Server, ASlowReaderOfPipelinedAnswersIsHeldBack) {
  Rig rig;
  Client client(rig);
  std::string request = post("/echo", std::string(3000, 'p'));
  fcntl(client.fd(), F_SETFL, O_NONBLOCK);
  size_t sent = 0;
  for (int idle = 0; idle < 20 && sent < (64u << 20);) {
    size_t at = sent % request.size();
    ssize_t n = ::send(client.fd(), request.data() + at, request.size() - at, MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<size_t>(n), idle = 0;
    else ++idle, pause_ms(10);
  }
  EXPECT_LT(sent, 32u << 20);
  fcntl(client.fd(), F_SETFL, 0);
  for (size_t i = 0; i < sent / request.size(); ++i) {
    std::string response = client.read_response();
    ASSERT_EQ(body_of(response).size(), 3000u) << i;
  }
}

TEST(Server, TellsWhoItIs) {
  Rig rig;
  std::string body = body_of(talk(rig, get("/who?a=b", kClose)));
  EXPECT_TRUE(body.starts_with("GET /who a=b 127.0.0.1:")) << body;
}

}  // namespace
}  // namespace kaon::http
