#include <benchmark/benchmark.h>

#include <memory>
#include <string>

#include "http/parser.h"
#include "http/router.h"

namespace kaon::http {
namespace {

const std::string kSmall =
    "POST /echo HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" +
    std::string(100, 'x');
const std::string kBrowser =
    "GET /some/longer/path?with=a&query=string HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\nCache-Control: max-age=0\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\nReferer: https://www.example.com/\r\n\r\n";

void parse_head(benchmark::State& state, const std::string& text) {
  auto parser = std::make_unique<HeadParser>();
  Request request;
  for (auto _ : state) {
    parser->reset();
    benchmark::DoNotOptimize(parser->parse(text, {}, request));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK_CAPTURE(parse_head, small, kSmall);
BENCHMARK_CAPTURE(parse_head, browser, kBrowser);

void decode_chunks(benchmark::State& state) {
  std::string text;
  char head[32];
  snprintf(head, sizeof head, "%lx\r\n", static_cast<long>(state.range(0)));
  for (int i = 0; i < 100; ++i) text += head + std::string(static_cast<size_t>(state.range(0)), 'x') + "\r\n";
  text += "0\r\n\r\n";
  std::string out(text.size(), ' ');
  for (auto _ : state) {
    ChunkedDecoder decoder;
    benchmark::DoNotOptimize(decoder.decode(text.data(), text.size(), out.data(), out.size()).produced);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(decode_chunks)->Arg(16)->Arg(1024)->Arg(16384);

void route(benchmark::State& state) {
  Router router;
  int target;
  for (const char* each : {"/", "/users/{id}", "/users/{id}/files/{rest...}", "/orders/{id}/lines/{line}"})
    (void)router.add("GET", each, &target);
  for (auto _ : state) benchmark::DoNotOptimize(router.find("GET", "/users/12345/files/a/b/c").target);
}
BENCHMARK(route);

}  // namespace
}  // namespace kaon::http
