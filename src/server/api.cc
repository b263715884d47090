#include "server/api.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/json.h"

namespace kaon::server {
namespace {

constexpr std::string_view kJson = "application/json";

void answer(http::Stream& stream, int status, std::string_view type, std::string_view body) {
  stream.respond(status, type, {}, body);
  stream.release();
}

void answer_error(http::Stream& stream, const Error& error) {
  const ErrorRow& row = error_row(error.code);
  std::string body;
  JsonWriter(body).object().member("error", row.label).member("message", std::string_view(error.message)).end_object();
  body += '\n';
  answer(stream, row.http_status, kJson, body);
}

// The value of a query's parameter; nothing is decoded.
std::string_view parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') return pair.substr(name.size() + 1);
  }
  return {};
}

// The socket's mode keeps others out; this holds where the mode does not, as on a descriptor that was passed on.
bool comes_from(int fd, uid_t owner) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == 0 || peer.uid == owner);
}

http::ServerOptions options_for(Access access, uid_t owner) {
  http::ServerOptions options;
  options.whole_body_bytes = 64 << 20;
  options.max_connections = access == Access::kAdmin ? 64 : 256;
  options.answer_half_closed = false;
  if (access == Access::kControl) options.admit = [owner](int fd) { return comes_from(fd, owner); };
  return options;
}

// Takes the segment up to the next '/' off the front of `path`.
std::string_view segment(std::string_view& path) {
  std::string_view first = path.substr(0, path.find('/'));
  path.remove_prefix(std::min(path.size(), first.size() + 1));
  return first;
}

}  // namespace

Api::Api(Parts parts, int listen_fd, Access access)
    : parts_(std::move(parts)),
      access_(access),
      // Ids of a generator beyond those of the loops' triggers; the admin listener makes none.
      exchanges_(parts_.processor.home(), observe::EventIds(parts_.processor.id(), static_cast<int>(parts_.processor.loops()))),
      server_(parts_.processor.home(), listen_fd, *this, options_for(access, parts_.owner), nullptr) {}

Api::~Api() = default;

void Api::on_request(http::Stream& stream) {
  if (admin_route(stream) || (access_ == Access::kControl && control_route(stream))) return;
  answer_error(stream, {ErrorCode::kNotFound, "no such route; GET /healthz, /readyz and /metrics are here"});
}

bool Api::admin_route(http::Stream& stream) {
  const http::Request& request = stream.request();
  if (request.method != "GET" && request.method != "HEAD") return false;
  if (request.path == "/healthz") {
    answer(stream, 200, "text/plain", "ok\n");
  } else if (request.path == "/readyz") {
    bool ready = parts_.processor.ready();
    answer(stream, ready ? 200 : 503, "text/plain", ready ? "ready\n" : "not ready\n");
  } else if (request.path == "/metrics") {
    text_.clear();
    parts_.metrics.write_text(text_);
    answer(stream, 200, observe::Registry::kContentType, text_);
  } else {
    return false;
  }
  return true;
}

bool Api::control_route(http::Stream& stream) {
  const http::Request& request = stream.request();
  std::string_view path = request.path;
  bool get = request.method == "GET";
  if (!path.starts_with("/v1/")) return false;
  path.remove_prefix(4);
  std::string_view collection = segment(path);
  if (collection == "logs" && get) {
    logs(stream);
  } else if (collection == "log-level" && (get || request.method == "PUT")) {
    log_level(stream);
  } else if (collection == "functions" && path.empty() && get) {
    list_functions(stream);
  } else if (collection == "functions") {
    std::string_view name = segment(path), what = segment(path), digest = segment(path);
    if (what == "invoke" && request.method == "POST") invoke(stream, name);
    else if (what == "versions" && request.method == "PUT") deploy(stream, name, digest);
    else return false;
  } else {
    return false;
  }
  return true;
}

