#include "runtime/exec/worker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>

#include "keeper/keeper.h"
#include "runtime/component.h"

namespace kaon::runtime::exec {

const Component& component();

namespace {

using namespace std::string_literals;

struct Sink final : observe::Sink {
  void write(observe::Level, std::string_view line) override { text += line; }
  std::string text;
};

// A client that sends a body in pieces and takes, or does not take, the answer.
class Client final : public event::Exchange, public event::Call, public event::Call::Owner {
 public:
  using event::Exchange::event;

  Client() {
    event.id = "event-1";
    event.source = "/test";
    event.type = "test.happened";
    event.trigger = "web";
    event.method = "POST";
    event.path = "/a";
    open(*this, *this);
  }
  // The body comes in these pieces, by read_body.
  void stream(std::deque<std::string> pieces) {
    pieces_ = std::move(pieces);
    event.body_complete = false;
  }

  void read_body() override {
    ++reads;
    if (pieces_.empty()) {
      if (!open_ended) body_arrived({}, true);
      return;
    }
    std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    body_arrived(piece, pieces_.empty() && !open_ended);
    std::fill(piece.begin(), piece.end(), '!');  // the chunk was good until the return, and no longer
  }
  void respond(const event::ResponseHead& head, std::string_view text) override {
    take(head);
    body = text;
    responded = true;
  }
  void start(const event::ResponseHead& head) override {
    take(head);
    ++starts;
  }
  bool write(std::string_view chunk, bool end) override {
    body += chunk;
    ended = end;
    most_unread = std::max(most_unread, chunk.size());
    ++writes;
    return !slow;
  }
  void fail(const Error& why) override {
    error = why;
    failed = true;
  }
  void released() override {}
  void on_settled(event::Call&) override { ++settled_count; }
  void on_released(event::Call&) override { is_released = true; }

  void take(const event::ResponseHead& head) {
    status = head.status;
    content_type = head.content_type;
    for (const event::Header& header : head.headers) headers += std::string(header.name) + "=" + std::string(header.value) + ";";
    size = head.size;
  }

  int status = 0, starts = 0, writes = 0, reads = 0, settled_count = 0;
  std::string content_type, headers, body;
  std::optional<uint64_t> size;
  bool responded = false, ended = false, failed = false, is_released = false, slow = false, open_ended = false;
  size_t most_unread = 0;
  Error error;

