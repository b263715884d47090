// Answers at once, or after a second on /sleep.
#include <kaon.hpp>

#include <chrono>
#include <thread>

kaon::Response handle(kaon::Event& event) {
  if (event.path() == "/sleep") std::this_thread::sleep_for(std::chrono::seconds(1));
  return kaon::Response::view(event.body());
}

KAON_HANDLER(handle)
