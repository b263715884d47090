#pragma once
#include <string>
#include <string_view>

#include "config/spec.h"

namespace kaon::config {

// The Markdown reference of one component: what it is, its keys with type, default and range, its sections, and an
// example. `title` is the page's heading.
std::string reference_page(const Spec& spec, std::string_view title);

}  // namespace kaon::config
