#pragma once
#include <netinet/in.h>

#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/list.h"
#include "http/server.h"
#include "http/tls.h"
#include "loop/loop.h"

// The insides of Server; included by nobody outside this room.
namespace kaon::http {

struct OpenTag;
struct ResumeTag;

// Bytes that the socket did not take yet, in order. Small ones are copied together into shared blocks.
class SendQueue {
 public:
  explicit SendQueue(BlockPool& pool) : pool_(pool) {}
  ~SendQueue() { clear(); }
  SendQueue(const SendQueue&) = delete;
  SendQueue& operator=(const SendQueue&) = delete;

  bool empty() const { return bytes_ == 0; }
  size_t bytes() const { return bytes_; }
  void copy(std::string_view data);
  void share(Block* block, std::string_view data);  // takes a reference of its own
  // Sends what the socket takes; errno, or 0 also when it is full.
  int send(int fd);
  void clear();

 private:
  struct Segment {
    Block* block;
    const char* data;
    size_t size;
    bool own;  // the rest of the block is ours to fill
  };
  BlockPool& pool_;
  std::vector<Segment> segments_;
  size_t first_ = 0;
  size_t bytes_ = 0;
};

// One client. A state machine that is driven by its socket, its time-outs and its stream.
class Connection final : public loop::Watcher::Target,
                         public ListNode<Connection, OpenTag>,
                         public ListNode<Connection, ResumeTag> {
 public:
  Connection(ServerState& server, Fd fd, const sockaddr_storage& peer, std::unique_ptr<TlsSession> tls);
  ~Connection();

  void on_ready(int ready) override;
  void resume();  // from the server's message: what could not be done inside a call of the application
  void drain();
  void break_off();  // the server is destroyed

  // The stream's half.
  void read_body();
  void respond(int status, std::string_view content_type, std::span<const Header> headers, std::string_view body);
  void start(int status, std::string_view content_type, std::span<const Header> headers, std::optional<uint64_t> size);
  bool write(std::string_view chunk, bool end);
  void abort();
  size_t peer_text(char* out, size_t room) const;

 private:
  enum class Phase : uint8_t {
    kIdle,     // between requests
    kHead,     // a part of a head has arrived
    kWhole,    // the body is collected before the request is told
    kActive,   // the stream is the application's
    kDrain,    // answered; the rest of the body is thrown away
    kFlush,    // to be closed when everything is sent
    kLinger,   // our half is closed; the client's bytes are thrown away so that its kernel keeps our answer
  };
  enum class TimerKind : uint8_t { kNone, kIdle, kHead, kBody, kLinger, kProbe };
  enum class Got : uint8_t { kData, kNothing, kEnd };

  class Timer final : public loop::Timeout {
   public:
    explicit Timer(Connection& connection) : connection_(connection) {}
    void on_timeout() override { connection_.on_timeout(*this); }

   private:
    Connection& connection_;
  };

  // Every entry from outside runs between enter and leave; leave may destroy the connection.
  void enter() { inside_ = true; }
  void leave();
  void on_timeout(Timer& timer);
  void after_call();

  // Input.
  void on_input(bool may_dispatch);
  bool wants_input() const;
  Got receive();
  Got receive_raw(char* out, size_t room, size_t& count);
  void make_room();
  void peek();
  void on_hang_up();
  void pull();
  void on_end();
  void process(bool may_dispatch);
  bool parse_head();
  bool begin_request();
  bool begin_length();
  bool begin_chunked();
  bool collect_whole();
  void dispatch();
  bool deliver_body();
  bool discard_body();
  size_t input_size() const { return in_end_ - in_begin_; }
  char* input() const { return in_->data() + in_begin_; }
  void drop_input();

  // Output.
  void put(std::string_view bytes);
  char* room_for(size_t bytes);
  void put_slowly(std::string_view bytes);  // with a flush, or for another connection than the last time
  void put_head(int status, std::string_view content_type, std::span<const Header> headers, std::optional<uint64_t> size);
  void put_body(std::string_view bytes, std::string_view tail);
  void send_continue();
  void flush();
  void send_wire(std::string_view a, std::string_view b, std::string_view c);
  void queue_rest(std::string_view bytes);
  void flush_tls();
  void on_room();
  bool may_keep(bool whole) const;
  void complete_response();
  void request_over();

  // The end.
  void refuse(int status, std::string_view problem);
  void fail(ErrorCode code, std::string_view why, int status = 0);
  void finish_failure();
  void begin_linger();
  void shut(bool reset);
  void settle();
  void arm(TimerKind kind);
  void watch();

  ServerState& server_;
  Fd fd_;
  std::optional<loop::Watcher> watcher_;
  std::unique_ptr<TlsSession> tls_;
  Timer read_timer_{*this};
  Timer write_timer_{*this};
  SendQueue queue_;
  sockaddr_in6 peer_;  // or a sockaddr_in; other families keep only the family

  Stream* stream_ = nullptr;  // of the request in progress; until kActive it is ours
  Block* in_ = nullptr;       // a reference
  size_t in_begin_ = 0, in_end_ = 0;
  size_t read_size_;          // of the next block: the last request would have fitted
  Block* whole_ = nullptr;  // a reference; the body under collection, unless it is collected in in_
  size_t whole_size_ = 0;

  ChunkedDecoder chunks_;
  uint64_t body_left_ = 0;  // of a Content-Length
  uint64_t body_seen_ = 0;
  uint64_t discarded_ = 0;
  std::optional<uint64_t> response_left_;
  std::string_view why_;
  ErrorCode why_code_ = ErrorCode::kInternal;
  int fail_status_ = 0;  // answered when the response has not begun
  int minor_version_ = 1;

  Phase phase_ = Phase::kIdle;
  TimerKind timer_kind_ = TimerKind::kNone;
  bool inside_ = false;          // an entry of ours is on the stack
  bool closed_ = false;          // no socket any more
  bool failed_ = false;          // to be shut when no call of the application is on the stack
  bool paused_ = false;          // bytes wait in the socket that nobody wants yet
  bool ended_ = false;           // the client's FIN was read
  bool hung_up_ = false;         // it waits behind bytes that nobody wants yet
  bool read_all_ = false;        // the socket gave less than there was room for
  bool handshaken_ = true;
  bool chunked_ = false;         // the request's body
  bool body_done_ = true;
  bool body_wanted_ = false;
  bool progress_ = false;        // of the body, since its time-out was started
  bool expecting_ = false;       // the client waits for 100 Continue
  bool keep_ = false;
  bool response_chunked_ = false;
  bool response_bodiless_ = false;
  bool writer_waits_ = false;
};

// What all connections of a server share.
struct ServerState final : loop::Watcher::Target {
  ServerState(loop::Loop& loop, int listen_fd, Application& application, ServerOptions options, TlsContext* tls);
  ~ServerState();

