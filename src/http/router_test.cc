#include "http/router.h"

#include <gtest/gtest.h>

namespace kaon::http {
namespace {

int targets[16];

std::string show(const Router& router, std::string_view method, std::string_view path) {
  Router::Match match = router.find(method, path);
  std::string text = std::to_string(match.status);
  if (match.target) text += " #" + std::to_string(static_cast<int*>(match.target) - targets);
  for (const Header& each : match.parameters()) text += " " + std::string(each.name) + "=" + std::string(each.value);
  if (!match.target && !match.allow.empty()) text += " [" + std::string(match.allow) + "]";
  return text;
}

TEST(Router, FindsByMethodAndPath) {
  Router router;
  ASSERT_TRUE(router.add("GET", "/", &targets[0]));
  ASSERT_TRUE(router.add("GET", "/users/{id}", &targets[1]));
  ASSERT_TRUE(router.add("POST", "/users/{id}", &targets[2]));
  ASSERT_TRUE(router.add("GET", "/users/me", &targets[3]));
  ASSERT_TRUE(router.add("GET", "/users/{id}/files/{rest...}", &targets[4]));
  ASSERT_TRUE(router.add("", "/any/{x}/{y}", &targets[5]));
  ASSERT_TRUE(router.add("HEAD", "/any/{x}/{y}", &targets[6]));
  ASSERT_TRUE(router.add("PUT", "/tail/", &targets[7]));
  EXPECT_EQ(show(router, "GET", "/"), "200 #0");
  EXPECT_EQ(show(router, "HEAD", "/"), "200 #0");
  EXPECT_EQ(show(router, "GET", "/users/7"), "200 #1 id=7");
  EXPECT_EQ(show(router, "POST", "/users/7"), "200 #2 id=7");
  EXPECT_EQ(show(router, "GET", "/users/me"), "200 #3");
  EXPECT_EQ(show(router, "POST", "/users/me"), "200 #2 id=me");  // the literal has no POST
  EXPECT_EQ(show(router, "GET", "/users/me/files/a/b"), "200 #4 id=me rest=a/b");
  EXPECT_EQ(show(router, "GET", "/users/7/files/"), "200 #4 id=7 rest=");
  EXPECT_EQ(show(router, "GET", "/users/7/files"), "200 #4 id=7 rest=");
  EXPECT_EQ(show(router, "DELETE", "/any/1/2"), "200 #5 x=1 y=2");
  EXPECT_EQ(show(router, "HEAD", "/any/1/2"), "200 #6 x=1 y=2");
  EXPECT_EQ(show(router, "DELETE", "/users/7"), "405 [GET, POST, HEAD, OPTIONS]");
  EXPECT_EQ(show(router, "OPTIONS", "/users/7"), "204 [GET, POST, HEAD, OPTIONS]");
  EXPECT_EQ(show(router, "GET", "/users/"), "404");
  EXPECT_EQ(show(router, "GET", "/users//files/x"), "404");
  EXPECT_EQ(show(router, "GET", "/tail"), "404");
  EXPECT_EQ(show(router, "PUT", "/tail/"), "200 #7");
  EXPECT_EQ(show(router, "GET", "*"), "404");
  EXPECT_EQ(show(router, "GET", ""), "404");
  router.remove(&targets[1]);
  EXPECT_EQ(show(router, "GET", "/users/7"), "405 [POST, OPTIONS]");
}

TEST(Router, RefusesConflictsAndBadPatterns) {
  Router router;
  ASSERT_TRUE(router.add("GET", "/a/{x}", &targets[0]));
  EXPECT_EQ(router.add("POST", "/a/{y}", &targets[1]).error().message, "route /a/{y}: it matches the same paths as /a/{x}");
  EXPECT_EQ(router.add("GET", "/a/{x}", &targets[1]).error().message, "route /a/{x}: the method GET is taken");
  ASSERT_TRUE(router.add("", "/a/{x}", &targets[1]));
  EXPECT_EQ(router.add("", "/a/{x}", &targets[1]).error().message, "route /a/{x}: every method is taken");
  for (const char* bad : {"", "a", "/{", "/a{b}", "/{}", "/{a-b}", "/{x...}/y", "/{x}/{x}", "/a b", "/a?b", "/\xc3\xa9"})
    EXPECT_FALSE(router.add("GET", bad, &targets[2])) << bad;
  EXPECT_FALSE(router.add("GE T", "/x", &targets[2]));
  std::string many;
  for (int i = 0; i < 17; ++i) many += "/{p" + std::to_string(i) + "}";
  EXPECT_FALSE(router.add("GET", many, &targets[2]));
}

}  // namespace
}  // namespace kaon::http