void Api::list_functions(http::Stream& stream) {
  text_.clear();
  JsonWriter json(text_);
  json.object().key("functions").array();
  for (const processor::FunctionState& function : parts_.processor.functions()) {
    json.object().member("name", std::string_view(function.name)).member("runtime", std::string_view(function.runtime));
    json.key("versions").array();
    for (const processor::VersionState& version : function.versions) {
      json.object().member("digest", std::string_view(version.digest)).member("weight", static_cast<int64_t>(version.weight));
      json.member("in_flight", version.in_flight).member("events", version.events).member("failed", version.failed);
      json.member("p50_us", version.p50 / kMicrosecond).member("p99_us", version.p99 / kMicrosecond).end_object();
    }
    json.end_array().key("addresses").array();
    for (const std::string& address : function.addresses) json.value(std::string_view(address));
    json.end_array().end_object();
  }
  json.end_array().member("pid", static_cast<int64_t>(getpid())).member("ready", parts_.processor.ready()).end_object();
  text_ += '\n';
  answer(stream, 200, kJson, text_);
}

void Api::deploy(http::Stream& stream, std::string_view name, std::string_view digest) {
  std::string folder;
  auto function = parts_.read_version(name, digest, folder);
  if (!function) {
    answer_error(stream, function.error());
    return;
  }
  uint64_t ticket = ++tickets_;
  deployments_.push_back({ticket, &stream});
  std::string version(digest);
  parts_.processor.deploy(std::move(function).value(), version, std::move(folder),
                          [this, ticket, version](Result<void> result) { deployed(ticket, version, result); });
}

void Api::deployed(uint64_t ticket, const std::string& digest, const Result<void>& result) {
  auto waiting = std::find_if(deployments_.begin(), deployments_.end(), [&](auto& each) { return each.first == ticket; });
  if (waiting == deployments_.end()) return;  // the client has gone
  http::Stream& stream = *waiting->second;
  deployments_.erase(waiting);
  if (!result) {
    answer_error(stream, result.error());
    return;
  }
  std::string body;
  JsonWriter(body).object().member("digest", std::string_view(digest)).member("weight", 100).end_object();
  answer(stream, 200, kJson, body + "\n");
}

void Api::invoke(http::Stream& stream, std::string_view name) {
  std::vector<processor::FunctionState> functions = parts_.processor.functions();
  bool known = std::any_of(functions.begin(), functions.end(), [&](auto& each) { return each.name == name; });
  if (!known) {
    answer_error(stream, {ErrorCode::kNotFound, "no function is called `" + std::string(name) + "`; `kaon ps` lists them"});
    return;
  }
  event::Intake& intake = parts_.processor.shard(0).function(name).intake("invoke");
  auto route = std::find_if(routes_.begin(), routes_.end(), [&](auto& each) { return each->intake == &intake; });
  if (route == routes_.end())
    route = routes_.insert(route, std::make_unique<trigger::http::Route>(trigger::http::Route{&intake, "/kaon/invoke", true, nullptr}));
  trigger::http::Exchange& exchange = exchanges_.take();
  exchange.params.clear();
  exchange.open(stream, **route);
}

void Api::logs(http::Stream& stream) {
  text_.clear();
  std::string_view event = parameter(stream.request().query, "event");
  for (const std::string& line : event.empty() ? parts_.logs.tail(1000) : parts_.logs.records_of(event)) text_ += line;
  answer(stream, 200, "text/plain; charset=utf-8", text_);
}

void Api::log_level(http::Stream& stream) {
  if (stream.request().method == "PUT") {
    auto level = observe::parse_level(parameter(stream.request().query, "level"));
    if (!level) {
      answer_error(stream, level.error());
      return;
    }
    parts_.log.set_level(*level);
  }
  std::string body;
  JsonWriter(body).object().member("level", observe::level_name(parts_.log.level())).end_object();
  answer(stream, 200, kJson, body + "\n");
}

void Api::on_body(http::Stream& stream, std::string_view chunk, bool end) {
  if (auto* exchange = static_cast<trigger::http::Exchange*>(stream.user)) exchange->body_arrived(chunk, end);
}

void Api::on_writable(http::Stream& stream) {
  if (auto* exchange = static_cast<trigger::http::Exchange*>(stream.user)) exchange->writable();
}

void Api::on_gone(http::Stream& stream, const Error& why) {
  if (auto* exchange = static_cast<trigger::http::Exchange*>(stream.user)) {
    exchange->gone(why);
    return;
  }
  std::erase_if(deployments_, [&](auto& each) { return each.second == &stream; });
  stream.release();
}

}  // namespace kaon::server
