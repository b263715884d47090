#pragma once
#include <string_view>

namespace kaon {

// A name and a value of a message's metadata, as its source spelled them: an HTTP header, a Kafka header, an attribute.
struct Header {
  std::string_view name;
  std::string_view value;
};

}  // namespace kaon
