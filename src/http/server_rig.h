#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "http/server.h"
#include "http/tls.h"
#include "loop/loop.h"

// For the tests of this room: a server in this process on a loop thread of its own, and clients on bare sockets.
namespace kaon::http {

// Answers by path:
//   /echo     the request's body, whole          /duplex   each chunk as it comes
//   /later    as /echo, 30 ms later              /big?n    n bytes, as the client takes them
//   /never    nothing                            /early    200 without reading the body
//   /short    5 of 100 bytes; /long 200 of 100   /leave    released without an answer
//   /inject   headers that must not get out      /status?n an empty answer with status n
//   /who      method, path, query, remote        /swallow  the count of the body's bytes, read in pieces
class TestApplication final : public Application {
 public:
  explicit TestApplication(loop::Loop& loop) : loop_(loop), later_(loop, [this] { answer_later(); }) {}
  ~TestApplication();

  void on_request(Stream& stream) override;
  void on_body(Stream& stream, std::string_view chunk, bool end) override;
  void on_writable(Stream& stream) override;
  void on_gone(Stream& stream, const Error& why) override;

  std::vector<std::string> gone;  // labels of on_gone's errors
  size_t largest_chunk = 0;

 private:
  struct Work {
    std::string path, collected;
    uint64_t left = 0, seen = 0;
    bool end = false;
  };
  void produce(Stream& stream, Work& work);
  void finish(Stream& stream);
  void answer_later();
  loop::Loop& loop_;
  loop::Timer later_;
  std::vector<Stream*> waiting_;
  std::map<Stream*, std::unique_ptr<Work>> works_;
};

class Rig {
 public:
  explicit Rig(ServerOptions options = {}, TlsContext* tls = nullptr);
  ~Rig();

  uint16_t port() const { return port_; }
  // On the loop's thread, while the caller waits.
  void run(const std::function<void()>& f);
  ServerStats stats();
  size_t connections();
  std::vector<std::string> gone();
  Server& server() { return *server_; }
  TestApplication& application() { return *application_; }
  std::thread::native_handle_type thread() { return thread_.native_handle(); }

 private:
  Fd listener_;
  uint16_t port_ = 0;
  std::unique_ptr<loop::Loop> loop_;
  std::unique_ptr<TestApplication> application_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

class Client {
 public:
  explicit Client(const Rig& rig);
  // False when the connection broke.
  bool send(std::string_view bytes);
  void end();   // FIN
  void reset();  // RST
  void close() { fd_.reset(); }
  // Until FIN, RST (`broken`) or 5 s (`timed_out`).
  std::string read_all();
  // At least `size` bytes, or what came in 5 s.
  std::string read(size_t size);
  // Up to and including the first `mark`.
  std::string read_until(std::string_view mark);
  // One response with a Content-Length.
  std::string read_response();
  int fd() const { return fd_.get(); }

  bool broken = false;
  bool timed_out = false;

 private:
  bool more(std::string& into);
  Fd fd_;
  std::string kept_;
};

// One exchange on a connection of its own: everything that comes back.
std::string talk(const Rig& rig, std::string_view input);
int status_of(std::string_view response);
std::string body_of(std::string_view response);  // chunked coding undone
bool eventually(const std::function<bool()>& condition);  // within 5 s

}  // namespace kaon::http
