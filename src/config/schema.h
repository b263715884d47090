#pragma once
#include <string>

#include "config/function.h"

namespace kaon::config {

// The JSON Schema (draft 2020-12) of function.yaml for the components of the catalog, for editors: what parse_function
// accepts is valid by it, but it cannot tell everything that is wrong.
std::string function_schema(const Catalog& catalog);

}  // namespace kaon::config
