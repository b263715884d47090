#pragma once
#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "http/server.h"
#include "observe/metrics.h"
#include "observe/ring_sink.h"
#include "processor/processor.h"
#include "trigger/http/exchange.h"

namespace kaon::server {

// What the routes work on. All of it outlives the API; the API's home is the processor's home loop.
struct Parts {
  processor::Processor& processor;
  observe::Registry& metrics;
  observe::RingSink& logs;
  observe::Log log;
  // A sealed version: its configuration and its folder.
  std::function<Result<config::Function>(std::string_view name, std::string_view digest, std::string& folder)> read_version;
  uid_t owner;  // who may use the control socket, beside root
};

enum class Access : uint8_t {
  kAdmin,    // GET /healthz, /readyz, /metrics: for anyone who reaches the listener
  kControl,  // those and the REST API, for the owner of the control socket
};

// The HTTP interface of one processor: the first routes of the REST API.
//   GET  /healthz  /readyz  /metrics
//   GET  /v1/functions                           names, runtimes, versions, weights, addresses, counts
//   PUT  /v1/functions/{name}/versions/{digest}  a sealed version of the store takes over
//   POST /v1/functions/{name}/invoke             the body is an event's; the response is the function's
//   GET  /v1/logs?event=ID                       records kept in memory, one a line; without an event the newest
//   GET  /v1/log-level, PUT /v1/log-level?level=debug
class Api final : public http::Application {
 public:
  // Serves `listen_fd`, which it borrows, until it is destroyed.
  Api(Parts parts, int listen_fd, Access access);
  ~Api();

  void on_request(http::Stream& stream) override;
  void on_body(http::Stream& stream, std::string_view chunk, bool end) override;
  void on_writable(http::Stream& stream) override;
  void on_gone(http::Stream& stream, const Error& why) override;

 private:
  bool admin_route(http::Stream& stream);
  bool control_route(http::Stream& stream);
  void list_functions(http::Stream& stream);
  void deploy(http::Stream& stream, std::string_view name, std::string_view digest);
  void deployed(uint64_t ticket, const std::string& digest, const Result<void>& result);
  void invoke(http::Stream& stream, std::string_view name);
  void logs(http::Stream& stream);
  void log_level(http::Stream& stream);

  Parts parts_;
  Access access_;
  trigger::http::ExchangePool exchanges_;
  std::vector<std::unique_ptr<trigger::http::Route>> routes_;       // one for each function that was invoked
  std::vector<std::pair<uint64_t, http::Stream*>> deployments_;     // that a client waits for
  uint64_t tickets_ = 0;
  std::string text_;  // of the response that is being made
  http::Server server_;
};

}  // namespace kaon::server