  void on_ready(int ready) override;  // of the listening socket
  bool accept_one();
  void exhausted();
  void refuse_connection(int fd);
  void stop_accepting();
  void schedule(Connection& connection);
  void resume_all();
  Stream* take_stream();
  void give_stream(Stream* stream);
  std::string_view common_headers();  // Server and Date
  bool valid_content_type(std::string_view type);  // an invalid one is counted as dropped

  // Bytes of `gather_owner` that are not sent yet; room for one input batch's answers.
  static constexpr size_t kGather = 64 << 10;
  static constexpr size_t kScratch = 17 << 10;  // a TLS record

  loop::Loop& loop;
  int listen_fd;
  Application& application;
  ServerOptions options;
  HeadLimits limits;
  TlsContext* tls;
  ServerStats stats;
  List<Connection, OpenTag> open;
  size_t open_count = 0;
  bool draining = false;

  std::unique_ptr<char[]> gather;
  size_t gathered = 0;
  Connection* gather_owner = nullptr;
  std::unique_ptr<char[]> scratch;

  loop::Timeouts head_timeouts, body_timeouts, idle_timeouts, write_timeouts, linger_timeouts, probe_timeouts;

 private:
  class Resumer;
  std::optional<loop::Watcher> watcher_;
  std::unique_ptr<loop::Timer> backoff_;
  Fd reserve_;
  List<Connection, ResumeTag> resume_;
  size_t resume_count_ = 0;
  Resumer* resumer_;
  Stream* free_streams_ = nullptr;
  size_t free_count_ = 0;
  std::string content_type_;  // the last valid one
  std::string common_;
  Nanos date_until_ = 0;
  List<Stream> streams_;    // those that are not free
};

}  // namespace kaon::http
