#include <kaon.hpp>

kaon::Response handle(kaon::Event& event) { return kaon::Response::view(event.body()); }

KAON_HANDLER(handle)
