#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "http/parser.h"
#include "http/tables.h"

// The input: one byte that says how to cut, then a connection's bytes. Cut or whole, the verdicts must be the same.
namespace kaon::http {
namespace {

struct Outcome {
  Parse parse = Parse::kMore;
  int status = 0;
  std::string text;  // everything that was understood
  bool operator==(const Outcome&) const = default;
};

[[noreturn]] void broken(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

// Each piece is given in memory of exactly its size, so that a read past its end is seen.
Outcome head(std::string_view data, size_t cut, size_t& size) {
  Outcome outcome;
  HeadLimits limits{1024, 256};
  auto parser = std::make_unique<HeadParser>();
  parser->reset();
  Request request;
  for (size_t have = 0; have < data.size() && outcome.parse == Parse::kMore;) {
    have = std::min(data.size(), have + cut);
    std::vector<char> memory(data.begin(), data.begin() + static_cast<ptrdiff_t>(have));
    outcome.parse = parser->parse({memory.data(), have}, limits, request);
    if (outcome.parse == Parse::kError) outcome.status = parser->status();
    if (outcome.parse != Parse::kDone) continue;
    size = parser->head_size();
    if (size > have || size > limits.head_bytes) broken("the head is longer than what there was");
    auto add = [&](std::string_view view) {
      bool inside = view.empty() || (view.data() >= memory.data() && view.data() + view.size() <= memory.data() + size);
      if (!inside && view != "/") broken("a view points outside the head");
      outcome.text.append(view).push_back('\n');
    };
    for (std::string_view each : {request.method, request.target, request.path, request.query, request.host}) add(each);
    for (const Header& each : request.headers) {
      if (!valid_header(each.name, each.value)) broken("an invalid header was let in");
      add(each.name);
      add(each.value);
    }
    if (!all(request.target, kTarget) || request.target.empty()) broken("an invalid target was let in");
    if (request.chunked && request.content_length) broken("two framings were let in");
    outcome.text += std::to_string(request.minor_version) + (request.keep_alive ? "k" : "") + (request.chunked ? "c" : "") +
                    std::to_string(request.content_length.value_or(0)) + (request.expect_continue ? "e" : "");
  }
  return outcome;
}

Outcome body(std::string_view data, size_t cut, size_t room, size_t& used) {
  Outcome outcome;
  ChunkedDecoder decoder;
  used = 0;
  while (used < data.size() && outcome.parse == Parse::kMore) {
    size_t size = std::min(cut, data.size() - used);
    std::vector<char> memory(data.begin() + static_cast<ptrdiff_t>(used), data.begin() + static_cast<ptrdiff_t>(used + size));
    auto step = decoder.decode(memory.data(), size, memory.data(), room);
    if (step.consumed > size || step.produced > step.consumed) broken("more came out than went in");
    if (step.parse == Parse::kMore && step.consumed == 0) broken("the decoder stands still");
    outcome.text.append(memory.data(), step.produced);
    outcome.parse = step.parse;
    used += step.consumed;
  }
  return outcome;
}

}  // namespace
}  // namespace kaon::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace kaon::http;
  if (size < 2 || size > 8192) return 0;
  size_t cut = 1 + bytes[0] % 64;
  std::string_view data(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  size_t whole_size = 0, cut_size = 0;
  Outcome whole = head(data, data.size(), whole_size);
  if (!(whole == head(data, cut, cut_size)) || whole_size != cut_size) broken("the head depends on the cut");
  std::string_view rest = data.substr(whole_size);
  Outcome decoded = body(rest, rest.size(), rest.size() + 1, whole_size);
  if (!(decoded == body(rest, cut, 1 + cut / 3, cut_size)) || whole_size != cut_size) broken("the body depends on the cut");
  return 0;
}
