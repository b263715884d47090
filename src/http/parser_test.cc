#include "http/parser.h"

#include <gtest/gtest.h>

#include <string>

namespace kaon::http {
namespace {

struct Parsed {
  Parse parse = Parse::kMore;
  int status = 0;
  size_t head_size = 0;
  Request request;
  std::unique_ptr<HeadParser> parser = std::make_unique<HeadParser>();
};

// `cut` bytes at a time, each piece at a new address.
Parsed parse(const std::string& text, size_t cut = std::string::npos, HeadLimits limits = {}) {
  Parsed result;
  result.parser->reset();
  static std::string kept[2];
  for (size_t size = 0, turn = 0; size < text.size() && result.parse == Parse::kMore; ++turn) {
    size = std::min(text.size(), cut == std::string::npos ? text.size() : size + cut);
    kept[turn % 2] = text.substr(0, size);
    result.parse = result.parser->parse(kept[turn % 2], limits, result.request);
  }
  if (result.parse == Parse::kError) result.status = result.parser->status();
  if (result.parse == Parse::kDone) result.head_size = result.parser->head_size();
  return result;
}

TEST(HeadParser, ReadsAWholeHead) {
  std::string text =
      "POST /a/b?x=1?y HTTP/1.1\r\nHost: example.com:80\r\nContent-Length: 12\r\nX-Empty:\r\nX-Tab:\t a\tb \t\r\n"
      "Connection: foo , Keep-Alive\r\nExpect: 100-Continue\r\n\r\nbody";
  for (size_t cut : {std::string::npos, size_t{1}, size_t{7}, size_t{16}, size_t{17}}) {
    Parsed p = parse(text, cut);
    ASSERT_EQ(p.parse, Parse::kDone) << p.parser->problem();
    EXPECT_EQ(p.head_size, text.size() - 4);
    EXPECT_EQ(p.request.method, "POST");
    EXPECT_EQ(p.request.target, "/a/b?x=1?y");
    EXPECT_EQ(p.request.path, "/a/b");
    EXPECT_EQ(p.request.query, "x=1?y");
    EXPECT_EQ(p.request.host, "example.com:80");
    EXPECT_EQ(p.request.content_length, 12u);
    EXPECT_TRUE(p.request.expect_continue);
    EXPECT_TRUE(p.request.keep_alive);
    ASSERT_EQ(p.request.headers.size(), 6u);
    EXPECT_EQ(p.request.header("x-EMPTY"), "");
    EXPECT_EQ(p.request.header("x-tab"), "a\tb");
  }
}

struct Case {
  const char* name;
  std::string text;
  int status;  // 0: good
};

const std::string kHost = "Host: a\r\n";
std::string get(const std::string& headers) { return "GET / HTTP/1.1\r\n" + headers + "\r\n"; }

std::vector<Case> cases() {
  using namespace std::string_literals;
  return {
      {"plain", get(kHost), 0},
      {"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 0},
      {"one CRLF before", "\r\n" + get(kHost), 0},
      {"two CRLF before", "\r\n\r\n" + get(kHost), 400},
      {"LF before", "\n" + get(kHost), 400},
      {"bare LF in request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
      {"bare LF behind header", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
      {"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
      {"bare CR in value", get("Host: a\r\nX: a\rb\r\n"), 400},
      {"CR CR LF", get("Host: a\r\r\n"), 400},
      {"NUL in value", get("Host: a\r\nX: a\0b\r\n"s), 400},
      {"NUL in target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s, 400},
      {"DEL in value", get("Host: a\r\nX: a\x7f\r\n"), 400},
      {"obs-text in value", get("Host: a\r\nX: \xc3\xa9\r\n"), 0},
      {"folded", get("Host: a\r\nX: a\r\n b\r\n"), 400},
      {"folded by tab", get("Host: a\r\n\tb\r\n"), 400},
      {"space before colon", get("Host: a\r\nX : b\r\n"), 400},
      {"space before Content-Length's colon", get("Host: a\r\nContent-Length : 3\r\n"), 400},
      {"no colon", get("Host: a\r\nX\r\n"), 400},
      {"empty name", get("Host: a\r\n: b\r\n"), 400},
      {"name with NUL-like control", get("Host: a\r\nX\x01: b\r\n"), 400},
      {"CL and TE", get("Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"TE and CL", get("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 400},
      {"equal CL twice", get("Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n"), 400},
      {"different CL", get("Host: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n"), 400},
      {"CL list", get("Host: a\r\nContent-Length: 3, 3\r\n"), 400},
      {"CL with sign", get("Host: a\r\nContent-Length: +3\r\n"), 400},
      {"CL negative", get("Host: a\r\nContent-Length: -3\r\n"), 400},
      {"CL hex", get("Host: a\r\nContent-Length: 0x3\r\n"), 400},
      {"CL empty", get("Host: a\r\nContent-Length:\r\n"), 400},
      {"CL inner space", get("Host: a\r\nContent-Length: 1 2\r\n"), 400},
      {"CL overflow", get("Host: a\r\nContent-Length: 18446744073709551616\r\n"), 413},
      {"TE gzip", get("Host: a\r\nTransfer-Encoding: gzip\r\n"), 501},
      {"TE gzip, chunked", get("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n"), 501},
      {"TE identity", get("Host: a\r\nTransfer-Encoding: identity\r\n"), 501},
      {"TE xchunked", get("Host: a\r\nTransfer-Encoding: xchunked\r\n"), 501},
      {"TE vertical tab", get("Host: a\r\nTransfer-Encoding: \x0b" "chunked\r\n"), 400},
      {"TE twice", get("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"TE any case", get("Host: a\r\ntransfer-ENCODING: Chunked\r\n"), 0},
      {"TE on 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"no Host", get("X: a\r\n"), 400},
      {"two Hosts", get("Host: a\r\nHost: a\r\n"), 400},
      {"two Hosts on 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"Host with slash", get("Host: a/b\r\n"), 400},
      {"Host with at", get("Host: u@a\r\n"), 400},
      {"Host IPv6", get("Host: [::1]:80\r\n"), 0},
      {"Host empty", get("Host:\r\n"), 0},
      {"method with brace", "G{T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"method empty", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"method too long", std::string(33, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"tab for space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"trailing space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
      {"no version", "GET /\r\nHost: a\r\n\r\n", 400},
      {"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
      {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 0},
      {"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"target without slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"raw UTF-8 in target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501},
      {"absolute", "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"absolute, other Host", "GET http://a/b HTTP/1.1\r\nHost: b\r\n\r\n", 400},
      {"absolute, user", "GET http://u@a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"absolute, no authority", "GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"absolute, ftp", "GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"expectation", get("Host: a\r\nExpect: 200-ok\r\n"), 417},
      {"TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, 400},
  };
}

TEST(HeadParser, JudgesEachCaseTheSameAtEveryCut) {
  for (const Case& each : cases()) {
    for (size_t cut : {std::string::npos, size_t{1}, size_t{2}, size_t{3}, size_t{15}, size_t{16}, size_t{33}}) {
      Parsed p = parse(each.text, cut);
      EXPECT_EQ(p.parse, each.status == 0 ? Parse::kDone : Parse::kError) << each.name << ", cut " << cut;
      EXPECT_EQ(p.status, each.status) << each.name << ", cut " << cut << ": " << p.parser->problem();
    }
  }
}

TEST(HeadParser, TargetForms) {
  Parsed p = parse("GET HTTP://A.example:8080?q HTTP/1.1\r\nHost: a.EXAMPLE:8080\r\n\r\n");
  ASSERT_EQ(p.parse, Parse::kDone);
  EXPECT_EQ(p.request.path, "/");
  EXPECT_EQ(p.request.query, "q");
  EXPECT_EQ(p.request.host, "A.example:8080");
  EXPECT_EQ(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").request.path, "*");
}

TEST(HeadParser, KeepAlive) {
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n").request.keep_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").request.keep_alive);
  EXPECT_TRUE(parse(get(kHost)).request.keep_alive);
  EXPECT_FALSE(parse(get("Host: a\r\nConnection: a,CLOSE\r\n")).request.keep_alive);
  EXPECT_FALSE(parse(get("Host: a\r\nConnection: keep-alive\r\nConnection: close\r\n")).request.keep_alive);
}

TEST(HeadParser, Limits) {
  HeadLimits limits{512, 64};
  for (size_t cut : {std::string::npos, size_t{1}, size_t{50}}) {
    std::string target(63, 'a');
    EXPECT_EQ(parse("GET /" + target + " HTTP/1.1\r\nHost: a\r\n\r\n", cut, limits).parse, Parse::kDone);
    EXPECT_EQ(parse("GET /" + target + "a HTTP/1.1\r\nHost: a\r\n\r\n", cut, limits).status, 414);
    EXPECT_EQ(parse("GET /" + std::string(5000, 'a'), cut, limits).status, 414);
    std::string line = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    std::string fits = line + std::string(512 - line.size() - 4, 'x') + "\r\n\r\n";
    ASSERT_EQ(fits.size(), 512u);
    EXPECT_EQ(parse(fits, cut, limits).parse, Parse::kDone);
    EXPECT_EQ(parse(line + std::string(512 - line.size() - 3, 'x') + "\r\n\r\n", cut, limits).status, 431);
    std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (int i = 0; i < 99; ++i) many += "a: b\r\n";
    EXPECT_EQ(parse(many + "\r\n", cut).parse, Parse::kDone);
    EXPECT_EQ(parse(many + "a: b\r\n\r\n", cut).status, 431);
  }
}

// ---- chunked ----

struct Decoded {
  Parse parse = Parse::kMore;
  std::string body;
  size_t consumed = 0;
};

Decoded decode(const std::string& text, size_t cut, size_t room) {
  Decoded result;
  ChunkedDecoder decoder;
  std::string buffer = text;
  for (size_t at = 0; at < text.size() && result.parse == Parse::kMore;) {
    size_t size = std::min(cut, text.size() - at);
    auto step = decoder.decode(buffer.data() + at, size, buffer.data() + at, room);
    result.body.append(buffer.data() + at, step.produced);
    result.parse = step.parse;
    at += step.consumed;
    result.consumed = at;
    if (step.consumed == 0 && step.parse == Parse::kMore) break;
  }
  return result;
}

TEST(ChunkedDecoder, Table) {
  using namespace std::string_literals;
  struct {
    std::string text;
    Parse parse;
    std::string body;
  } table[] = {
      {"3\r\nabc\r\n0\r\n\r\n", Parse::kDone, "abc"},
      {"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nGET ", Parse::kDone, "abc0123456789"},
      {"003;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", Parse::kDone, "abc"},
      {"0\r\nTrailer: x\r\nOther:y\r\n\r\n", Parse::kDone, ""},
      {"3\r\nabc\r\n", Parse::kMore, "abc"},
      {"", Parse::kMore, ""},
      {"\r\n", Parse::kError, ""},
      {"3\nabc\r\n0\r\n\r\n", Parse::kError, ""},
      {"3\r\nabc\n0\r\n\r\n", Parse::kError, "abc"},
      {"3\r\nabcd\r\n", Parse::kError, "abc"},
      {" 3\r\nabc\r\n", Parse::kError, ""},
      {"3 \r\nabc\r\n", Parse::kError, ""},
      {"-3\r\nabc\r\n", Parse::kError, ""},
      {"0x3\r\nabc\r\n", Parse::kError, ""},
      {"g\r\n", Parse::kError, ""},
      {";\r\n", Parse::kError, ""},
      {"00000000000000003\r\nabc\r\n", Parse::kError, ""},
      {"10000000000000000\r\n", Parse::kError, ""},
      {"3;a\nb\r\nabc", Parse::kError, ""},
      {"3;a\rb\r\nabc", Parse::kError, ""},
      {"3;\0\r\nabc"s, Parse::kError, ""},
      {"3;" + std::string(300, 'a') + "\r\nabc\r\n", Parse::kError, ""},
      {"0\r\n folded: x\r\n\r\n", Parse::kError, ""},
      {"0\r\nno colon\r\n\r\n", Parse::kError, ""},
      {"0\r\nname\r\n\r\n", Parse::kError, ""},
      {"0\r\na: b\n\r\n", Parse::kError, ""},
      {"0\r\n\n", Parse::kError, ""},
      {"0\r\na: " + std::string(9000, 'x') + "\r\n\r\n", Parse::kError, ""},
  };
  for (auto& each : table)
    for (size_t cut : {size_t{1}, size_t{2}, size_t{5}, size_t{100000}})
      for (size_t room : {size_t{1}, size_t{100000}}) {
        Decoded d = decode(each.text, cut, room);
        EXPECT_EQ(d.parse, each.parse) << each.text << " cut " << cut;
        EXPECT_EQ(d.body, each.body) << each.text << " cut " << cut;
      }
  EXPECT_EQ(decode("1\r\na\r\n0\r\n\r\nGET ", 1000, 1000).consumed, 11u);
}

TEST(ChunkedDecoder, BoundsTheExtensionsOfManySmallChunks) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "1;" + std::string(200, 'e') + "\r\nx\r\n";
  EXPECT_EQ(decode(text, 100000, 100000).parse, Parse::kError);
}

}  // namespace
}  // namespace kaon::http
