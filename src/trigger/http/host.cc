#include "trigger/http/host.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>

#include "base/json.h"

namespace kaon::trigger::http {
namespace {

using kaon::http::Cors;
using kaon::http::Router;
using kaon::http::Stream;

kaon::http::ServerOptions options_from(const config::Settings& settings) {
  kaon::http::ServerOptions options;
  options.max_head_bytes = static_cast<size_t>(settings.integer("max_head_bytes"));
  options.max_body_bytes = static_cast<uint64_t>(settings.integer("max_body_bytes"));
  options.whole_body_bytes = static_cast<size_t>(settings.integer("whole_body_bytes"));
  options.header_timeout_ms = static_cast<int>(settings.integer("header_timeout_ms"));
  options.body_timeout_ms = static_cast<int>(settings.integer("body_timeout_ms"));
  options.idle_timeout_ms = static_cast<int>(settings.integer("idle_timeout_ms"));
  options.write_timeout_ms = static_cast<int>(settings.integer("write_timeout_ms"));
  options.max_connections = static_cast<size_t>(settings.integer("max_connections"));
  options.answer_half_closed = false;  // a client that has left must end its function
  return options;
}

// Modules lie in lib/kaon beside the folder of the binary.
std::string module_folder() {
  char path[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  std::string_view binary(path, size > 0 ? static_cast<size_t>(size) : 0);
  std::string_view folder = binary.substr(0, binary.rfind('/'));
  return std::string(folder.substr(0, folder.rfind('/'))) + "/lib/kaon";
}

Result<std::unique_ptr<Cors>> make_cors(const config::Settings* settings) {
  if (!settings) return std::unique_ptr<Cors>();
  kaon::http::CorsOptions options;
  options.origins = settings->list("allow_origins");
  options.methods = settings->list("allow_methods");
  options.headers = settings->list("allow_headers");
  options.exposed_headers = settings->list("expose_headers");
  options.credentials = settings->flag("allow_credentials");
  options.max_age_s = static_cast<int>(settings->integer("max_age_s"));
  KAON_TRY(Cors cors, Cors::make(options));
  return std::make_unique<Cors>(std::move(cors));
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::open(const Home& home, const config::Settings& settings, ExchangePool& exchanges) {
  std::unique_ptr<Listener> listener(new Listener(exchanges));
  KAON_TRY(int fd, home.listener(settings.text("listen")));
  if (const config::Settings* tls = settings.section("tls")) {
    auto loaded = kaon::http::load_tls(module_folder(), tls->text("certificate_file"), tls->text("key_file"));
    if (!loaded && loaded.error().code == ErrorCode::kDenied)
      loaded.error().message += "; the processor reads it as user " + std::to_string(geteuid()) + ": let that user read it";
    KAON_TRY(listener->tls_, std::move(loaded));
  }
  listener->server_ =
      std::make_unique<kaon::http::Server>(home.loop, fd, *listener, options_from(settings), listener->tls_.get());
  return listener;
}

Result<void> Listener::add(const config::Trigger& trigger, event::Intake& intake) {
  auto route = std::make_unique<Route>();
  route->intake = &intake;
  route->source = "/kaon/triggers/" + trigger.name;
  KAON_TRY(route->cors, make_cors(trigger.settings.section("cors")));
  std::vector<std::string> methods = trigger.settings.list("methods");
  if (methods.empty()) methods.push_back("");  // every method
  for (const std::string& method : methods) {
    auto added = router_.add(method, trigger.settings.text("path"), route.get());
    if (!added) {
      router_.remove(route.get());
      return std::move(added).error();
    }
  }
  routes_.push_back(std::move(route));
  return {};
}

void Listener::remove(event::Intake& intake) {
  std::erase_if(routes_, [&](const std::unique_ptr<Route>& route) {
    if (route->intake != &intake) return false;
    router_.remove(route.get());
    return true;
  });
}

void Listener::stop() {
  server_->stop_accepting();
  server_->drain();
}

void Listener::on_request(Stream& stream) {
  const kaon::http::Request& request = stream.request();
  Router::Match match = router_.find(request.method, request.path);
  auto* route = static_cast<Route*>(match.target);
  bool preflight = request.method == "OPTIONS" && Cors::is_preflight(request);
  if (match.status != 200 || (preflight && route->cors)) {
    if (preflight && !route) {  // the route is that of the method which the browser asks for
      Router::Match asked = router_.find(request.header("access-control-request-method"), request.path);
      route = static_cast<Route*>(asked.target);
    }
    answer_itself(stream, match, preflight ? route : nullptr);
    return;
  }
  Exchange& exchange = exchanges_.take();
  exchange.params.assign(match.params, match.params + match.param_count);
  exchange.open(stream, *route);
}

void Listener::answer_itself(Stream& stream, const Router::Match& match, const Route* preflight) {
  const kaon::Header allow[] = {{"Allow", match.allow}};
  if (preflight && preflight->cors) {
    std::string_view methods = match.allow.empty() ? std::string_view("GET, HEAD, POST, PUT, PATCH, DELETE") : match.allow;
    stream.respond(204, {}, preflight->cors->preflight(stream.request(), methods).span(), {});
  } else if (match.status == 204) {
    stream.respond(204, {}, allow, {});
  } else if (match.status == 405) {
    stream.respond(405, "application/json", allow, "{\"error\":\"invalid\",\"message\":\"this path does not take this method\"}\n");
  } else {
    stream.respond(404, "application/json", {}, "{\"error\":\"not_found\",\"message\":\"no trigger has this path\"}\n");
  }
  stream.release();
}

void Listener::on_body(Stream& stream, std::string_view chunk, bool end) {
  if (auto* exchange = static_cast<Exchange*>(stream.user)) exchange->body_arrived(chunk, end);
}

void Listener::on_writable(Stream& stream) {
  if (auto* exchange = static_cast<Exchange*>(stream.user)) exchange->writable();
}

void Listener::on_gone(Stream& stream, const Error& why) {
  if (auto* exchange = static_cast<Exchange*>(stream.user)) exchange->gone(why);
}

HttpHost::HttpHost(Home home)
    : home_(std::move(home)), exchanges_(home_.loop, observe::EventIds(home_.processor, home_.loop.index())) {}

Result<void> HttpHost::add(const config::Trigger& trigger, event::Intake& intake) {
  const std::string& address = trigger.settings.text("listen");
  auto found = std::find_if(listeners_.begin(), listeners_.end(), [&](const Open& each) { return each.address == address; });
  if (found == listeners_.end()) {
    KAON_TRY(std::unique_ptr<Listener> listener, Listener::open(home_, trigger.settings, exchanges_));
    found = listeners_.insert(found, {address, std::move(listener)});
  }
  return found->listener->add(trigger, intake);
}

void HttpHost::remove(event::Intake& intake) {
  for (Open& each : listeners_) each.listener->remove(intake);
}

void HttpHost::stop_intake() {
  for (Open& each : listeners_) each.listener->stop();
}

bool HttpHost::drained() const {
  return std::all_of(listeners_.begin(), listeners_.end(), [](const Open& each) { return each.listener->drained(); });
}

}  // namespace kaon::trigger::http
