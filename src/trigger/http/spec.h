#pragma once
#include "config/spec.h"

namespace kaon::trigger::http {

const config::Spec& spec();

}  // namespace kaon::trigger::http
