#include "config/settings.h"

#include <gtest/gtest.h>

#include "config/test_catalog.h"

namespace kaon::config {
namespace {

std::string refusal(Settings& settings, std::string_view key, std::string_view text) {
  Settings before = settings;
  auto result = settings.set(key, text);
  EXPECT_TRUE(settings == before);
  return result ? "" : result.error().message;
}

TEST(Settings, AreFilledWithDefaults) {
  Settings settings = Settings::defaults(test::kHttp);
  EXPECT_EQ(settings.text("listen"), "127.0.0.1:8080");
  EXPECT_EQ(settings.text("path"), "/{path...}");
  EXPECT_EQ(settings.list("methods"), (StringList{"GET", "POST"}));
  EXPECT_EQ(settings.integer("max_body_bytes"), 1048576);
  EXPECT_EQ(settings.map("headers"), (StringMap{{"a", "b"}}));
  EXPECT_TRUE(settings.flag("keep"));
  EXPECT_FALSE(settings.has("offset"));
  EXPECT_EQ(settings.integer("offset"), 0);
  EXPECT_FALSE(settings.has("tls"));
  EXPECT_EQ(settings.section("tls"), nullptr);
}

TEST(Settings, AskingForWhatTheSpecLacksIsABug) {
  Settings settings = Settings::defaults(test::kHttp);
  EXPECT_THROW((void)settings.has("lisen"), CheckFailure);
  EXPECT_THROW((void)settings.text("lisen"), CheckFailure);
  EXPECT_THROW((void)settings.integer("listen"), CheckFailure);
  EXPECT_THROW((void)settings.secret_name("path"), CheckFailure);
  EXPECT_THROW((void)Settings().has("a"), CheckFailure);
}

TEST(Settings, ABadDefaultIsABug) {
  static constexpr Field kBad[] = {{.key = "size_bytes", .type = Type::kInteger, .help = "", .default_value = "0", .min = 1}};
  EXPECT_THROW((void)Settings::defaults(Spec{"bad", "", kBad}), CheckFailure);
}

TEST(Settings, AreSetByText) {
  Settings settings = Settings::defaults(test::kHttp);
  ASSERT_TRUE(settings.set("listen", ":9000"));
  ASSERT_TRUE(settings.set("path", ""));
  ASSERT_TRUE(settings.set("methods", "POST"));
  ASSERT_TRUE(settings.set("offset", "-5"));
  ASSERT_TRUE(settings.set("keep", "false"));
  ASSERT_TRUE(settings.set("headers", "x=1,y=a=b"));
  ASSERT_TRUE(settings.set("tls.key", "web-key"));
  ASSERT_TRUE(settings.set("tls.certificate_file", "/a.pem"));
  EXPECT_EQ(settings.text("listen"), "0.0.0.0:9000");
  EXPECT_TRUE(settings.has("path"));
  EXPECT_EQ(settings.text("path"), "");
  EXPECT_EQ(settings.list("methods"), StringList{"POST"});
  EXPECT_EQ(settings.integer("offset"), -5);
  EXPECT_FALSE(settings.flag("keep"));
  EXPECT_EQ(settings.map("headers"), (StringMap{{"x", "1"}, {"y", "a=b"}}));
  EXPECT_EQ(settings.section("tls")->secret_name("key"), "web-key");
  EXPECT_EQ(settings.section("tls")->text("certificate_file"), "/a.pem");
  ASSERT_TRUE(settings.set("methods", StringList{}));
  EXPECT_TRUE(settings.has("methods"));
}

TEST(Settings, RefuseAndStayAsTheyWere) {
  Settings settings = Settings::defaults(test::kHttp);
  EXPECT_EQ(refusal(settings, "lisen", "1"), "unknown key `lisen`, did you mean `listen`?");
  EXPECT_EQ(refusal(settings, "max_body_bytes", "-1"), "`max_body_bytes` is -1: it must be from 0 to 1073741824 bytes");
  EXPECT_EQ(refusal(settings, "max_body_bytes", "1 MB"), "`max_body_bytes` must be an integer, found `1 MB`");
  EXPECT_EQ(refusal(settings, "offset", "9223372036854775808"),
            "`offset` is `9223372036854775808`: it does not fit into 64 bits");
  EXPECT_EQ(refusal(settings, "keep", "yes"), "`keep` must be true or false, found `yes`");
  EXPECT_EQ(refusal(settings, "methods", "GET,PUT"), "`methods` must hold only `GET` or `POST`, found `PUT`");
  EXPECT_EQ(refusal(settings, "listen", "web"),
            "`listen` must be an address: `web` is not an address: write a port (8080), host:port (127.0.0.1:8080), [v6]:port "
            "([::1]:8080) or unix:/path");
  EXPECT_EQ(refusal(settings, "headers", "x"), "`headers` must be name=value, separated by commas, found `x`");
  EXPECT_EQ(refusal(settings, "tls", "on"), "`tls` is a section: set one of its keys, as in tls.certificate_file");
  EXPECT_EQ(refusal(settings, "tls.cert", "on"), "unknown key `cert`");
  EXPECT_EQ(refusal(settings, "path.x", "on"), "`path` must be text: it has no keys of its own");
  EXPECT_EQ(refusal(settings, "path", std::string_view("a\0b", 3)), "`path` holds a NUL byte");
  EXPECT_EQ(refusal(settings, "tls.key", "hunter 2"),
            "`key` must be the name of a secret: 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit");
  Settings none;
  EXPECT_EQ(refusal(none, "a", "1"), "unknown key `a`: there are no keys here");
}

TEST(Settings, AreValues) {
  Settings a = Settings::defaults(test::kHttp);
  ASSERT_TRUE(a.set("tls.key", "k"));
  Settings b = a;
  EXPECT_TRUE(a == b);
  ASSERT_TRUE(b.set("tls.key", "other"));
  EXPECT_FALSE(a == b);
  EXPECT_EQ(a.section("tls")->secret_name("key"), "k");
}

TEST(Settings, SecretNames) {
  for (std::string_view good : {"a", "A9", "thumbs-s3", "a.b_c"}) EXPECT_TRUE(is_secret_name(good)) << good;
  for (std::string_view bad : {"", ".", "..", "-a", "a/b", "a b", "ä", "../x"}) EXPECT_FALSE(is_secret_name(bad)) << bad;
  EXPECT_TRUE(is_secret_name(std::string(64, 'a')));
  EXPECT_FALSE(is_secret_name(std::string(65, 'a')));
}

}  // namespace
}  // namespace kaon::config
