#pragma once
#include <memory>
#include <string>
#include <vector>

#include "http/cors.h"
#include "http/router.h"
#include "http/server.h"
#include "http/tls.h"
#include "trigger/component.h"
#include "trigger/http/exchange.h"

namespace kaon::trigger::http {

// One listening address on one loop: the server, and the routes of all triggers that share it. What the first trigger says
// of limits, time-outs and TLS holds for the address.
class Listener final : public kaon::http::Application {
 public:
  static Result<std::unique_ptr<Listener>> open(const Home& home, const config::Settings& settings, ExchangePool& exchanges);

  Result<void> add(const config::Trigger& trigger, event::Intake& intake);
  void remove(event::Intake& intake);
  void stop();
  bool drained() const { return server_->connections() == 0; }

  void on_request(kaon::http::Stream& stream) override;
  void on_body(kaon::http::Stream& stream, std::string_view chunk, bool end) override;
  void on_writable(kaon::http::Stream& stream) override;
  void on_gone(kaon::http::Stream& stream, const Error& why) override;

 private:
  Listener(ExchangePool& exchanges) : exchanges_(exchanges) {}
  void answer_itself(kaon::http::Stream& stream, const kaon::http::Router::Match& match, const Route* preflight);

  ExchangePool& exchanges_;
  kaon::http::Router router_;
  std::vector<std::unique_ptr<Route>> routes_;
  std::unique_ptr<kaon::http::TlsContext> tls_;
  std::unique_ptr<kaon::http::Server> server_;
};

class HttpHost final : public Host {
 public:
  explicit HttpHost(Home home);
  Result<void> add(const config::Trigger& trigger, event::Intake& intake) override;
  void remove(event::Intake& intake) override;
  void stop_intake() override;
  bool drained() const override;

 private:
  Home home_;
  ExchangePool exchanges_;
  struct Open {
    std::string address;
    std::unique_ptr<Listener> listener;
  };
  std::vector<Open> listeners_;
};

}  // namespace kaon::trigger::http
