#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "base/json.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/places.h"
#include "observe/event_id.h"

namespace kaon::cli {
namespace {

constexpr size_t kMaxBody = 64 << 20;

Result<std::string> body_of(const InvokeOptions& options) {
  if (options.file == "-" || (options.file.empty() && options.data.empty() && !isatty(0))) return read_file("/dev/stdin", kMaxBody);
  if (!options.file.empty()) return read_file(options.file, kMaxBody);
  return options.data;
}

std::string new_event_id() {
  observe::EventIds ids(observe::ProcessorId::random(), 0);
  std::string id(observe::kEventIdSize, '\0');
  ids.next(monotonic_ns(), id.data());
  return id;
}

void print_json(const Reply& reply, const std::string& id, double ms, const std::string& records) {
  std::string out;
  JsonWriter json(out);
  json.object().member("status", reply.status).member("id", std::string_view(id)).member("duration_ms", ms);
  json.key("headers").object();
  for (auto& [name, value] : reply.headers) json.member(name, std::string_view(value));
  json.end_object().member("body", std::string_view(reply.body)).member("logs", std::string_view(records)).end_object();
  out += '\n';
  fwrite(out.data(), 1, out.size(), stdout);
}

Result<int> invoke_running(const InvokeOptions& options) {
  KAON_TRY(RunningFunction running, find_running(options.function));
  KAON_TRY(std::string body, body_of(options));
  // The event's id is chosen here, so that its records can be asked for afterwards.
  std::string id = new_event_id();
  std::vector<std::string> headers = {"ce-specversion: 1.0", "ce-id: " + id, "ce-source: /kaon/cli",
                                      "ce-type: " + (options.type.empty() ? "kaon.invoke" : options.type)};
  if (!options.subject.empty()) headers.push_back("ce-subject: " + options.subject);
  if (!options.content_type.empty()) headers.push_back("Content-Type: " + options.content_type);
  if (options.timeout_ms > 0) headers.push_back("X-Kaon-Timeout-Ms: " + std::to_string(options.timeout_ms));
  for (const std::string& header : options.headers) headers.push_back(header);
  for (const std::string& header : headers)
    if (header.find_first_of("\r\n", 0) != std::string::npos || header.find(':') == std::string::npos)
      return Error{ErrorCode::kInvalid, "a header is `Name: value`, on one line"};
  Nanos begin = monotonic_ns();
  KAON_TRY(Reply reply, request(running.socket, "POST", "/v1/functions/" + running.function + "/invoke", headers, body, 0));
  double ms = static_cast<double>((monotonic_ns() - begin) / kMicrosecond) / 1000;
  std::string records;
  if (!options.quiet)
    if (auto logs = request(running.socket, "GET", "/v1/logs?event=" + id, {}, "", 5000)) records = std::move(logs->body);
  if (options.output == Output::kJson) {
    print_json(reply, id, ms, records);
  } else {
    if (!options.quiet) fprintf(stderr, "status %d   %.2f ms   event %s\n%s", reply.status, ms, id.c_str(), records.c_str());
    fwrite(reply.body.data(), 1, reply.body.size(), stdout);
    if (!options.quiet && isatty(1) && !reply.body.empty() && reply.body.back() != '\n') fputc('\n', stdout);
  }
  return reply.status < 400 ? 0 : error_row(reply.status == 503 ? ErrorCode::kOverloaded : ErrorCode::kUserCode).exit_code;
}

}  // namespace

int invoke(const InvokeOptions& options) {
  auto result = invoke_running(options);
  return result ? *result : report(result.error());
}

}  // namespace kaon::cli
