#include "secret/secret.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <type_traits>

#include "secret/resolve.h"

namespace kaon::secret {
namespace {

template <typename T>
concept Streams = requires(std::ostream& out, const T& value) {
  out << value;
};
static_assert(Streams<std::string> && !Streams<Secret>);
static_assert(fmt::is_formattable<std::string>::value && !fmt::is_formattable<Secret>::value);
static_assert(!std::is_convertible_v<Secret, std::string_view> && !std::is_convertible_v<Secret, std::string>);
static_assert(!std::is_constructible_v<std::string, Secret> && !std::is_constructible_v<std::string_view, Secret>);
static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);

TEST(Secret, MovesWithItsMemory) {
  Secret a = Secret::copy(std::string_view("a\0b", 3));
  const char* memory = a.reveal().data();
  Secret b = std::move(a);
  EXPECT_EQ(b.reveal().data(), memory);
  EXPECT_EQ(b.reveal(), std::string_view("a\0b", 3));
  EXPECT_TRUE(a.empty());
  Secret& self = b;
  b = std::move(self);
  EXPECT_EQ(b.reveal().size(), 3u);
  b = Secret::copy("c");
  EXPECT_EQ(b.reveal(), "c");
  EXPECT_TRUE(Secret().empty());
}

class Resolve : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/kaon_secret_test_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    clear();
  }
  void TearDown() override {
    clear();
    std::filesystem::remove_all(folder_);
  }
  static void clear() {
    for (const char* name : {"KAON_SECRET_DB_MAIN_1", "KAON_SECRETS_DIR", "CREDENTIALS_DIRECTORY"}) unsetenv(name);
  }
  std::string write(const std::string& name, std::string_view value, mode_t mode = 0600) {
    std::string path = folder_ + "/" + name;
    std::ofstream(path) << value;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }
  void use_folder() { setenv("KAON_SECRETS_DIR", folder_.c_str(), 1); }
  static std::string message(const Result<Secret>& result) { return result ? "found" : result.error().message; }

  std::string folder_;
};

constexpr std::string_view kName = "db-main.1";

TEST_F(Resolve, TriesThePlacesInOrder) {
  std::string credentials = folder_ + "/credentials";
  ASSERT_TRUE(std::filesystem::create_directory(credentials));
  write("credentials/db-main.1", "third");
  setenv("CREDENTIALS_DIRECTORY", credentials.c_str(), 1);
  EXPECT_EQ(resolve(kName)->reveal(), "third");
  use_folder();
  EXPECT_EQ(resolve(kName)->reveal(), "third");
  write("db-main.1", "second");
  EXPECT_EQ(resolve(kName)->reveal(), "second");
  setenv("KAON_SECRET_DB_MAIN_1", "first", 1);
  EXPECT_EQ(resolve(kName)->reveal(), "first");
}

TEST_F(Resolve, SaysWhereToPutIt) {
  auto missing = resolve(kName);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().message,
            "secret `db-main.1` was not found: set KAON_SECRET_DB_MAIN_1 in the environment, or put it into a file `db-main.1` "
            "in a folder that "
            "KAON_SECRETS_DIR names, or pass it as the systemd credential `db-main.1` (LoadCredential=)");
  use_folder();
  EXPECT_EQ(resolve(kName).error().message,
            "secret `db-main.1` was not found: set KAON_SECRET_DB_MAIN_1 in the environment, or put it into the file `" +
                folder_ + "/db-main.1`, or pass it as the systemd credential `db-main.1` (LoadCredential=)");
}

TEST_F(Resolve, TakesOneNewlineOff) {
  use_folder();
  for (auto [written, value] : {std::pair("a\n", "a"), {"a\r\n", "a"}, {"a\n\n", "a\n"}, {" a ", " a "}, {"a\r", "a\r"}}) {
    write("db-main.1", written);
    EXPECT_EQ(resolve(kName)->reveal(), value);
  }
}

TEST_F(Resolve, RefusesFilesThatEveryoneMayUse) {
  use_folder();
  std::string path = write("db-main.1", "a", 0644);
  auto refused = resolve(kName);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kDenied);
  EXPECT_EQ(refused.error().message, "the secret file `" + path + "` may be read by everyone (mode 0644): run chmod o= on it");
  write("db-main.1", "a", 0602);
  EXPECT_EQ(message(resolve(kName)), "the secret file `" + path + "` may be written by everyone (mode 0602): run chmod o= on it");
  write("db-main.1", "a", 0640);
  EXPECT_EQ(message(resolve(kName)), "found");
}

TEST_F(Resolve, RefusesWhatIsNoSecret) {
  use_folder();
  std::string path = write("db-main.1", "");
  EXPECT_EQ(message(resolve(kName)), "the secret file `" + path + "` is empty");
  write("db-main.1", "\n");
  EXPECT_EQ(message(resolve(kName)), "the secret file `" + path + "` is empty");
  write("db-main.1", std::string(kMaxSecretBytes, 'a'));
  EXPECT_EQ(message(resolve(kName)), "found");
  write("db-main.1", std::string(kMaxSecretBytes + 1, 'a'));
  EXPECT_EQ(message(resolve(kName)), "the secret file `" + path + "` is larger than 65536 bytes");
  ASSERT_EQ(unlink(path.c_str()), 0);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(message(resolve(kName)), "the secret file `" + path + "` is not a regular file");
  setenv("KAON_SECRET_DB_MAIN_1", "", 1);
  EXPECT_EQ(message(resolve(kName)), "the secret in KAON_SECRET_DB_MAIN_1 is empty: set it, or unset the variable");
}

TEST_F(Resolve, TakesNoPathForAName) {
  use_folder();
  for (std::string_view name : {"../a", "/etc/passwd", "a/b", "..", "", "a\n"}) {
    auto refused = resolve(name);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  }
  EXPECT_EQ(message(resolve("../a")),
            "`../a` is not a secret's name: 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit");
}

}  // namespace
}  // namespace kaon::secret
