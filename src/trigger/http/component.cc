#include "trigger/component.h"

#include "trigger/http/host.h"
#include "trigger/http/spec.h"

namespace kaon::trigger::http {

const Component& component() {
  static const Component kComponent = {
      .kind = "http",
      .help = "Requests of HTTP/1.1 clients, one event each.",
      .spec = spec(),
      .addresses = [](const config::Trigger& trigger, std::vector<std::string>& addresses) {
        addresses.push_back(trigger.settings.text("listen"));
      },
      .host = [](Home home) -> std::unique_ptr<trigger::Host> { return std::make_unique<HttpHost>(std::move(home)); },
  };
  return kComponent;
}

}  // namespace kaon::trigger::http
