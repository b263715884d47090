#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/stage.h"
#include "cli/watch.h"
#include "keeper/keeper.h"
#include "observe/ring_sink.h"
#include "processor/processor.h"
#include "runtime/spawner.h"
#include "server/api.h"

namespace kaon::cli {
namespace {

constexpr size_t kMaxConfiguration = 1 << 20;

struct Job {
  const Parts& parts;
  const RunOptions& options;
  pid_t keeper;
};

// --- the stager ---

Result<void> stage_and_commit(const Job& job, keeper::StageContext& context) {
  KAON_TRY(Stager stager, Stager::open(job.parts, job.options));
  KAON_TRY(artifact::Version version, stager.stage());
  KAON_TRY(Plan plan, stager.plan(version, job.keeper));
  std::vector<keeper::ListenRequest> requests;
  for (const std::string& address : plan.addresses) {
    KAON_TRY(keeper::ListenRequest request, listen_request(address, plan.loops));
    requests.push_back(request);
  }
  KAON_TRY(keeper::ListenRequest control, keeper::unix_request(plan.control, 64));
  control.unix_owner_only = 1;
  requests.push_back(control);
  if (!plan.admin.empty()) {
    KAON_TRY(keeper::ListenRequest admin, listen_request(plan.admin, 1));
    requests.push_back(admin);
  }
  KAON_TRY_VOID(context.commit(plan.write(), requests));
  if (!job.options.watch) return {};
  return watch(stager, version.id, plan.control);
}

int stage(keeper::StageContext& context) {
  auto result = stage_and_commit(*static_cast<Job*>(context.user), context);
  return result ? 0 : report(result.error());
}

// --- the processor ---

Result<config::Function> read_version(const Parts& parts, const Plan& plan, std::string_view name, std::string_view id,
                                      std::string& folder) {
  KAON_TRY(artifact::Store store, artifact::Store::open(plan.store));
  KAON_TRY(artifact::Version version, store.find(name, id));
  folder = version.path;
  std::string file = folder + "/" + kSealedConfiguration;
  KAON_TRY(std::string text, read_file(file, kMaxConfiguration));
  return config::parse_function(text, file, parts.catalog());
}

// Ten thousand connections are ten thousand descriptors; the soft limit is there for programs that use select().
void allow_all_descriptors() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

class Node {
 public:
  static Result<int> run(const Job& job, keeper::ProcessorStart& start) {
    KAON_TRY(Plan plan, Plan::read(start.blob));
    KAON_TRY(observe::Level level, observe::parse_level(plan.log_level));
    allow_all_descriptors();
    KAON_TRY_VOID(keeper::drop_privileges(start.identity));
    Node node(job, start, std::move(plan), level);
    return node.serve();
  }

 private:
  Node(const Job& job, keeper::ProcessorStart& start, Plan plan, observe::Level level)
      : job_(job),
        start_(start),
        plan_(std::move(plan)),
        ring_(std::make_shared<observe::RingSink>()),
        log_(observe::make_tee_sink({observe::make_fd_sink(2), ring_}),
             plan_.log_format == "json" ? observe::Format::kJson : observe::Format::kText, level),
        registry_(static_cast<int>(plan_.loops)),
        families_(registry_) {
    observe::declare_process_metrics(registry_);
  }

  Result<int> serve() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before there are threads, which inherit it
    Fd signal_fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signal_fd) return errno_error("watch signals", errno);

    processor::Processor processor(loops(), job_.parts.runtimes, job_.parts.triggers, registry_, families_, log_);
    processor_ = &processor;
    server::Parts parts{processor, registry_, *ring_, log_, [this](std::string_view name, std::string_view id, std::string& folder) {
                          return read_version(job_.parts, plan_, name, id, folder);
                        },
                        plan_.owner};
    size_t triggers = plan_.addresses.size();
    server::Api control(parts, start_.listeners[triggers].sockets.front(), server::Access::kControl);
    std::unique_ptr<server::Api> admin;
    if (!plan_.admin.empty())
      admin = std::make_unique<server::Api>(parts, start_.listeners[triggers + 1].sockets.front(), server::Access::kAdmin);
    Stop stop(*this, signal_fd.get());
    loop::Watcher watcher(processor.home(), signal_fd.get(), stop);
    watcher.want(loop::kReadable);
    processor.home().post([this] { deploy(); });
    processor.run();
    if (processor.stuck()) {
      log_.write(observe::Level::kWarning, "a function did not stop; its process is ended with its event unanswered");
      _exit(exit_code_);
    }
    return exit_code_;
  }

