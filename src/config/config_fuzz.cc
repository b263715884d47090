#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "config/function.h"
#include "config/test_catalog.h"

namespace {

void require(bool holds, const char* what, const std::string& text) {
  if (holds) return;
  std::fprintf(stderr, "%s:\n%s\n", what, text.c_str());
  std::abort();
}

}  // namespace

// What parses is written back to the same; what does not has a message of one printable line.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kaon::config;
  std::string_view yaml(reinterpret_cast<const char*>(data), size);
  auto function = parse_function(yaml, "f.yaml", test::kCatalog);
  if (!function) {
    for (const Diagnostic& each : lint_function(yaml, "f.yaml", test::kCatalog)) {
      for (char c : each.text())
        require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "a control character in", each.message);
    }
    return 0;
  }
  std::string written = write_function(*function, test::kCatalog);
  auto again = parse_function(written, "f.yaml", test::kCatalog);
  require(again.has_value(), "refused what was written", written);
  require(write_function(*again, test::kCatalog) == written, "written differently the second time", written);
  return 0;
}
