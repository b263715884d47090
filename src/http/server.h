#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "http/message.h"
#include "http/parser.h"
#include "loop/loop.h"

namespace kaon::http {

class Connection;
class Server;
struct ServerState;
class Stream;
class TlsContext;

// What the server's user implements. All calls are on the server's loop. A call may use its stream in any way, `release`
// included; it must not destroy the server. Nothing is called for a stream that has been released. Nothing is called from
// inside a call of a stream, but for on_body of the same stream from `read_body`.
class Application {
 public:
  // A request. The body is complete, or `read_body` asks for the rest. The stream is the application's until `release`.
  virtual void on_request(Stream& stream) = 0;
  // The answer to one `read_body`, possibly before that returns. The chunk is good until the return, and may be empty
  // only when `end` is set.
  virtual void on_body(Stream& stream, std::string_view chunk, bool end) = 0;
  // `write` has answered false, and there is room again.
  virtual void on_writable(Stream& stream) = 0;
  // The client left, broke the protocol in its body, or a time-out of the connection passed, before the response was
  // complete: kDisconnected, kInvalid or kTimeout. Once, and nothing else comes; the stream still needs its `release`.
  virtual void on_gone(Stream& stream, const Error& why) = 0;

 protected:
  ~Application() = default;
};

// One request and its response. Pooled by its server; lives until `release`, also when the client has gone, and so do
// the views of `request` and `body`. Responding to a client that has gone does nothing. Home loop only.
class Stream : private ListNode<Stream> {
 public:
  const Request& request() const { return request_; }

  // What had arrived of the body when on_request was called, contiguous. A copy of the Bytes outlives the stream.
  const Bytes& body() const { return body_; }
  // Whether that is all of it.
  bool body_complete() const { return body_complete_; }
  // Asks for one on_body: no byte is read from the client before. Sends 100 Continue where it is expected and the
  // response has not begun. One at a time; asking after the end, or after the complete response, is ignored.
  void read_body();

  // The whole response. Nothing is kept: head and body may be reused after the return. A status outside 200…599 becomes
  // 500. `headers` may not speak for the connection: Connection, Keep-Alive, Content-Length, Transfer-Encoding, Trailer,
  // Upgrade, Date and Server are dropped, as is what `valid_header` refuses (counted in ServerStats). HEAD, 204 and 304
  // send no body. An empty content type sends none, unless `headers` have it.
  void respond(int status, std::string_view content_type, std::span<const Header> headers, std::string_view body);

  // The response in pieces: its head, then `write` until `end`. Without `size` the body is chunked (HTTP/1.1) or ends
  // with the connection (1.0). More or fewer bytes than `size` reset the connection.
  void start(int status, std::string_view content_type, std::span<const Header> headers, std::optional<uint64_t> size);
  // Takes the chunk in any case; the memory may be reused. False: more than 256 KiB wait for the client, on_writable
  // comes. The response is complete with `end`.
  bool write(std::string_view chunk, bool end);
  bool started() const { return started_; }

  // Breaks the connection (TCP RST), so that what was sent cannot be taken for a complete response. No on_gone.
  void reset();

  // The last touch. Without a complete response it resets the connection.
  void release();

  // The client's address: "127.0.0.1:5000", "[::1]:5000", "unix"; empty when the client had gone before the first call.
  std::string_view remote();
  bool tls() const { return tls_; }

  void* user = nullptr;  // the application's own; null in on_request

 private:
  friend class Connection;
  friend struct ServerState;
  friend class kaon::List<Stream>;
  explicit Stream(ServerState& server) : server_(&server) {}
  ~Stream() = default;
  ServerState* server_;               // null: destroyed before the release
  Connection* connection_ = nullptr;  // null: gone, or the response is complete
  Stream* next_free_ = nullptr;
  HeadParser parser_;
  Request request_;
  Block* head_block_ = nullptr;  // a reference, as is the next
  Block* body_block_ = nullptr;
  Bytes body_;
  bool body_complete_ = false;
  bool started_ = false;
  bool tls_ = false;
  bool released_ = false;
  uint8_t remote_size_ = 0;
  char remote_[63];
};

struct ServerOptions {
  size_t max_head_bytes = 16 << 10;       // 431; at most 64 KiB
  size_t max_target_bytes = 8 << 10;      // 414
  uint64_t max_body_bytes = 64ull << 20;  // 413
  // A body whose Content-Length is at most this is complete when on_request is called.
  size_t whole_body_bytes = 1 << 20;
  int header_timeout_ms = 10'000;  // from the first byte of a request to the end of its head; also a TLS handshake
  int body_timeout_ms = 30'000;    // without a byte of a body that is wanted
  int idle_timeout_ms = 75'000;    // between requests
  int write_timeout_ms = 30'000;   // without the client taking a byte
  size_t max_connections = 20'000;  // further ones are answered 503 and closed
  // A client that has sent its FIN: TCP cannot tell one that only ended its half of the connection from one that has
  // left. True: it gets its answer, and only a reset, an error or a failed write is on_gone. False: a FIN while a
  // request is in flight is on_gone at once, as most servers have it.
  bool answer_half_closed = true;
  std::string server_name = "kaon";  // empty: no Server header
  // Asked for each new connection; false closes it without an answer, counted as refused. Null: every one may come.
  std::function<bool(int fd)> admit;
};

// Counts since the start; plain numbers of the home loop.
struct ServerStats {
  uint64_t accepted = 0;
  uint64_t refused = 0;           // over max_connections
  uint64_t accept_exhausted = 0;  // no descriptors or memory: one connection was dropped, intake paused for 100 ms
  uint64_t requests = 0;          // heads that were good
  uint64_t bad_requests = 0;      // answered by the server itself with a 4xx or 5xx
  uint64_t timeouts = 0;
  uint64_t gone = 0;              // on_gone
  uint64_t resets = 0;            // connections broken by us
  uint64_t dropped_headers = 0;   // of responses: invalid name or value
};

// An HTTP/1.1 server on one listening socket and one loop. Requests of a connection are handled one at a time, in order.
// A connection without a request in progress holds no buffer.
class Server {
 public:
  // Borrows all that it is given until it is destroyed; `tls` may be null. Begins to accept.
  Server(loop::Loop& loop, int listen_fd, Application& application, ServerOptions options, TlsContext* tls);
  ~Server();  // breaks what is open, without on_gone; a stream that is left only needs its release
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void stop_accepting();
  // Stops accepting, closes idle connections now and every other after its next response, which says so. Idempotent.
  void drain();

  size_t connections() const;
  const ServerStats& stats() const;

 private:
  std::unique_ptr<ServerState> state_;
};

}  // namespace kaon::http
