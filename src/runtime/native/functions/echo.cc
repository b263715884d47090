#include <kaon.hpp>

static kaon::Response handle(kaon::Event& event) {
  if (event.subject() == "throw") throw std::runtime_error("the handler threw this");
  if (event.subject() == "invalid") throw kaon::Failure(KAON_FAIL_INVALID, "not like this");
  if (event.subject() == "forge") return kaon::Response("x").header("x-a", "1\r\nx-b: 2");
  if (event.subject() == "full")
    return kaon::Response(201, "made of " + std::string(event.header("X-Kind")))
        .content_type("text/x")
        .header("x-id", std::string(event.id()));
  return kaon::Response::view(event.body());
}
KAON_HANDLER(handle)
