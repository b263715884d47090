// ps, logs, log-level, metrics: what running processors say of themselves.
#include <cstdio>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/places.h"
#include "config/yaml.h"

namespace kaon::cli {
namespace {

using config::yaml::Node;

const Node* member(const Node& node, std::string_view name) {
  for (auto& [key, value] : node.members)
    if (key->text == name) return value;
  return nullptr;
}

std::string text(const Node& node, std::string_view name) {
  const Node* found = member(node, name);
  return found ? found->text : "";
}

void print_function(const Node& function, int pid) {
  const Node* versions = member(function, "versions");
  const Node* addresses = member(function, "addresses");
  std::string where;
  if (addresses)
    for (const Node* address : addresses->items) where += (where.empty() ? "" : ",") + address->text;
  if (!versions) return;
  for (const Node* version : versions->items)
    printf("%-20s %-14s %7s%% %-8s %8d %10s %8s %9s %9s  %s\n", text(function, "name").c_str(), text(*version, "digest").c_str(),
           text(*version, "weight").c_str(), text(function, "runtime").c_str(), pid, text(*version, "events").c_str(),
           text(*version, "failed").c_str(), text(*version, "p50_us").c_str(), text(*version, "p99_us").c_str(), where.c_str());
}

Result<int> list(Output output) {
  KAON_TRY(std::vector<RunningFunction> running, running_functions());
  if (output == Output::kText)
    printf("%-20s %-14s %8s %-8s %8s %10s %8s %9s %9s  %s\n", "FUNCTION", "VERSION", "WEIGHT", "RUNTIME", "PID", "EVENTS", "FAILED",
           "P50 µs", "P99 µs", "ADDRESS");
  for (const RunningFunction& each : running) {
    auto reply = request(each.socket, "GET", "/v1/functions", {}, "", 2000);
    if (!reply || reply->status != 200) continue;  // it has ended meanwhile
    if (output == Output::kJson) {
      fputs(reply->body.c_str(), stdout);
      continue;
    }
    config::yaml::Document document;
    std::vector<config::yaml::Problem> problems;
    if (!document.parse(reply->body, problems)) continue;
    if (const Node* functions = member(document.root(), "functions"))
      for (const Node* function : functions->items) print_function(*function, each.pid);
  }
  return 0;
}

// Asks the function's processor and prints the body of the reply.
int show(const std::string& function, std::string_view method, const std::string& target) {
  auto running = find_running(function);
  if (!running) return report(running.error());
  auto reply = request(running->socket, method, target, {}, "", 5000);
  if (!reply) return report(reply.error());
  if (reply->status >= 400) return report(reply_error(*reply));
  fwrite(reply->body.data(), 1, reply->body.size(), stdout);
  return 0;
}

}  // namespace

int ps(Output output) {
  auto result = list(output);
  return result ? *result : report(result.error());
}

int logs(const std::string& function, const std::string& event) {
  return show(function, "GET", event.empty() ? "/v1/logs" : "/v1/logs?event=" + event);
}

int log_level(const std::string& function, const std::string& level) {
  return show(function, level.empty() ? "GET" : "PUT", level.empty() ? "/v1/log-level" : "/v1/log-level?level=" + level);
}

int metrics(const std::string& function) { return show(function, "GET", "/metrics"); }

}  // namespace kaon::cli