 private:
  std::deque<std::string> pieces_;
};

class Exec : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);  // as every processor does
    auto keeper = keeper::fork_keeper();
    ASSERT_TRUE(keeper) << keeper.error().message;
    keeper_ = keeper->pid;
    loop_.emplace();
    spawner_.emplace(*loop_, std::move(keeper->client));
    char folder[] = "/tmp/kaon-exec-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    ASSERT_EQ(chmod(folder, 0755), 0);
    folder_ = folder;
    function_.name = "test";
    function_.runtime_settings = config::Settings::defaults(component().spec);
  }
  void TearDown() override {
    worker_.reset();
    runtime_.reset();
    spawner_.reset();
    if (loop_)
      for (int i = 0; i < 3; ++i) turn();
    loop_.reset();
    if (keeper_ > 0) waitpid(keeper_, nullptr, 0);
    for (const std::string& file : files_) unlink((folder_ + "/" + file).c_str());
    rmdir(folder_.c_str());
  }

  void turn() {
    loop::Timer wake(*loop_, [] {});
    wake.start_after(5 * kMillisecond);
    loop_->run_once();
  }
  bool until(const std::function<bool()>& done, Nanos within = 60 * kSecond) {
    Nanos end = monotonic_ns() + within;
    while (!done() && monotonic_ns() < end) turn();
    return done();
  }

  void file(const std::string& name, const std::string& text, mode_t mode = 0755) {
    std::ofstream(folder_ + "/" + name) << text;
    chmod((folder_ + "/" + name).c_str(), mode);
    files_.push_back(name);
  }

  void load(config::StringList command) {
    ASSERT_TRUE(function_.runtime_settings.set("command", command));
    if (function_.handler.empty()) function_.handler = command[0];
    observe::Log log(sink_, observe::Format::kJson, observe::Level::kDebug);
    auto runtime = component().load({function_, "v1", folder_, log});
    ASSERT_TRUE(runtime) << runtime.error().message;
    runtime_ = std::move(runtime).value();
    Home home{*loop_, *spawner_};
    auto worker = runtime_->start_worker(home);
    ASSERT_TRUE(worker) << worker.error().message;
    worker_ = std::move(worker).value();
  }
  void shell(const std::string& script) { load({"/bin/sh", "-c", script}); }

  // One event through the worker, to its release.
  void handle(Client& client) {
    worker_->handle(client);
    ASSERT_TRUE(until([&] { return client.is_released; })) << "the event is still there";
    EXPECT_EQ(client.settled_count, 1);
  }
  std::string output(const std::string& script, const std::string& body = {}) {
    shell(script);
    Client client;
    client.event.body = Bytes::copy(body);
    handle(client);
    EXPECT_FALSE(client.failed) << client.error.message;
    return client.body;
  }
  Error error_of(const std::string& script) {
    shell(script);
    Client client;
    handle(client);
    EXPECT_TRUE(client.failed);
    EXPECT_FALSE(client.ended || client.responded) << "a failure looks like a success";
    return client.error;
  }
  // Whether a process runs that has this word in its command line; `mark` makes one that is this test's own.
  static std::string mark(const std::string& seconds) { return seconds + "." + std::to_string(getpid()); }
  static bool any_process_with(const std::string& word) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::ifstream file(entry.path() / "cmdline");
      std::string text{std::istreambuf_iterator<char>(file), {}};
      if (text.find(word) != text.npos) return true;
    }
    return false;
  }

  pid_t keeper_ = -1;
  std::optional<loop::Loop> loop_;
  std::optional<Spawner> spawner_;
  std::string folder_;
  std::vector<std::string> files_;
  config::Function function_;
  std::shared_ptr<Sink> sink_ = std::make_shared<Sink>();
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<event::Worker> worker_;
};

TEST_F(Exec, TheBodyGoesInAndTheResultComesOut) {
  shell("tr a-z A-Z");
  Client client;
  client.event.body = Bytes::borrowed("hello");
  handle(client);
  EXPECT_TRUE(client.responded);
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(client.body, "HELLO");
  EXPECT_EQ(client.size, 5u);
}

TEST_F(Exec, OneWorkerServesOneEventAfterTheOther) {
  shell("cat");
  for (int i = 0; i < 20; ++i) {
    Client client;
    std::string body = "body " + std::to_string(i);
    client.event.body = Bytes::borrowed(body);
    handle(client);
    EXPECT_EQ(client.body, body) << client.error.message;
  }
}

TEST_F(Exec, ManyAtATime) {
  shell("sleep 0.05; cat");
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>());
    clients.back()->event.body = Bytes::copy("body " + std::to_string(i));
    worker_->handle(*clients.back());
  }
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(until([&] { return clients[static_cast<size_t>(i)]->is_released; }));
    EXPECT_EQ(clients[static_cast<size_t>(i)]->body, "body " + std::to_string(i));
  }
}

TEST_F(Exec, NoBodyIsAnEmptyInput) { EXPECT_EQ(output("wc -c"), "0\n"); }

TEST_F(Exec, RunsInTheFoldersReadOnlyFiles) {
  file("data", "from the folder", 0644);
  EXPECT_EQ(output("cat data; pwd"), "from the folder" + folder_ + "\n");
}

TEST_F(Exec, AProcessHasThreeDescriptors) { EXPECT_EQ(output("ls /proc/$$/fd"), "0\n1\n2\n"); }

