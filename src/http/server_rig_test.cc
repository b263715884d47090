#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <future>

#include "base/check.h"
#include "base/text.h"
#include "http/server_rig.h"

namespace kaon::http {

TestApplication::~TestApplication() {
  while (!works_.empty()) finish(*works_.begin()->first);
}

void TestApplication::on_request(Stream& stream) {
  const Request& request = stream.request();
  // The hot path of the allocation test: nothing of this class's own is touched.
  if (request.path == "/echo" && stream.body_complete()) {
    stream.respond(200, "text/plain", {}, stream.body());
    stream.release();
    return;
  }
  auto& work = *(works_[&stream] = std::make_unique<Work>());
  work.path = request.path;
  work.left = parse_uint(request.query).value_or(0);
  if (request.path == "/echo" || request.path == "/later") {
    work.collected = stream.body().view();
    if (!stream.body_complete()) stream.read_body();
    else on_body(stream, {}, true);
  } else if (request.path == "/swallow") {
    work.seen = stream.body().size();
    if (!stream.body_complete()) stream.read_body();
    else on_body(stream, {}, true);
  } else if (request.path == "/duplex") {
    stream.start(200, "text/plain", {}, std::nullopt);
    on_body(stream, stream.body(), stream.body_complete());
  } else if (request.path == "/big") {
    stream.start(200, "text/plain", {}, work.left);
    produce(stream, work);
  } else if (request.path == "/early") {
    stream.respond(200, "text/plain", {}, "early\n");
    finish(stream);
  } else if (request.path == "/short" || request.path == "/long") {
    stream.start(200, "text/plain", {}, 100);
    stream.write(request.path == "/long" ? std::string(200, 'x') : "short", true);
    finish(stream);
  } else if (request.path == "/leave") {
    finish(stream);
  } else if (request.path == "/inject") {
    Header headers[] = {{"X-Good", "1"}, {"X-Bad", "a\r\nX-Evil: 1"}, {"X Evil", "1"}, {"Content-Length", "77"},
                        {"transfer-encoding", "chunked"}, {"Connection", "upgrade"}, {"Content-Type", "evil/evil"}};
    stream.respond(200, "text/plain", headers, "good");
    finish(stream);
  } else if (request.path == "/status") {
    stream.respond(static_cast<int>(work.left), "", {}, "body");
    finish(stream);
  } else if (request.path == "/who") {
    std::string text;
    for (std::string_view each : {request.method, request.path, request.query, stream.remote()}) text.append(each) += ' ';
    text += stream.tls() ? "tls" : "plain";
    stream.respond(200, "text/plain", {}, text);
    finish(stream);
  } else if (request.path != "/never") {
    stream.respond(404, "text/plain", {}, "no\n");
    finish(stream);
  }
}

void TestApplication::on_body(Stream& stream, std::string_view chunk, bool end) {
  Work& work = *works_.at(&stream);
  largest_chunk = std::max(largest_chunk, chunk.size());
  if (work.path == "/duplex") {
    work.end = end;
    bool room = stream.write(chunk, end);
    if (end) finish(stream);
    else if (room) stream.read_body();
  } else if (work.path == "/swallow") {
    work.seen += chunk.size();
    if (!end) return stream.read_body();
    stream.respond(200, "text/plain", {}, std::to_string(work.seen));
    finish(stream);
  } else {
    work.collected += chunk;
    if (!end) return stream.read_body();
    if (work.path == "/later") {
      waiting_.push_back(&stream);
      later_.start_after(30 * kMillisecond);
      return;
    }
    stream.respond(200, "text/plain", {}, work.collected);
    finish(stream);
  }
}

void TestApplication::produce(Stream& stream, Work& work) {
  static const std::string block(50'000, 'b');
  for (;;) {
    size_t size = std::min<uint64_t>(block.size(), work.left);
    work.left -= size;
    bool room = stream.write(std::string_view(block).substr(0, size), work.left == 0);
    if (work.left == 0) return finish(stream);
    if (!room) return;
  }
}

void TestApplication::on_writable(Stream& stream) {
  Work& work = *works_.at(&stream);
  if (work.path == "/big") produce(stream, work);
  else stream.read_body();
}

void TestApplication::on_gone(Stream& stream, const Error& why) {
  gone.emplace_back(error_row(why.code).label);
  finish(stream);
}

void TestApplication::finish(Stream& stream) {
  std::erase(waiting_, &stream);
  works_.erase(&stream);
  stream.release();
}

void TestApplication::answer_later() {
  for (Stream* stream : std::exchange(waiting_, {})) {
    stream->respond(200, "text/plain", {}, works_.at(stream)->collected);
    finish(*stream);
  }
}

Rig::Rig(ServerOptions options, TlsContext* tls) : listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  KAON_CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0, errno);
  KAON_CHECK(listen(listener_.get(), 1024) == 0, errno);
  getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  loop_ = std::make_unique<loop::Loop>();
  application_ = std::make_unique<TestApplication>(*loop_);
  server_ = std::make_unique<Server>(*loop_, listener_.get(), *application_, std::move(options), tls);
  thread_ = std::thread([this] { loop_->run(); });
}

