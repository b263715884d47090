#include "http/cors.h"

#include <gtest/gtest.h>

namespace kaon::http {
namespace {

std::string show(const Cors::Answer& answer) {
  std::string text;
  for (const Header& each : answer.span()) text += std::string(each.name) + ": " + std::string(each.value) + "\n";
  return text;
}

Request request(std::string_view method, std::span<const Header> headers) {
  Request made;
  made.method = method;
  made.headers = headers;
  return made;
}

TEST(Cors, OneOrigin) {
  auto cors = Cors::make({.origins = {"https://a.example"},
                          .headers = {"X-Key", "Content-Type"},
                          .exposed_headers = {"X-Out"},
                          .credentials = true,
                          .max_age_s = 5});
  ASSERT_TRUE(cors);
  Header good[] = {{"Origin", "https://a.example"}, {"Access-Control-Request-Method", "PUT"}};
  EXPECT_TRUE(Cors::is_preflight(request("OPTIONS", good)));
  EXPECT_FALSE(Cors::is_preflight(request("PUT", good)));
  EXPECT_EQ(show(cors->preflight(request("OPTIONS", good), "GET, PUT")),
            "Vary: Origin\nAccess-Control-Allow-Origin: https://a.example\nAccess-Control-Allow-Credentials: true\n"
            "Access-Control-Allow-Methods: GET, PUT\n"
            "Access-Control-Allow-Headers: X-Key, Content-Type\nAccess-Control-Max-Age: 5\n");
  EXPECT_EQ(show(cors->response(request("PUT", good))),
            "Vary: Origin\nAccess-Control-Allow-Origin: https://a.example\nAccess-Control-Allow-Credentials: true\n"
            "Access-Control-Expose-Headers: X-Out\n");
  for (const char* other : {"https://a.example.evil", "http://a.example", "null", "https://a.example:444"}) {
    Header bad[] = {{"Origin", other}};
    EXPECT_EQ(show(cors->response(request("GET", bad))), "Vary: Origin\n") << other;
  }
}

TEST(Cors, EveryOriginAndNone) {
  auto cors = Cors::make({.origins = {"*"}, .headers = {"*"}});
  ASSERT_TRUE(cors);
  Header headers[] = {{"Origin", "https://b"},
                      {"Access-Control-Request-Method", "PUT"},
                      {"Access-Control-Request-Headers", "x-a, x-b"}};
  EXPECT_EQ(show(cors->preflight(request("OPTIONS", headers), "PUT")),
            "Access-Control-Allow-Origin: *\nAccess-Control-Allow-Methods: PUT\n"
            "Access-Control-Allow-Headers: x-a, x-b\nAccess-Control-Max-Age: 600\n");
  auto none = Cors::make({});
  EXPECT_EQ(show(none->response(request("GET", headers))), "");
  EXPECT_FALSE(Cors::make({.origins = {"*"}, .credentials = true}));
  EXPECT_FALSE(Cors::make({.origins = {"a.example"}}));
  EXPECT_FALSE(Cors::make({.origins = {"https://a/path"}}));
  EXPECT_FALSE(Cors::make({.origins = {"https://a"}, .methods = {"A B"}}));
}

}  // namespace
}  // namespace kaon::http
