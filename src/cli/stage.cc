#include "cli/stage.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "artifact/copy.h"
#include "base/text.h"
#include "config/address.h"

namespace kaon::cli {
namespace {

constexpr size_t kMaxConfiguration = 1 << 20;
constexpr int kBacklog = 4096;

std::string base_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }
std::string folder_of(const std::string& path) { return path.substr(0, path.find_last_of('/')); }

Result<std::string> absolute(const std::string& path) {
  std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), std::free);
  if (!real) return errno_error("find " + path, errno);
  return std::string(real.get());
}

// A function's name from a file's: its stem, with what a name cannot hold replaced.
std::string name_from(std::string stem) {
  if (size_t dot = stem.rfind('.'); dot != std::string::npos && dot > 0) stem.resize(dot);
  stem.resize(std::min<size_t>(stem.size(), 63));
  for (char& c : stem) {
    c = to_lower(c);
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) c = '-';
  }
  while (stem.starts_with('-')) stem.erase(0, 1);
  while (stem.ends_with('-')) stem.pop_back();
  return stem.empty() ? "function" : stem;
}

}  // namespace

Stager::Stager(const Parts& parts, const RunOptions& options, Places places, artifact::Store store)
    : parts_(parts), options_(options), places_(std::move(places)), store_(std::move(store)) {}

Result<Stager> Stager::open(const Parts& parts, const RunOptions& options) {
  KAON_TRY(Places found, places());
  KAON_TRY(artifact::Store store, artifact::Store::open(found.state));
  KAON_TRY_VOID(make_folder(found.run, geteuid() == 0 ? 0755 : 0700));
  KAON_TRY_VOID(make_folder(found.state + "/cache", 0700));
  return Stager(parts, options, std::move(found), std::move(store));
}

Result<config::Function> Stager::guess(const std::string& file) const {
  for (const runtime::Component* component : parts_.runtimes) {
    if (!component->recognises || !component->recognises(file)) continue;
    KAON_TRY(config::Function function, config::make_function(name_from(base_name(file)), component->kind, parts_.catalog()));
    function.handler = base_name(file);
    return function;
  }
  return Error{ErrorCode::kInvalid, file + " is nothing that Kaon can run: it is not executable, and no runtime knows its kind; "
                                           "chmod +x it, or name a runtime in a function.yaml"};
}

Result<config::Function> Stager::configuration() {
  KAON_TRY(std::string target, absolute(options_.target));
  struct stat status;
  if (stat(target.c_str(), &status) != 0) return errno_error("look at " + target, errno);
  std::string file;
  if (S_ISDIR(status.st_mode)) {
    source_ = target;
    file = target + "/function.yaml";
    if (access(file.c_str(), F_OK) != 0)
      return Error{ErrorCode::kNotFound, "no function.yaml in " + target + "; write one, begin with `kaon init`, or name a file to run"};
  } else if (target.ends_with(".yaml") || target.ends_with(".yml")) {
    source_ = folder_of(target);
    file = target;
  } else {
    source_ = target;
    return guess(target);
  }
  KAON_TRY(std::string text, read_file(file, kMaxConfiguration));
  KAON_TRY(config::Function function, config::parse_function(text, file, parts_.catalog()));
  if (function.name.empty()) function.name = name_from(base_name(source_));
  return function;
}

Result<void> Stager::apply_options(config::Function& function) const {
  if (!options_.name.empty()) function.name = options_.name;
  if (!options_.listen.empty())
    for (config::Trigger& trigger : function.triggers)
      if (trigger.kind == "http") KAON_TRY_VOID(trigger.settings.set("listen", options_.listen));
  for (const std::string& setting : options_.settings) {
    size_t equals = setting.find('=');
    if (equals == std::string::npos) return Error{ErrorCode::kInvalid, "--set takes key=value, not `" + setting + "`"};
    KAON_TRY_VOID(function.runtime_settings.set(setting.substr(0, equals), setting.substr(equals + 1)));
  }
  return {};
}

Result<artifact::Version> Stager::stage() {
  KAON_TRY(config::Function function, configuration());
  KAON_TRY_VOID(apply_options(function));
  if (function.isolation == config::Isolation::kSandbox)
    return Error{ErrorCode::kUnimplemented, "isolation: sandbox is not in this version; leave it out, and run only code that you trust"};
  auto component = std::find_if(parts_.runtimes.begin(), parts_.runtimes.end(), [&](auto* each) { return each->kind == function.runtime; });
  if (component == parts_.runtimes.end()) return Error{ErrorCode::kNotFound, "no runtime is called `" + function.runtime + "`"};
  KAON_TRY(artifact::Staging staging, store_.begin(function.name));
  KAON_TRY_VOID(artifact::copy_tree(source_, staging));
  if ((*component)->build) {
    runtime::BuildContext context{function, source_, staging.path(), places_.state + "/cache"};
    KAON_TRY_VOID((*component)->build(context));
  }
  KAON_TRY_VOID(write_file(staging.path() + "/" + kSealedConfiguration, config::write_function(function, parts_.catalog())));
  KAON_TRY(artifact::Version version, store_.seal(std::move(staging)));
  function_ = std::move(function);
  return version;
}

Result<Plan> Stager::plan(const artifact::Version& version, int keeper_pid) const {
  Plan plan;
  plan.function = function_.name;
  plan.version = version.id;
  plan.store = store_.folder();
  plan.control = control_socket(places_, function_.name, keeper_pid);
  for (const config::Trigger& trigger : function_.triggers)
    for (const trigger::Component* component : parts_.triggers)
      if (component->kind == trigger.kind && component->addresses) component->addresses(trigger, plan.addresses);
  std::sort(plan.addresses.begin(), plan.addresses.end());
  plan.addresses.erase(std::unique(plan.addresses.begin(), plan.addresses.end()), plan.addresses.end());
  if (options_.admin.empty() && !plan.addresses.empty()) {
    KAON_TRY(config::Address first, config::parse_address(plan.addresses.front()));
    first.host = "127.0.0.1";
    if (first.kind == config::Address::Kind::kTcp && first.port != 0 && first.port < 65535) {
      ++first.port;
      plan.admin = first.text();
    }
  } else if (!options_.admin.empty() && options_.admin != "off") {
    KAON_TRY(config::Address admin, config::parse_address(options_.admin));
    plan.admin = admin.text();
  }
  plan.loops = options_.loops ? options_.loops : std::clamp(std::thread::hardware_concurrency(), 1u, 64u);
  plan.drain_ms = options_.drain_ms;
  plan.log_level = options_.log_level;
  plan.log_format = options_.log_format;
  plan.owner = geteuid();
  return plan;
}

Result<keeper::ListenRequest> listen_request(const std::string& text, unsigned copies) {
  KAON_TRY(config::Address address, config::parse_address(text));
  if (address.kind == config::Address::Kind::kUnix) return keeper::unix_request(address.path, kBacklog);
  keeper::ListenRequest request{};
  request.backlog = kBacklog;
  request.copies = copies;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&request.address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&request.address);
  if (inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    request.length = sizeof *v4;
  } else if (inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    request.length = sizeof *v6;
  } else {
    return Error{ErrorCode::kInvalid, "`" + text + "` is not an address"};
  }
  return request;
}

}  // namespace kaon::cli
