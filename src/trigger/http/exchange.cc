#include "trigger/http/exchange.h"

#include <cstring>

#include "base/json.h"
#include "base/text.h"

namespace kaon::trigger::http {
namespace {

constexpr std::string_view kDefaultContentType = "application/octet-stream";

bool is_attribute_header(std::string_view name) {
  return name.size() > 3 && (name[0] | 0x20) == 'c' && (name[1] | 0x20) == 'e' && name[2] == '-';
}

}  // namespace

void Exchange::open(kaon::http::Stream& stream, const Route& route) {
  stream_ = &stream;
  route_ = &route;
  stream.user = this;
  const kaon::http::Request& request = stream.request();
  event = event::Event{};
  event.source = route.source;
  event.type = "http.request";
  event.subject = request.path;
  event.method = request.method;
  event.path = request.path;
  event.query = request.query;
  event.headers = request.headers;
  event.params = params;
  event.body = stream.body();
  event.body_complete = stream.body_complete();
  event.body_size = request.chunked ? std::nullopt : std::optional<uint64_t>(request.content_length.value_or(0));
  event.time = pool_.time_text(time_);
  read_headers(request);
  if (event.id.empty()) event.id = pool_.next_id(id_);
  route.intake->offer(*this);
}

void Exchange::read_headers(const kaon::http::Request& request) {
  extensions_.clear();
  lower_.clear();
  bool cloud_event = false;
  size_t lower_size = 0;
  for (const kaon::Header& header : request.headers) {
    switch (header.name.size()) {
      case 12:
        if (equals_ignore_case(header.name, "content-type")) event.datacontenttype = header.value;
        break;
      case 11:
        if (equals_ignore_case(header.name, "traceparent")) event.traceparent = header.value;
        break;
      case 17:
        if (equals_ignore_case(header.name, "x-kaon-timeout-ms"))
          if (auto ms = parse_uint(header.value); ms && *ms < 1u << 30)
            event.deadline = pool_.now() + static_cast<Nanos>(*ms) * kMillisecond;
        break;
      default: break;
    }
    if (is_attribute_header(header.name)) {
      cloud_event |= equals_ignore_case(header.name, "ce-specversion") && header.value == "1.0";
      lower_size += header.name.size();
    }
  }
  if (!cloud_event) return;
  lower_.reserve(lower_size);  // views into it must stay
  for (const kaon::Header& header : request.headers)
    if (is_attribute_header(header.name)) take_attribute(header.name.substr(3), header.value);
  event.extensions = extensions_;
}

// CloudEvents 1.0, HTTP binding, binary mode. Values are taken as they are sent.
void Exchange::take_attribute(std::string_view name, std::string_view value) {
  size_t start = lower_.size();
  for (char c : name) lower_ += to_lower(c);
  std::string_view key = std::string_view(lower_).substr(start);
  if (key == "id") event.id = value;
  else if (key == "source") event.source = value;
  else if (key == "type") event.type = value;
  else if (key == "subject") event.subject = value;
  else if (key == "time") event.time = value;
  else if (key == "specversion" || key == "datacontenttype") return;
  else extensions_.push_back({key, value});
}

std::span<const event::Header> Exchange::response_headers(std::span<const event::Header> headers) {
  if (!route_->cors) return headers;
  auto answer = route_->cors->response(stream_->request());
  with_cors_.assign(headers.begin(), headers.end());
  with_cors_.insert(with_cors_.end(), answer.span().begin(), answer.span().end());
  return with_cors_;
}

void Exchange::respond(const event::ResponseHead& head, std::string_view body) {
  stream_->respond(head.status, head.content_type.empty() ? kDefaultContentType : head.content_type,
                   response_headers(head.headers), body);
}

void Exchange::start(const event::ResponseHead& head) {
  stream_->start(head.status, head.content_type.empty() ? kDefaultContentType : head.content_type,
                 response_headers(head.headers), head.size);
}

void Exchange::fail(const Error& error) {
  if (stream_->started()) {
    stream_->reset();
    return;
  }
  const ErrorRow& row = error_row(error.code);
  bool ours = error.code == ErrorCode::kUserCode || error.code == ErrorCode::kInternal;
  std::string body;
  JsonWriter json(body);
  json.object().member("error", row.label);
  if (ours && !route_->expose_errors) json.member("message", "the function failed; its log says why");
  else json.member("message", std::string_view(error.message));
  json.member("id", event.id).end_object();
  body += '\n';
  const event::Header retry[] = {{"Retry-After", "1"}};
  bool later = error.code == ErrorCode::kOverloaded;
  stream_->respond(row.http_status, "application/json", response_headers(std::span(retry).first(later ? 1 : 0)), body);
}

void Exchange::released() {
  kaon::http::Stream* stream = stream_;
  stream_ = nullptr;
  event.body = {};
  stream->user = nullptr;
  pool_.give(*this);
  stream->release();  // may begin with the connection's next request
}

Exchange& ExchangePool::take() {
  if (free_.empty()) {
    all_.push_back(std::make_unique<Exchange>(*this));
    free_.reserve(all_.size());
    return *all_.back();
  }
  Exchange* exchange = free_.back();
  free_.pop_back();
  return *exchange;
}

std::string_view ExchangePool::time_text(char* out) {
  Nanos now = loop_.now();
  if (now >= time_end_) {
    Nanos wall = wall_ns();
    write_time(time_, wall);
    time_end_ = now + kMillisecond - wall % kMillisecond;
  }
  std::memcpy(out, time_, kTimeTextSize);
  return {out, kTimeTextSize};
}

}  // namespace kaon::trigger::http