Rig::~Rig() {
  run([&] { server_.reset(); application_.reset(); });
  loop_->stop();
  thread_.join();
}

void Rig::run(const std::function<void()>& f) {
  std::promise<void> done;
  loop_->post([&] {
    f();
    done.set_value();
  });
  done.get_future().wait();
}

ServerStats Rig::stats() {
  ServerStats copy;
  run([&] { copy = server_->stats(); });
  return copy;
}

size_t Rig::connections() {
  size_t count = 0;
  run([&] { count = server_->connections(); });
  return count;
}

std::vector<std::string> Rig::gone() {
  std::vector<std::string> copy;
  run([&] { copy = application_->gone; });
  return copy;
}

Client::Client(const Rig& rig) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(rig.port());
  timeval timeout{5, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  if (connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) broken = true;
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

void Client::end() { shutdown(fd_.get(), SHUT_WR); }

void Client::reset() {
  linger hard{1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  fd_.reset();
}

bool Client::more(std::string& into) {
  char buffer[65536];
  ssize_t count = recv(fd_.get(), buffer, sizeof buffer, 0);
  if (count < 0) (errno == EAGAIN ? timed_out : broken) = true;
  if (count > 0) into.append(buffer, static_cast<size_t>(count));
  return count > 0;
}

std::string Client::read_all() {
  std::string all = std::exchange(kept_, {});
  while (more(all)) {}
  return all;
}

std::string Client::read(size_t size) {
  while (kept_.size() < size && more(kept_)) {}
  std::string result = kept_.substr(0, size);
  kept_.erase(0, size);
  return result;
}

std::string Client::read_until(std::string_view mark) {
  size_t from = 0, at;
  while ((at = kept_.find(mark, from)) == std::string::npos) {
    from = kept_.size() < mark.size() ? 0 : kept_.size() - mark.size();
    if (!more(kept_)) return std::exchange(kept_, {});
  }
  return read(at + mark.size());
}

std::string Client::read_response() {
  size_t end;
  while ((end = kept_.find("\r\n\r\n")) == std::string::npos)
    if (!more(kept_)) return std::exchange(kept_, {});
  size_t length = kept_.find("Content-Length: ");
  size_t body = length < end ? std::stoul(kept_.substr(length + 16)) : 0;
  return read(end + 4 + body);
}

std::string talk(const Rig& rig, std::string_view input) {
  Client client(rig);
  client.send(input);
  std::string all = client.read_all();
  if (client.broken) all += "<reset>";
  if (client.timed_out) all += "<timeout>";
  return all;
}

int status_of(std::string_view response) {
  return response.starts_with("HTTP/1.1 ") ? std::atoi(std::string(response.substr(9, 3)).c_str()) : 0;
}

std::string body_of(std::string_view response) {
  size_t end = response.find("\r\n\r\n");
  if (end == response.npos) return "<no head>";
  std::string body(response.substr(end + 4));
  if (response.substr(0, end).find("Transfer-Encoding: chunked") == response.npos) return body;
  ChunkedDecoder decoder;
  auto step = decoder.decode(body.data(), body.size(), body.data(), body.size());
  return step.parse == Parse::kDone && step.consumed == body.size() ? body.substr(0, step.produced) : "<bad chunks>";
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace kaon::http
