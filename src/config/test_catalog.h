#pragma once
#include "config/function.h"

// A small catalog with one field of every type, for this room's tests and its fuzz target.
namespace kaon::config::test {

inline constexpr std::string_view kOutputs[] = {"raw", "headers"};
inline constexpr std::string_view kMethods[] = {"GET", "POST"};
inline constexpr Field kExecFields[] = {
    {.key = "command", .type = Type::kStringList, .help = "The program and its arguments.", .required = true, .example = "[cat]"},
    {.key = "output", .type = Type::kChoice, .help = "What standard output holds.", .default_value = "raw", .choices = kOutputs},
};
inline constexpr Spec kExec = {"exec", "A process for each event.", kExecFields};

inline constexpr std::string_view kExecutions[] = {"pool", "inline"};
inline constexpr Field kNativeFields[] = {
    {.key = "execution", .type = Type::kChoice, .help = "Where a handler runs.", .default_value = "pool", .choices = kExecutions},
};
inline constexpr Spec kNative = {"native", "A shared library.", kNativeFields};

inline constexpr Field kTlsFields[] = {
    {.key = "certificate_file",
     .type = Type::kString,
     .help = "The certificate | chain.",
     .required = true,
     .example = "/etc/kaon/server.pem"},
    {.key = "key", .type = Type::kSecret, .help = "The private key.", .example = "{secret: web-key}"},
};
inline constexpr Spec kTls = {"tls", "TLS from certificate files.", kTlsFields};
inline constexpr Field kHttpFields[] = {
    {.key = "listen", .type = Type::kAddress, .help = "Where to listen.", .default_value = "8080"},
    {.key = "path", .type = Type::kString, .help = "The path to answer.", .default_value = "/{path...}"},
    {.key = "methods",
     .type = Type::kStringList,
     .help = "The methods to answer.",
     .default_value = "[GET, POST]",
     .choices = kMethods},
    {.key = "max_body_bytes",
     .type = Type::kInteger,
     .help = "The largest body.",
     .default_value = "1048576",
     .min = 0,
     .max = 1 << 30},
    {.key = "offset", .type = Type::kInteger, .help = "Any number."},
    {.key = "keep", .type = Type::kBoolean, .help = "Whether connections are kept.", .default_value = "true"},
    {.key = "headers", .type = Type::kStringMap, .help = "Further headers.", .default_value = "{\"a\": b}"},
    {.key = "tls", .type = Type::kSection, .help = "TLS; plain when not given.", .section = &kTls},
};
inline constexpr Spec kHttp = {"http", "Requests of HTTP/1.1 clients.", kHttpFields};

inline constexpr Entry kRuntimes[] = {{"exec", &kExec}, {"native", &kNative}};
inline constexpr Entry kTriggers[] = {{"http", &kHttp}};
inline constexpr Catalog kCatalog = {kRuntimes, kTriggers};

}  // namespace kaon::config::test
