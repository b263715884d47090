#include "config/docs.h"

#include <gtest/gtest.h>

#include "config/schema.h"
#include "config/test_catalog.h"

namespace kaon::config {
namespace {

TEST(ReferencePage, ShowsEveryKeyAndSection) {
  EXPECT_EQ(reference_page(test::kHttp, "http"),
            "# http\n\nRequests of HTTP/1.1 clients.\n\n"
            "| key | type | default | range | what it does |\n|---|---|---|---|---|\n"
            "| `listen` | address | `8080` |  | Where to listen. |\n"
            "| `path` | text | `/{path...}` |  | The path to answer. |\n"
            "| `methods` | list of `GET` or `POST` | `[GET, POST]` |  | The methods to answer. |\n"
            "| `max_body_bytes` | integer | `1048576` | 0 to 1073741824 bytes | The largest body. |\n"
            "| `offset` | integer |  |  | Any number. |\n"
            "| `keep` | `true` or `false` | `true` |  | Whether connections are kept. |\n"
            "| `headers` | mapping of names to texts | `{\"a\": b}` |  | Further headers. |\n"
            "| `tls` | section |  |  | TLS; plain when not given. |\n"
            "\n## `tls`\n\nTLS from certificate files.\n\n"
            "| key | type | default | range | what it does |\n|---|---|---|---|---|\n"
            "| `certificate_file` | text | **required** |  | The certificate \\| chain. |\n"
            "| `key` | `{secret: name}` |  |  | The private key. |\n"
            "\n## Example\n\n```yaml\ntls:\n  certificate_file: /etc/kaon/server.pem\n  key: {secret: web-key}\n```\n");
}

TEST(ReferencePage, TheExampleOfTheFunctionsFileParses) {
  std::string page = reference_page(function_spec(), "function.yaml");
  size_t start = page.find("```yaml\n") + 8;
  std::string example = page.substr(start, page.rfind("```") - start);
  auto function = parse_function(example, "example", test::kCatalog);
  EXPECT_TRUE(function) << function.error().message;
}

TEST(Schema, OfASmallCatalog) {
  static constexpr Field kFields[] = {
      {.key = "size_bytes", .type = Type::kInteger, .help = "Size.", .default_value = "1", .required = true, .min = 1}};
  static constexpr Spec kSpec = {"r", "R.", kFields};
  static constexpr Entry kRuntimes[] = {{"r", &kSpec}, {"native", &test::kNative}};
  std::string schema = function_schema({kRuntimes, test::kTriggers});
  auto holds = [&](std::string_view part) { EXPECT_NE(schema.find(part), std::string::npos) << part << "\n" << schema; };
  holds(R"({"$schema":"https://json-schema.org/draft/2020-12/schema","title":"function.yaml")");
  holds(
      R"("timeout_ms":{"description":"An event that takes longer has failed; a request may ask for less, never for more.","type":"integer","minimum":1,"maximum":86400000,"default":30000})");
  holds(R"("size_bytes":true,"execution":true},"required":["name","runtime"],"additionalProperties":false)");
  holds(
      R"({"if":{"properties":{"runtime":{"const":"r"}},"required":["runtime"]},"then":{"properties":{"size_bytes":{"description":"Size.","type":"integer","minimum":1,"default":1},"execution":false},"required":["size_bytes"]}})");
  holds(R"("then":{"$ref":"#/$defs/trigger.http"})");
  holds(
      R"("$defs":{"trigger.http":{"description":"Requests of HTTP/1.1 clients.","type":"object","properties":{"kind":{"const":"http"},"listen":)");
  EXPECT_EQ(schema.find("sandbox\":"), std::string::npos);
}

}  // namespace
}  // namespace kaon::config
