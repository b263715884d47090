#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "http/http_fuzz.cc"

namespace {

// The fuzz target over the kept corpus, and for a second over what becomes of it by chance.
TEST(Corpus, HeadsAndBodiesDoNotDependOnTheCut) {
  std::vector<std::string> inputs;
  for (auto& each : std::filesystem::directory_iterator(KAON_SOURCE_DIR "/tests/corpus/http")) {
    std::ifstream file(each.path(), std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  ASSERT_GE(inputs.size(), 15u);
  auto run = [](const std::string& input) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  };
  for (std::string input : inputs)
    for (int cut = 0; cut < 64; ++cut) {
      input[0] = static_cast<char>(cut);
      run(input);
    }
  std::mt19937 random(20260101);
  auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  static constexpr std::string_view kPieces[] = {"\r\n", "\r", "\n", ":", " ", "\t", ";",
                                                "0\r\n\r\n", "Host: b\r\n", "chunked", "\x7f", "HTTP/1.1"};
  for (auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1); std::chrono::steady_clock::now() < end;) {
    std::string input = inputs[below(inputs.size())];
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      size_t at = below(input.size());
      switch (below(4)) {
        case 0: input[at] = static_cast<char>(random()); break;
        case 1: input.insert(at, kPieces[below(std::size(kPieces))]); break;
        case 2: input.erase(at, 1 + below(8)); break;
        default: input += inputs[below(inputs.size())].substr(1); break;
      }
      if (input.empty()) input = "x";
    }
    run(input);
  }
}

}  // namespace
