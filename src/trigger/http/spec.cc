#include "trigger/http/spec.h"

namespace kaon::trigger::http {
namespace {

using config::Field;
using config::Type;

constexpr Field kCorsFields[] = {
    {.key = "allow_origins", .type = Type::kStringList, .help = "Origins that may call; `*` for every one.", .required = true,
     .example = "[\"https://example.org\"]"},
    {.key = "allow_methods", .type = Type::kStringList, .help = "Methods that a preflight allows; the trigger's own when not given."},
    {.key = "allow_headers", .type = Type::kStringList, .help = "Request headers that a preflight allows.", .example = "[content-type]"},
    {.key = "expose_headers", .type = Type::kStringList, .help = "Response headers that a page's script may read."},
    {.key = "allow_credentials", .type = Type::kBoolean, .help = "Whether cookies and credentials may be sent; not with `*`.",
     .default_value = "false"},
    {.key = "max_age_s", .type = Type::kInteger, .help = "Seconds that a browser may remember a preflight.", .default_value = "600",
     .min = 0, .max = 86400},
};
constexpr config::Spec kCors = {"cors", "Cross-origin requests of browsers.", kCorsFields};

constexpr Field kTlsFields[] = {
    {.key = "certificate_file", .type = Type::kString, .help = "PEM file with the certificate chain.", .required = true,
     .example = "/etc/kaon/server.pem"},
    {.key = "key_file", .type = Type::kString, .help = "PEM file with the private key.", .required = true,
     .example = "/etc/kaon/server.key"},
};
constexpr config::Spec kTls = {"tls", "TLS from certificate files.", kTlsFields};

constexpr Field kFields[] = {
    {.key = "listen", .type = Type::kAddress, .help = "Where to listen: a port of loopback, host:port, [v6]:port or unix:/path.",
     .default_value = "127.0.0.1:8080", .example = "0.0.0.0:8080"},
    {.key = "path", .type = Type::kString,
     .help = "The path to answer; `{name}` is one segment, `{name...}` the rest.", .default_value = "/{path...}",
     .example = "/users/{id}"},
    {.key = "methods", .type = Type::kStringList, .help = "The methods to answer; all when not given.", .example = "[GET, POST]"},
    {.key = "max_body_bytes", .type = Type::kInteger, .help = "The largest request body; a larger one is answered 413.",
     .default_value = "67108864", .min = 0, .max = int64_t{1} << 40},
    {.key = "max_head_bytes", .type = Type::kInteger, .help = "The largest request head; a larger one is answered 431.",
     .default_value = "16384", .min = 1024, .max = 65536},
    {.key = "whole_body_bytes", .type = Type::kInteger,
     .help = "A body up to this size is read before the function is called; a larger one is streamed to it.",
     .default_value = "1048576", .min = 0, .max = int64_t{1} << 30},
    {.key = "header_timeout_ms", .type = Type::kInteger, .help = "From the first byte of a request to the end of its head.",
     .default_value = "10000", .min = 1, .max = 3'600'000},
    {.key = "body_timeout_ms", .type = Type::kInteger, .help = "Without a byte of a body that the function waits for.",
     .default_value = "30000", .min = 1, .max = 3'600'000},
    {.key = "idle_timeout_ms", .type = Type::kInteger, .help = "Between two requests of a connection.", .default_value = "75000",
     .min = 1, .max = 3'600'000},
    {.key = "write_timeout_ms", .type = Type::kInteger, .help = "Without the client taking a byte of the response.",
     .default_value = "30000", .min = 1, .max = 3'600'000},
    {.key = "max_connections", .type = Type::kInteger, .help = "Open connections of each loop; further ones are answered 503.",
     .default_value = "20000", .min = 1, .max = 1'000'000},
    {.key = "cors", .type = Type::kSection, .help = "Cross-origin requests of browsers; refused when not given.", .section = &kCors},
    {.key = "tls", .type = Type::kSection, .help = "TLS from certificate files; plain when not given.", .section = &kTls},
};

}  // namespace

const config::Spec& spec() {
  static constexpr config::Spec kSpec = {"http", "Requests of HTTP/1.1 clients, one event each.", kFields};
  return kSpec;
}

}  // namespace kaon::trigger::http