TEST_F(Exec, TheEnvironmentIsTheContracts) {
  function_.environment = {{"MINE", "yes"}, {"CE_ID", "forged"}, {"KAON_FUNCTION", "forged"}};
  shell("env | sort");
  Client client;
  const event::Header extensions[] = {{"myext", "value"}, {"id", "forged"},    {"bad-name", "x"},  {"a=b", "x"},
                                      {"", "x"},          {"ld_preload", "y"}, {"MYEXT", "second"}};
  client.event.extensions = extensions;
  client.event.subject = "a b\nc";
  client.event.query = "x=1";
  client.event.traceparent = "00-1-2-01";
  client.event.deadline = monotonic_ns() + 100 * kSecond;
  handle(client);
  std::string text = client.body;
  size_t at = text.find("KAON_DEADLINE_MS=");
  ASSERT_NE(at, text.npos);
  EXPECT_GT(atoi(text.c_str() + at + 17), 90'000);
  text.erase(at, text.find('\n', at) - at + 1);
  if (size_t pwd = text.find("PWD="); pwd != text.npos) text.erase(pwd, text.find('\n', pwd) - pwd + 1);
  EXPECT_EQ(text,
            "CE_ID=event-1\nCE_LD_PRELOAD=y\nCE_MYEXT=value\nCE_SOURCE=/test\nCE_SPECVERSION=1.0\nCE_SUBJECT=a "
            "b\nCE_TYPE=test.happened\n"
            "KAON_ATTEMPT=1\nKAON_FUNCTION=test\nKAON_LOG_LEVEL=debug\nKAON_METHOD=POST\nKAON_PATH=/"
            "a\nKAON_QUERY=x=1\nKAON_TRIGGER=web\n"
            "KAON_VERSION=v1\nMINE=yes\nPATH=/usr/local/bin:/usr/bin:/bin\nTRACEPARENT=00-1-2-01\nc\n");
}

TEST_F(Exec, AnEnvironmentThatIsTooLargeIsTheEventsFault) {
  shell("true");
  std::string large(65 << 10, 'x');
  Client client;
  client.event.subject = large;
  handle(client);
  EXPECT_EQ(client.error.code, ErrorCode::kInvalid);
  Client nul;
  nul.event.subject = std::string_view("a\0b", 3);
  handle(nul);
  EXPECT_EQ(nul.error.code, ErrorCode::kInvalid);
}

TEST_F(Exec, TemplatesBecomeSingleArguments) {
  load({"/bin/sh", "-c", "for a; do echo \"[$a]\"; done", "sh", "{{ subject }}", "--id={{ id }}", "{{header.X-Size}}",
        "{{ query.q }}", "{{ param.name }}"});
  Client client;
  const event::Header headers[] = {{"x-size", "$(id) `id` ; rm -rf / 'x' \"y\""}}, params[] = {{"name", "*"}};
  client.event.headers = headers;
  client.event.params = params;
  client.event.subject = "a b";
  client.event.query = "p=1&q=a%20%26+b&q=2";
  handle(client);
  EXPECT_EQ(client.body, "[a b]\n[--id=event-1]\n[$(id) `id` ; rm -rf / 'x' \"y\"]\n[a & b]\n[*]\n");
}

TEST_F(Exec, TemplatesCannotBecomeOptions) {
  load({"/bin/echo", "{{ subject }}"});
  for (std::string_view hostile : {"-n", "--version", "-", std::string_view("a\0b", 3).data()}) {
    Client client;
    client.event.subject = hostile;
    if (hostile == "a") client.event.subject = std::string_view("a\0b", 3);
    handle(client);
    EXPECT_TRUE(client.failed) << hostile;
    EXPECT_EQ(client.error.code, ErrorCode::kInvalid);
  }
  load({"/usr/bin/printf", "%s", "--", "{{ subject }}"});
  Client after;
  after.event.subject = "-n";
  handle(after);
  EXPECT_FALSE(after.failed) << after.error.message;
}

// --- exits ---

TEST_F(Exec, ExitCodesHaveTheirMeaning) {
  EXPECT_EQ(error_of("exit 75").code, ErrorCode::kOverloaded);
  EXPECT_EQ(error_of("exit 65").code, ErrorCode::kInvalid);
  Error error = error_of("echo partial; echo first >&2; echo 'it broke' >&2; exit 3");
  EXPECT_EQ(error.code, ErrorCode::kUserCode);
  EXPECT_EQ(error.message, "the function failed with exit code 3: it broke");
  error = error_of("kill -SEGV $$");
  EXPECT_EQ(error.code, ErrorCode::kUserCode);
  EXPECT_EQ(error.message, "the function was killed by SIGSEGV");
}

TEST_F(Exec, AMissingProgramIsAnErrorThatSaysSo) {
  load({"/no/such/program"});
  Client client;
  handle(client);
  EXPECT_EQ(client.error.code, ErrorCode::kUserCode);
  EXPECT_NE(client.error.message.find("cannot start /no/such/program: no such file"), std::string::npos);
}

TEST_F(Exec, OneThatNeverReadsIsNoError) {
  shell("echo done");
  Client client;
  client.event.body = Bytes::copy(std::string(300'000, 'x'));
  handle(client);
  EXPECT_EQ(client.body, "done\n");
  Client streaming;
  streaming.stream({std::string(60'000, 'a'), std::string(60'000, 'b'), std::string(60'000, 'c')});
  handle(streaming);
  EXPECT_EQ(streaming.body, "done\n");
}

TEST_F(Exec, OneThatNeverEndsIsKilledWithItsGroupAtTheDeadline) {
  shell("sleep " + mark("4321") + " & sleep " + mark("4321"));
  Client client;
  worker_->handle(client);
  ASSERT_TRUE(until([&] { return any_process_with(mark("4321")); }));
  client.expire({ErrorCode::kTimeout, "too late"});
  EXPECT_FALSE(client.is_released) << "its process still runs";
  ASSERT_TRUE(until([&] { return client.is_released; }));
  EXPECT_EQ(client.error.code, ErrorCode::kTimeout);
  EXPECT_TRUE(until([&] { return !any_process_with(mark("4321")); }));
}

TEST_F(Exec, AClientThatLeavesEndsTheProcess) {
  shell("cat >/dev/null; sleep " + mark("4322"));
  Client client;
  client.open_ended = true;
  client.stream({"half a body"});
  worker_->handle(client);
  ASSERT_TRUE(until([&] { return any_process_with(mark("4322")); }));
  client.abandon({ErrorCode::kCancelled, "gone"});
  ASSERT_TRUE(until([&] { return client.is_released; }));
  EXPECT_TRUE(until([&] { return !any_process_with(mark("4322")); }));
}

TEST_F(Exec, OneThatWritesForEverIsStreamedAndThenStopped) {
  ASSERT_TRUE(function_.runtime_settings.set("max_output_bytes", "3000000"));
  shell("yes");
  Client client;
  handle(client);
  EXPECT_TRUE(client.failed);
  EXPECT_FALSE(client.ended);
  EXPECT_EQ(client.starts, 1);
  EXPECT_GE(client.body.size(), 2'800'000u);
  EXPECT_LE(client.body.size(), 3'000'000u);
}

TEST_F(Exec, ABackloggedClientStopsTheProcess) {
  shell("yes");
  Client client;
  client.slow = true;
  worker_->handle(client);
  ASSERT_TRUE(until([&] { return client.starts == 1; }));
  size_t taken = client.body.size();
  until([] { return false; }, 100 * kMillisecond);
  EXPECT_EQ(client.body.size(), taken) << "it writes on although the client takes nothing";
  client.writable();
  ASSERT_TRUE(until([&] { return client.body.size() > taken; }));
  client.abandon({ErrorCode::kCancelled, "gone"});
  ASSERT_TRUE(until([&] { return client.is_released; }));
}

TEST_F(Exec, ALargeResultArrivesWholeEvenWhenTheClientIsSlow) {
  shell("head -c 1000000 /dev/zero");
  Client client;
  client.slow = true;
  worker_->handle(client);
  ASSERT_TRUE(until([&] {
    client.writable();
    return client.is_released;
  }));
  EXPECT_TRUE(client.ended);
  EXPECT_FALSE(client.failed);
  EXPECT_EQ(client.body.size(), 1'000'000u);
  EXPECT_EQ(client.status, 200);
}

TEST_F(Exec, ALargeResultOfAFailureIsNeverASuccess) {
  Error error = error_of("head -c 1000000 /dev/zero; exit 1");
  EXPECT_EQ(error.message, "the function failed with exit code 1");
  for (const char* script : {"head -c 100000 /dev/zero; kill -KILL $$", "head -c 10 /dev/zero; kill -KILL $$",
                             "head -c 65536 /dev/zero; exec >&-; sleep 0.05; exit 2"})
    EXPECT_EQ(error_of(script).code, ErrorCode::kUserCode) << script;
}

TEST_F(Exec, StandardOutputClosedEarlyIsNotYetASuccess) {
  EXPECT_EQ(error_of("echo all; exec >&-; sleep 0.1; exit 4").message, "the function failed with exit code 4");
  EXPECT_EQ(output("echo all; exec >&-; sleep 0.1; exit 0"), "all\n");
}

TEST_F(Exec, AGrandchildThatHoldsTheOutputIsNotWaitedFor) {
  Nanos before = monotonic_ns();
  EXPECT_EQ(output("(sleep " + mark("4323") + "; echo late) & echo early"), "early\n");
  EXPECT_LT(monotonic_ns() - before, 60 * kSecond);
  EXPECT_TRUE(until([&] { return !any_process_with(mark("4323")); }));
}

TEST_F(Exec, AStrayWriterOutsideTheGroupEndsNothing) {
  Nanos before = monotonic_ns();
  output("setsid timeout 90 yes & sleep 0.05; exit 0");  // it ends by SIGPIPE, now that nobody reads
  EXPECT_LT(monotonic_ns() - before, 80 * kSecond);
}

TEST_F(Exec, BodiesAreStreamedWhileTheResultIs) {
  shell("cat");
  Client client;
  std::deque<std::string> pieces;
  std::string all;
  for (int i = 0; i < 50; ++i) {
    pieces.push_back(std::string(20'000 + static_cast<size_t>(i) * 100, static_cast<char>('a' + i % 26)));
    all += pieces.back();
  }
  client.stream(pieces);
  handle(client);
  EXPECT_TRUE(client.ended);
  EXPECT_TRUE(client.body == all) << client.body.size() << " of " << all.size();
  EXPECT_LE(client.most_unread, Run::kBlock);
}

TEST_F(Exec, BodyIsOnlyAskedForAsFastAsItIsRead) {
  shell("sleep 0.2; cat | wc -c");
  Client client;
  client.stream(std::deque<std::string>(100, std::string(16'384, 'x')));
  worker_->handle(client);
  until([] { return false; }, 50 * kMillisecond);
  EXPECT_LE(client.reads, 6) << "the pipe holds four of them";
  ASSERT_TRUE(until([&] { return client.is_released; }));
  EXPECT_EQ(client.body, "1638400\n");
}

TEST_F(Exec, TheDestructorKillsWhatRuns) {
  shell("sleep " + mark("4324"));
  Client client;
  worker_->handle(client);
  ASSERT_TRUE(until([&] { return any_process_with(mark("4324")); }));
  worker_.reset();
  EXPECT_TRUE(until([&] { return !any_process_with(mark("4324")); }));
}

// --- output: headers ---

class Headers : public Exec {
 protected:
  void SetUp() override {
    Exec::SetUp();
    ASSERT_TRUE(function_.runtime_settings.set("output", "headers"));
  }
};

TEST_F(Headers, TheFunctionChoosesStatusAndHeaders) {
  shell("printf 'Status: 201 Created\\r\\nContent-Type: text/x\\r\\nX-One: 1\\nConnection: close\\n\\nbody\\n\\nmore'");
  Client client;
  handle(client);
  EXPECT_EQ(client.status, 201);
  EXPECT_EQ(client.content_type, "text/x");
  EXPECT_EQ(client.headers, "X-One=1;");
  EXPECT_EQ(client.body, "body\n\nmore");
}

TEST_F(Headers, AResponseBeginsWhenItsHeadIsThere) {
  shell("printf 'Status: 202\\n\\none'; cat >/dev/null; printf two");
  Client client;
  client.open_ended = true;
  client.stream({"x"});
  worker_->handle(client);
  ASSERT_TRUE(until([&] { return client.body == "one"; })) << "a result may begin before the input ends";
  EXPECT_EQ(client.starts, 1);
  client.open_ended = false;
  client.body_arrived({}, true);
  ASSERT_TRUE(until([&] { return client.is_released; }));
  EXPECT_EQ(client.body, "onetwo");
  EXPECT_TRUE(client.ended);
}

TEST_F(Headers, BadBlocksAreFailures) {
  for (const char* script :
       {"echo no header", "printf 'Status: 99\\n\\n'", "printf 'Status: 700\\n\\n'", "printf 'A: b\\001c\\n\\n'",
        "printf 'A: b\\rc\\n\\n'", "printf 'A: b\\000c\\n\\n'", "printf 'A b: c\\n\\n'", "printf 'A: b\\n'", "true",
        "printf ': x\\n\\n'", "printf ' A: x\\n\\n'", "head -c 100000 /dev/zero | tr '\\0' a",
        "for i in $(seq 70); do echo \"A$i: x\"; done; echo", "printf 'Content-Length: 5\\n\\nfour'",
        "printf 'Content-Length: 3\\n\\nfour'", "printf 'Content-Length: -1\\n\\n'",
        "printf 'Content-Length: 3\\n\\n'; sleep 0.05; printf four", "printf 'Content-Length: 5\\n\\n'; sleep 0.05; printf four"})
    EXPECT_EQ(error_of(script).code, ErrorCode::kUserCode) << script;
}

TEST_F(Headers, AFailureAfterTheHeadIsVisible) {
  shell("printf 'Status: 200\\n\\nhalf'; sleep 0.05; exit 1");
  Client client;
  handle(client);
  EXPECT_EQ(client.starts, 1);
  EXPECT_TRUE(client.failed);
  EXPECT_FALSE(client.ended);
}

// --- the log ---

TEST_F(Exec, StandardErrorIsTheLog) {
  output(
      "echo plain >&2; echo '{\"level\":\"error\",\"msg\":\"structured\",\"size\":42,\"nested\":{\"a\":[1]}}' >&2; printf 'no "
      "newline' >&2");
  EXPECT_NE(sink_->text.find("\"message\":\"plain\""), std::string::npos) << sink_->text;
  EXPECT_NE(sink_->text.find("\"level\":\"error\",\"message\":\"structured\""), std::string::npos) << sink_->text;
  EXPECT_NE(sink_->text.find("\"size\":42"), std::string::npos) << sink_->text;
  EXPECT_NE(sink_->text.find("no newline"), std::string::npos);
  EXPECT_NE(sink_->text.find("\"event\":\"event-1\""), std::string::npos);
}

TEST_F(Exec, AFloodOfLogLinesIsLimited) {
  output("seq 30000 >&2; head -c 50000 /dev/zero | tr '\\0' x >&2");
  size_t lines = static_cast<size_t>(std::count(sink_->text.begin(), sink_->text.end(), '\n'));
  EXPECT_GE(lines, 1000u);
  EXPECT_LT(lines, 4000u);
  EXPECT_NE(sink_->text.find("the rest was left out"), std::string::npos);
}

// --- building ---

class Build : public Exec {
 protected:
  Result<void> build(config::StringList command, std::string handler = {}) {
    function_.handler = std::move(handler);
    EXPECT_TRUE(function_.runtime_settings.set("command", std::move(command)));
    BuildContext context{function_, folder_, folder_, folder_};
    return component().build(context);
  }
  std::string problem(config::StringList command, std::string handler = {}) {
    auto built = build(std::move(command), std::move(handler));
    return built ? "" : built.error().message;
  }
};

TEST_F(Build, FindsThePrograms) {
  file("run.sh", "#!/bin/sh\necho hi\n");
  ASSERT_TRUE(build({"sh", "-c", "true"}));
  EXPECT_TRUE(function_.handler.starts_with('/') && function_.handler.ends_with("/sh")) << function_.handler;
  ASSERT_TRUE(build({}, "run.sh"));
  EXPECT_EQ(function_.handler, "./run.sh");
  EXPECT_EQ(function_.runtime_settings.list("command"), config::StringList{"run.sh"});
  load(function_.runtime_settings.list("command"));
  Client client;
  handle(client);
  EXPECT_EQ(client.body, "hi\n");
  ASSERT_TRUE(build({"./run.sh", "{{ subject }}"}));
  EXPECT_EQ(function_.handler, "./run.sh");
}

TEST_F(Build, SaysWhatIsMissing) {
  file("run.sh", "#!/bin/sh\n", 0644);
  file("tool", "#!/bin/sh\n");
  EXPECT_EQ(problem({"./run.sh"}), "`./run.sh` is not executable; chmod +x it");
  EXPECT_EQ(problem({"./absent"}), "no file `./absent` in the function's folder to execute");
  EXPECT_EQ(problem({"no-such-tool-here"}),
            "command: no program `no-such-tool-here` in PATH; install it, or write a path that begins with `./` for a file of "
            "the function");
  EXPECT_EQ(problem({"tool"}),
            "command: no program `tool` in PATH; for the file of that name in the function's folder write `./tool`");
  EXPECT_NE(problem({}).find("needs a `command`"), std::string::npos);
  EXPECT_NE(problem({"sh"}, "tool").find("write one of them"), std::string::npos);
  EXPECT_EQ(problem({"sh", "{{ subjct }}"}),
            "command: unknown template {{ subjct }} in `{{ subjct }}`; did you mean {{ subject }}?");
  EXPECT_EQ(problem({"sh", "a{{ b"}), "command: `{{` without `}}` in `a{{ b`");
  EXPECT_EQ(problem({"{{ subject }}"}), "command: the program itself cannot come from the event: `{{ subject }}`");
}

TEST_F(Build, RecognisesProgramsAndScripts) {
  file("script", "#!/bin/sh\n");
  file("plain", "#!/bin/sh\n", 0644);
  file("text", "hello\n");
  file("lib.so", "\177ELF\n");
  EXPECT_TRUE(component().recognises(folder_ + "/script"));
  EXPECT_TRUE(component().recognises("/bin/cat"));
  EXPECT_FALSE(component().recognises(folder_ + "/plain"));
  EXPECT_FALSE(component().recognises(folder_ + "/text"));
  EXPECT_FALSE(component().recognises(folder_ + "/lib.so"));
  EXPECT_FALSE(component().recognises(folder_));
  EXPECT_FALSE(component().recognises(folder_ + "/absent"));
}

// --- lines ---

TEST(LogLine, TakesObjectsApartAndLeavesTheRest) {
  LogLine line;
  parse_log_line(R"({"severity":"WARN","message":"a\u00e9\n\ud83d\ude00","n":1.5,"t":true,"s":"x","o":{"a":"}"},"z":null})",
                 line);
  EXPECT_EQ(line.level, observe::Level::kWarning);
  EXPECT_EQ(line.message, "aé\n😀");
  ASSERT_EQ(line.fields.size(), 5u);
  EXPECT_EQ(std::get<double>(line.fields[0].value), 1.5);
  EXPECT_EQ(std::get<bool>(line.fields[1].value), true);
  EXPECT_EQ(std::get<std::string_view>(line.fields[3].value), "{\"a\":\"}\"}");
  for (const char* text : {"{", "{}x", "{\"a\"}", "{\"a\":}", "{\"a\":\"\\q\"}", "{\"a\":\"\\ud800\"}", "{\"a\":1,}", "{a:1}",
                           "{\"a\":[}", "plain", "{\"a\":\"b"}) {
    parse_log_line(text, line);
    EXPECT_EQ(line.message, text);
    EXPECT_TRUE(line.fields.empty());
  }
}

}  // namespace
}  // namespace kaon::runtime::exec
