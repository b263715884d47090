#include <kaon.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

kaon::Response handle(kaon::Event& event) {
  std::string_view path = event.path();
  if (path == "/throw") throw std::runtime_error("the handler's own words");
  if (path == "/sleep") std::this_thread::sleep_for(std::chrono::seconds(1));
  if (path == "/hang") std::this_thread::sleep_for(std::chrono::seconds(30));
  if (path == "/id") return kaon::Response(std::string(event.id()));
  if (path == "/version") return kaon::Response("one");
  return kaon::Response(std::string(event.body()));
}

KAON_HANDLER(handle)
