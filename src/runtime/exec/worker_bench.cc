// A process start through worker and keeper, against a bare spawn and wait of the same program by the same process.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <vector>

#include "keeper/keeper.h"
#include "runtime/component.h"
#include "runtime/spawner.h"

namespace kaon::runtime::exec {

const Component& component();

namespace {

struct Quiet final : observe::Sink {
  void write(observe::Level, std::string_view) override {}
};

class Client final : public event::Exchange, public event::Call, public event::Call::Owner {
 public:
  using event::Exchange::event;
  Client() {
    event.id = "id";
    event.source = "/bench";
    event.type = "bench";
    open(*this, *this);
  }
  void read_body() override {}
  void respond(const event::ResponseHead&, std::string_view body) override { good = body == "ok\n"; }
  void start(const event::ResponseHead&) override {}
  bool write(std::string_view, bool) override { return true; }
  void fail(const Error&) override {}
  void released() override {}
  void on_settled(event::Call&) override {}
  void on_released(event::Call&) override { over = true; }
  bool good = false, over = false;
};

void report(benchmark::State& state, std::vector<Nanos>& times) {
  std::sort(times.begin(), times.end());
  auto at = [&](double part) {
    return static_cast<double>(times[static_cast<size_t>(part * static_cast<double>(times.size() - 1))]) / kMicrosecond;
  };
  state.counters["p50_us"] = at(0.5);
  state.counters["p99_us"] = at(0.99);
}

void bare_spawn(benchmark::State& state) {
  std::vector<Nanos> times;
  char* const arguments[] = {const_cast<char*>(KAON_EXEC_GUEST), nullptr};
  char* const environment[] = {const_cast<char*>("PATH=/usr/bin:/bin"), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  for (auto _ : state) {
    Nanos begin = monotonic_ns();
    pid_t pid;
    int status;
    if (posix_spawn(&pid, arguments[0], &actions, nullptr, arguments, environment) != 0 || waitpid(pid, &status, 0) != pid ||
        status != 0)
      state.SkipWithError("the program did not run");
    times.push_back(monotonic_ns() - begin);
  }
  posix_spawn_file_actions_destroy(&actions);
  report(state, times);
}
BENCHMARK(bare_spawn)->UseRealTime();

void exec_call(benchmark::State& state) {
  signal(SIGPIPE, SIG_IGN);
  auto keeper = keeper::fork_keeper();
  if (!keeper) return state.SkipWithError("no keeper");
  pid_t pid = keeper->pid;
  std::vector<Nanos> times;
  {
    loop::Loop loop;
    Spawner spawner(loop, std::move(keeper->client));
    config::Function function;
    function.name = "bench";
    function.handler = KAON_EXEC_GUEST;
    function.runtime_settings = config::Settings::defaults(component().spec);
    bool set = function.runtime_settings.set("command", config::StringList{"guest"}).has_value();
    observe::Log log(std::make_shared<Quiet>(), observe::Format::kJson, observe::Level::kError);
    auto runtime = component().load({function, "v", "/", log});
    Home home{loop, spawner};
    auto worker = (*runtime)->start_worker(home);
    for (auto _ : state) {
      Nanos begin = monotonic_ns();
      Client client;
      (*worker)->handle(client);
      while (!client.over) loop.run_once();
      if (!set || !client.good) state.SkipWithError("the program did not run");
      times.push_back(monotonic_ns() - begin);
    }
    (*worker).reset();
  }
  waitpid(pid, nullptr, 0);
  report(state, times);
}
BENCHMARK(exec_call)->UseRealTime();

}  // namespace
}  // namespace kaon::runtime::exec
