#include "keeper/listen.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/testing.h"

namespace kaon::keeper {
namespace {

using namespace std::string_literals;
using namespace testing_support;

ListenRequest any_port() {
  ListenRequest request{};
  auto& address = reinterpret_cast<sockaddr_in&>(request.address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  request.length = sizeof address;
  request.backlog = 16;
  request.copies = 1;
  return request;
}

TEST(Listen, UnixSocketsAreTheOwnersAndReplaceStaleOnes) {
  char folder[] = "/tmp/kaon-listen-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  std::string path = folder + "/socket"s;
  auto request = unix_request(path, 16);
  ASSERT_TRUE(request);
  {
    auto first = open_listener(*request);
    ASSERT_TRUE(first) << first.error().message;
    struct stat status;
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    auto second = open_listener(*request);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message, "unix:" + path + " is in use; another process serves it");
  }
  auto again = open_listener(*request);
  EXPECT_TRUE(again) << again.error().message;
  unlink(path.c_str());
  std::ofstream(path) << "precious";
  auto file = open_listener(*request);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message, path + " exists and is not a socket; choose another path");
  EXPECT_EQ(read_file(path), "precious");
  unlink(path.c_str());
  rmdir(folder);
}

TEST(Listen, RefusesMalformedRequests) {
  ListenRequest request = any_port();
  request.copies = 0;
  EXPECT_FALSE(open_listener(request));
  request = any_port();
  request.length = 4;
  EXPECT_FALSE(open_listener(request));
  request.length = 4000;
  EXPECT_FALSE(open_listener(request));
  request = any_port();
  request.address.ss_family = AF_PACKET;
  EXPECT_FALSE(open_listener(request));
  EXPECT_FALSE(unix_request(std::string(200, 'x'), 1));
}

TEST(Listen, Ipv6IsNotIpv4) {
  ListenRequest request{};
  auto& address = reinterpret_cast<sockaddr_in6&>(request.address);
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_any;
  request.length = sizeof address;
  request.backlog = 16;
  request.copies = 1;
  auto listener = open_listener(request);
  if (!listener && listener.error().message.find("not supported") != std::string::npos) GTEST_SKIP() << listener.error().message;
  ASSERT_TRUE(listener) << listener.error().message;
  sockaddr_in6 bound{};
  socklen_t length = sizeof bound;
  getsockname(listener->sockets[0].get(), reinterpret_cast<sockaddr*>(&bound), &length);
  ListenRequest v4 = any_port();
  reinterpret_cast<sockaddr_in&>(v4.address).sin_port = bound.sin6_port;
  Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_NE(connect(client.get(), reinterpret_cast<sockaddr*>(&v4.address), v4.length), 0);
}

}  // namespace
}  // namespace kaon::keeper