  std::vector<processor::LoopParts> loops() {
    std::vector<processor::LoopParts> made;
    for (unsigned i = 0; i < plan_.loops; ++i) {
      auto loop = std::make_unique<loop::Loop>(static_cast<int>(i));
      auto spawner = std::make_unique<runtime::Spawner>(*loop, std::move(start_.channels[i]));
      auto listener = [this, i](std::string_view address) -> Result<int> {
        auto found = std::find(plan_.addresses.begin(), plan_.addresses.end(), address);
        if (found == plan_.addresses.end())
          return Error{ErrorCode::kUnimplemented, "a new address, " + std::string(address) + ", takes a restart of `kaon run`"};
        const std::vector<int>& sockets = start_.listeners[static_cast<size_t>(found - plan_.addresses.begin())].sockets;
        return sockets[i % sockets.size()];
      };
      made.push_back({std::move(loop), std::move(spawner), std::move(listener)});
    }
    return made;
  }

  void deploy() {
    std::string folder;
    auto function = read_version(job_.parts, plan_, plan_.function, plan_.version, folder);
    if (!function) {
      fail(function.error());
      return;
    }
    config::Isolation isolation = function->isolation;
    std::string runtime = function->runtime;
    processor_->deploy(std::move(function).value(), plan_.version, std::move(folder), [this, isolation, runtime](Result<void> deployed) {
      if (!deployed) {
        fail(deployed.error());
        return;
      }
      if (start_.restarts == 0) announce(isolation, runtime);
      (void)processor_->shard(0).home().spawner.client().ready();
    });
  }

  // What a person sees first. Nothing is sandboxed yet, and that is the first thing to know.
  void announce(config::Isolation isolation, const std::string& runtime) {
    std::string text = "kaon: " + plan_.function + " (" + runtime + ", version " + plan_.version +
                       ") is NOT sandboxed: isolation is none" +
                       (isolation == config::Isolation::kUnset ? ", the only kind in this version" : "") + "; run only code that you trust\n";
    for (const std::string& address : plan_.addresses) {
      bool unix_socket = address.starts_with("unix:");
      text += "kaon: listening on " + std::string(unix_socket ? "" : "http://") + address + "\n";
    }
    if (!plan_.admin.empty()) text += "kaon: health and metrics on http://" + plan_.admin + "/metrics\n";
    if (!plan_.addresses.empty() && !plan_.addresses.front().starts_with("unix:"))
      text += "kaon: try: curl --data-binary 'hello' http://" + plan_.addresses.front() + "/\n";
    fputs(text.c_str(), stderr);
  }

  void fail(const Error& error) {
    exit_code_ = report(error);
    processor_->shut_down(0);
  }

  struct Stop final : loop::Watcher::Target {
    Stop(Node& node, int fd) : node(node), fd(fd) {}
    void on_ready(int) override {
      signalfd_siginfo info;
      while (::read(fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {}
      node.processor_->shut_down(monotonic_ns() + node.plan_.drain_ms * kMillisecond);
    }
    Node& node;
    int fd;
  };

  const Job& job_;
  keeper::ProcessorStart& start_;
  Plan plan_;
  std::shared_ptr<observe::RingSink> ring_;
  observe::Log log_;
  observe::Registry registry_;
  observe::Families families_;
  processor::Processor* processor_ = nullptr;
  int exit_code_ = 0;
};

int process(keeper::ProcessorStart& start) {
  auto result = Node::run(*static_cast<Job*>(start.user), start);
  return result ? *result : report(result.error());
}

}  // namespace

int run(const Parts& parts, const RunOptions& options) {
  Job job{parts, options, getpid()};
  keeper::KeeperOptions keeper;
  keeper.stage = stage;
  keeper.user = &job;
  keeper.channels = options.loops ? options.loops : std::clamp(std::thread::hardware_concurrency(), 1u, 64u);
  return keeper::run_keeper(keeper, process);
}

}  // namespace kaon::cli
