#include "config/address.h"

#include <gtest/gtest.h>

namespace kaon::config {
namespace {

TEST(Address, HasOneSpelling) {
  struct Case {
    std::string_view written, canonical;
  };
  for (auto [written, canonical] : {Case{"8080", "127.0.0.1:8080"},
                                    {":8080", "0.0.0.0:8080"},
                                    {"localhost:80", "127.0.0.1:80"},
                                    {"10.1.2.3:0", "10.1.2.3:0"},
                                    {"[::1]:443", "[::1]:443"},
                                    {"[0:0::0001]:443", "[::1]:443"},
                                    {"[::]:65535", "[::]:65535"},
                                    {"00080", "127.0.0.1:80"},
                                    {"unix:/run/a b:c", "unix:/run/a b:c"}}) {
    auto address = parse_address(written);
    ASSERT_TRUE(address) << written << ": " << address.error().message;
    EXPECT_EQ(address->text(), canonical);
    EXPECT_EQ(*parse_address(address->text()), *address);
  }
  EXPECT_EQ(parse_address("unix:/a")->kind, Address::Kind::kUnix);
  EXPECT_EQ(parse_address("[::1]:1")->host, "::1");
}

TEST(Address, RefusesTheRestBySaying) {
  struct Case {
    std::string_view written, message;
  };
  std::string_view forms = "write a port (8080), host:port (127.0.0.1:8080), [v6]:port ([::1]:8080) or unix:/path";
  for (auto [written, why] : {Case{"", forms},
                              {"web", forms},
                              {"127.0.0.1", forms},
                              {"a:", forms},
                              {":-1", forms},
                              {"8080 ", forms},
                              {"[::1]", forms},
                              {"99999", "a port is from 0 to 65535"},
                              {"000000080", forms},
                              {"example.org:80", "the host is an IP address or localhost; names are not looked up"},
                              {"127.1:80", "the host is an IP address or localhost; names are not looked up"},
                              {"::1:80", "an IPv6 address stands in brackets, as in [::1]:8080"},
                              {"[127.0.0.1]:80", "between the brackets stands an IPv6 address, as in [::1]:8080"},
                              {"[fe80::1%eth0]:80", "between the brackets stands an IPv6 address, as in [::1]:8080"},
                              {"[:80", "an IPv6 address stands in brackets, as in [::1]:8080"},
                              {"unix:", "the path after `unix:` must be absolute, as in unix:/run/kaon.sock"},
                              {"unix:run/a", "the path after `unix:` must be absolute, as in unix:/run/kaon.sock"},
                              {"unix:@a", "the path after `unix:` must be absolute, as in unix:/run/kaon.sock"}}) {
    auto address = parse_address(written);
    ASSERT_FALSE(address) << written;
    EXPECT_EQ(address.error().message, "`" + std::string(written) + "` is not an address: " + std::string(why));
  }
  EXPECT_TRUE(parse_address("unix:/" + std::string(106, 'a')));
  EXPECT_TRUE(
      parse_address("unix:/" + std::string(107, 'a')).error().message.ends_with("has at most 107 bytes, this one has 108"));
  EXPECT_FALSE(parse_address(std::string_view("127.0.0.1\0:80", 13)));
  EXPECT_FALSE(parse_address(std::string_view("unix:/a\0b", 9)));
}

}  // namespace
}  // namespace kaon::config
