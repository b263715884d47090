#include "runtime/exec/header_block.h"

#include <cstdlib>

// A block that was taken names no line of its own making: whatever leaves here may stand in a response.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kaon::runtime::exec::HeaderBlock block;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!kaon::runtime::exec::parse_header_block(text, block)) return 0;
  if (block.size > size || block.status < 200 || block.status > 599) abort();
  for (const auto& header : block.headers)
    if (header.name.empty() || header.name.find_first_of("\r\n:", 0, 3) != header.name.npos ||
        header.value.find_first_of(std::string_view("\r\n\0", 3)) != header.value.npos)
      abort();
  if (block.content_type.find_first_of(std::string_view("\r\n\0", 3)) != block.content_type.npos) abort();
  return 0;
}
