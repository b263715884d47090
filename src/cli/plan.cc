#include "cli/plan.h"

#include "base/text.h"

namespace kaon::cli {

std::string Plan::write() const {
  std::string text;
  auto line = [&](std::string_view key, std::string_view value) { text.append(key).append("=").append(value).append("\n"); };
  line("function", function);
  line("version", version);
  line("store", store);
  line("control", control);
  line("admin", admin);
  for (const std::string& address : addresses) line("address", address);
  line("loops", std::to_string(loops));
  line("drain_ms", std::to_string(drain_ms));
  line("log_level", log_level);
  line("log_format", log_format);
  line("owner", std::to_string(owner));
  return text;
}

Result<Plan> Plan::read(std::string_view text) {
  Plan plan;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    std::string_view key = line.substr(0, line.find('='));
    std::string value(line.substr(std::min(line.size(), key.size() + 1)));
    auto number = [&] { return parse_uint(value).value_or(0); };
    if (key == "function") plan.function = value;
    else if (key == "version") plan.version = value;
    else if (key == "store") plan.store = value;
    else if (key == "control") plan.control = value;
    else if (key == "admin") plan.admin = value;
    else if (key == "address") plan.addresses.push_back(value);
    else if (key == "loops") plan.loops = static_cast<unsigned>(number());
    else if (key == "drain_ms") plan.drain_ms = static_cast<int>(number());
    else if (key == "log_level") plan.log_level = value;
    else if (key == "log_format") plan.log_format = value;
    else if (key == "owner") plan.owner = static_cast<unsigned>(number());
    else return Error{ErrorCode::kInternal, "a plan with an unknown line"};
  }
  if (plan.function.empty() || plan.version.empty() || plan.loops == 0) return Error{ErrorCode::kInternal, "a plan that is not whole"};
  return plan;
}

}  // namespace kaon::cli
