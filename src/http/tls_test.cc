#include "http/tls.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "http/server_rig.h"

namespace kaon::http {
namespace {

std::string output(const std::string& command) {
  std::string text;
  FILE* pipe = popen(("timeout 20 " + command + " 2>&1").c_str(), "r");
  char buffer[4096];
  for (size_t n; pipe && (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  if (pipe) pclose(pipe);
  return text;
}

class Tls : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/kaon_tls_XXXXXX";
    folder_ = mkdtemp(name);
    make("cert.pem", "key.pem");
  }
  void TearDown() override { output("rm -r " + folder_); }
  void make(const std::string& cert, const std::string& key) {
    output("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext "
           "subjectAltName=DNS:localhost -keyout " + folder_ + "/" + key + " -out " + folder_ + "/" + cert);
  }
  Result<std::unique_ptr<TlsContext>> load(const std::string& cert = "cert.pem", const std::string& key = "key.pem") {
    return load_tls(KAON_BUILD_DIR "/lib/kaon", folder_ + "/" + cert, folder_ + "/" + key);
  }
  std::string curl(const Rig& rig, const std::string& path, const std::string& flags = "") {
    std::string port = std::to_string(rig.port());
    return output("curl -sS --http1.1 --cacert " + folder_ + "/cert.pem --resolve localhost:" + port + ":127.0.0.1 " + flags +
                  " https://localhost:" + port + path);
  }
  std::string folder_;
};

TEST_F(Tls, Curl) {
  auto context = load();
  ASSERT_TRUE(context) << context.error().message;
  Rig rig(ServerOptions{}, context->get());
  std::string who = curl(rig, "/who?x", "-w ' %{http_version} %{ssl_verify_result}'");
  EXPECT_TRUE(who.starts_with("GET /who x 127.0.0.1:") && who.ends_with(" tls 1.1 0")) << who;
  EXPECT_NE(curl(rig, "/who", "-v").find("server accepted http/1.1"), std::string::npos);
  std::ofstream(folder_ + "/body") << std::string(3'000'000, 'b');
  for (const char* path : {"/echo", "/duplex"}) {
    EXPECT_EQ(output("rm -f " + folder_ + "/back"), "");
    EXPECT_EQ(curl(rig, path, "--data-binary @" + folder_ + "/body -o " + folder_ + "/back"), "");
    EXPECT_EQ(output("cmp " + folder_ + "/body " + folder_ + "/back"), "") << path;
  }
  EXPECT_EQ(curl(rig, "/big?20000000", "-o /dev/null -w '%{size_download}'"), "20000000");
  std::string port = std::to_string(rig.port());
  std::string old = output("curl -sS --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 -k https://127.0.0.1:" + port + "/who");
  EXPECT_NE(old.find("curl: ("), std::string::npos) << old;
  std::string plain = output("curl -sS --max-time 5 http://127.0.0.1:" + port + "/who");
  EXPECT_NE(plain.find("curl: ("), std::string::npos) << plain;
  std::string session = output("sh -c 'printf \"GET /who HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n\""
                               " | openssl s_client -quiet -alpn http/1.1 -connect 127.0.0.1:" + port + "'");
  EXPECT_NE(session.find("HTTP/1.1 200 OK"), std::string::npos) << session;
  std::string refused = output("sh -c 'openssl s_client -alpn h2 -connect 127.0.0.1:" + port + " </dev/null'");
  EXPECT_NE(refused.find("no application protocol"), std::string::npos) << refused;
  EXPECT_TRUE(eventually([&] { return rig.connections() == 0; }));
}

TEST_F(Tls, AHandshakeThatDoesNotEnd) {
  auto context = load();
  ASSERT_TRUE(context);
  Rig rig(ServerOptions{.header_timeout_ms = 100}, context->get());
  Client client(rig);
  client.send("\x16\x03\x01");
  EXPECT_EQ(client.read_all(), "");
  EXPECT_FALSE(client.timed_out);
}

TEST_F(Tls, ReloadsItsFiles) {
  auto context = load();
  ASSERT_TRUE(context);
  Rig rig(ServerOptions{}, context->get());
  make("cert.pem", "key.pem");
  EXPECT_NE(curl(rig, "/who").find("curl: ("), std::string::npos);
  std::ofstream(folder_ + "/broken") << "x";
  EXPECT_TRUE((*context)->reload());
  EXPECT_TRUE(curl(rig, "/who").starts_with("GET /who"));
}

TEST_F(Tls, SaysWhatIsWrong) {
  EXPECT_EQ(load("absent.pem").error().code, ErrorCode::kNotFound);
  std::ofstream(folder_ + "/text.pem") << "not a certificate";
  EXPECT_EQ(load("text.pem").error().code, ErrorCode::kInvalid);
  make("other.pem", "other_key.pem");
  auto mixed = load("cert.pem", "other_key.pem");
  ASSERT_FALSE(mixed);
  EXPECT_EQ(mixed.error().code, ErrorCode::kInvalid);
  output("openssl ec -aes128 -passout pass:x -in " + folder_ + "/key.pem -out " + folder_ + "/locked.pem");
  EXPECT_EQ(load("cert.pem", "locked.pem").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(load_tls("/nowhere", "a", "b").error().code, ErrorCode::kUnimplemented);
}

}  // namespace
}  // namespace kaon::http
