#include "artifact/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "artifact/copy.h"
#include "artifact/tree.h"

namespace kaon::artifact {
namespace {

namespace fs = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/kaon-store-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    base_ = name;
    mkdir(source_path("").c_str(), 0755);
  }
  void TearDown() override {
    Fd parent(open("/tmp", O_RDONLY | O_DIRECTORY));
    EXPECT_TRUE(remove_tree(parent.get(), base_.substr(5)));
  }

  std::string store_path() const { return base_ + "/deep/er/store"; }
  std::string source_path(const std::string& name) const { return base_ + "/source" + (name.empty() ? "" : "/" + name); }
  void put(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    std::ofstream(source_path(name)) << text;
    ASSERT_EQ(chmod(source_path(name).c_str(), mode), 0);
  }
  static std::string get(const std::string& path) {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  static mode_t mode(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  }
  // The whole way: stage, copy, seal.
  Result<Version> make(const Store& store, const std::string& from, const CopyLimits& limits = {}) const {
    KAON_TRY(Staging staging, store.begin("f"));
    KAON_TRY_VOID(copy_tree(from, staging, limits));
    return store.seal(std::move(staging));
  }
  std::string refusal(const CopyLimits& limits = {}) const {
    auto store = Store::open(store_path());
    auto version = make(*store, source_path(""), limits);
    EXPECT_FALSE(version) << "should have been refused";
    if (version) return "";
    EXPECT_EQ(version.error().code, ErrorCode::kInvalid);
    EXPECT_TRUE(fs::is_empty(store_path() + "/versions/f")) << "nothing stays behind";
    return version.error().message;
  }

  std::string base_;
};

TEST_F(StoreTest, AVersionIsACopyThatCannotBeChanged) {
  put("handler", "#!/bin/sh\n", 06755);
  put("data.txt", "hello", 0600);
  put("empty", "");
  fs::create_directories(source_path("lib/inner"));
  put("lib/inner/x", std::string(300'000, 'x'));
  fs::create_symlink("../../data.txt", source_path("lib/inner/link"));
  mode_t old_mask = umask(0077);
  auto store = Store::open(store_path());
  ASSERT_TRUE(store) << store.error().message;
  auto version = make(*store, source_path(""));
  umask(old_mask);
  ASSERT_TRUE(version) << version.error().message;
  EXPECT_EQ(version->path, store_path() + "/versions/f/" + version->digest.substr(0, 12));
  EXPECT_EQ(mode(version->path), 0555u);
  EXPECT_EQ(mode(version->path + "/handler"), 0555u);
  EXPECT_EQ(mode(version->path + "/data.txt"), 0444u);
  EXPECT_EQ(mode(version->path + "/lib/inner"), 0555u);
  for (std::string path : {"/deep", "/deep/er", "/deep/er/store", "/deep/er/store/versions", "/deep/er/store/versions/f"}) {
    EXPECT_EQ(mode(base_ + path), 0755u) << path;
  }
  EXPECT_EQ(get(version->path + "/lib/inner/x").size(), 300'000u);
  EXPECT_EQ(get(version->path + "/lib/inner/link"), "hello");
  // Sources and versions are apart.
  put("data.txt", "changed");
  EXPECT_EQ(get(version->path + "/data.txt"), "hello");
  EXPECT_TRUE(geteuid() == 0 || access(version->path.c_str(), W_OK) != 0);
}

TEST_F(StoreTest, SameContentIsTheSameVersion) {
  put("a", "1");
  auto store = Store::open(store_path());
  auto one = make(*store, source_path(""));
  ASSERT_TRUE(one);
  fs::last_write_time(source_path("a"), fs::file_time_type::clock::now() - std::chrono::hours(5));
  auto two = make(*store, source_path(""));
  ASSERT_TRUE(two) << two.error().message;
  EXPECT_EQ(one->digest, two->digest);
  EXPECT_EQ(std::distance(fs::directory_iterator(store_path() + "/versions/f"), {}), 1) << "the second staging is gone";
}

TEST_F(StoreTest, EveryDifferenceIsAnotherVersion) {
  auto store = Store::open(store_path());
  std::set<std::string> seen;
  auto expect_new = [&](const char* what) {
    auto version = make(*store, source_path(""));
    ASSERT_TRUE(version) << version.error().message;
    EXPECT_TRUE(seen.insert(version->digest).second) << what;
  };
  expect_new("nothing");
  put("a", "1");
  expect_new("a file");
  put("a", "2");
  expect_new("bytes");
  put("a", "2", 0755);
  expect_new("mode");
  fs::rename(source_path("a"), source_path("b"));
  expect_new("name");
  put("c", "");
  expect_new("an empty file");
  fs::remove(source_path("c"));
  fs::create_directory(source_path("c"));
  expect_new("an empty folder");
  fs::remove(source_path("c"));
  fs::create_symlink("b", source_path("c"));
  expect_new("a link");
  fs::remove(source_path("c"));
  fs::create_symlink("./b", source_path("c"));
  expect_new("a link's target");
}

TEST_F(StoreTest, ADamagedVersionIsNotHandedOut) {
  put("a", "1");
  auto store = Store::open(store_path());
  auto version = make(*store, source_path(""));
  ASSERT_TRUE(version);
  chmod((version->path + "/a").c_str(), 0644);
  std::ofstream(version->path + "/a") << "2";
  chmod((version->path + "/a").c_str(), 0444);
  auto again = make(*store, source_path(""));
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("is not what it was"), std::string::npos);
  ASSERT_TRUE(store->remove("f", version->id));
  EXPECT_TRUE(make(*store, source_path("")));
}

TEST_F(StoreTest, ASingleFileKeepsItsName) {
  put("handler.so", "ELF", 0755);
  put("other", "");
  auto store = Store::open(store_path());
  auto version = make(*store, source_path("handler.so"));
  ASSERT_TRUE(version) << version.error().message;
  EXPECT_EQ(get(version->path + "/handler.so"), "ELF");
  EXPECT_EQ(mode(version->path + "/handler.so"), 0555u);
  EXPECT_FALSE(fs::exists(version->path + "/other"));
  EXPECT_EQ(make(*store, source_path("none")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(make(*store, "/dev/null").error().message, "\"/dev/null\" is a device: give a file or a folder");
}

TEST_F(StoreTest, LinksThatLeadOutAreRefused) {
  put("a", "1");
  struct {
    std::string target, words;
  } cases[] = {{"/etc/passwd", "leads out"},      {"../../etc/passwd", "leads out"}, {"../source/a", "leads out"},
               {"sub/../../source/a", "leads out"}, {"none", "leads to nothing"},      {"link", "in a circle"},
               {"/proc/self/root", "leads out"},  {"a/b", "leads to nothing"}};
  fs::create_directory(source_path("sub"));
  for (auto& one : cases) {
    fs::create_symlink(one.target, source_path("link"));
    std::string message = refusal();
    EXPECT_NE(message.find("the symlink \"link\" (to \"" + one.target + "\")"), std::string::npos) << message;
    EXPECT_NE(message.find(one.words), std::string::npos) << message;
    fs::remove(source_path("link"));
  }
  // By two links, each of which looks harmless; and to what was left out of the copy.
  fs::create_symlink("sub/up", source_path("link"));
  fs::create_symlink("../..", source_path("sub/up"));
  EXPECT_NE(refusal().find("leads out"), std::string::npos);
  fs::remove(source_path("sub/up"));
  fs::create_symlink("../a", source_path("sub/up"));
  put(".kaonignore", "/a\n");
  EXPECT_NE(refusal().find("leads to nothing"), std::string::npos);
}

TEST_F(StoreTest, OnlyFilesFoldersAndLinks) {
  fs::create_directory(source_path("d"));
  ASSERT_EQ(mkfifo(source_path("d/pipe").c_str(), 0644), 0);
  EXPECT_EQ(refusal(), "\"d/pipe\" is a named pipe, which cannot be part of a version");
  fs::remove(source_path("d/pipe"));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{AF_UNIX, {}};
  source_path("d/sock").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(refusal(), "\"d/sock\" is a socket, which cannot be part of a version");
  fs::remove(source_path("d/sock"));
  if (mknod(source_path("d/null").c_str(), S_IFCHR | 0644, makedev(1, 3)) == 0) {
    EXPECT_EQ(refusal(), "\"d/null\" is a device, which cannot be part of a version");
  }
}

TEST_F(StoreTest, HostileNames) {
  for (std::string name : {"a\nb", "\x1b[31m", "\x7f", "\xff", "\xe2\x80\xae"}) {
    put(name, "");
    std::string message = refusal();
    EXPECT_NE(message.find("has a name with control characters"), std::string::npos) << message;
    EXPECT_EQ(message.find(name), std::string::npos) << "the message is safe to print";
    fs::remove(source_path(name));
  }
  put("größe.txt", "");
  EXPECT_TRUE(make(*Store::open(store_path()), source_path("")));
}

TEST_F(StoreTest, Limits) {
  for (int i = 0; i < 5; ++i) put("f" + std::to_string(i), "12345");
  EXPECT_NE(refusal({.entries = 4}).find("more than 4 files"), std::string::npos);
  EXPECT_NE(refusal({.bytes = 24}).find("more than 24 bytes"), std::string::npos);
  fs::create_directories(source_path("a/b/c"));
  EXPECT_EQ(refusal({.depth = 2}), "\"a/b/c\" is nested more than 2 folders deep");
  auto store = Store::open(store_path());
  EXPECT_TRUE(make(*store, source_path(""), {.entries = 8, .bytes = 25, .depth = 3}));
}

TEST_F(StoreTest, WhatIsLeftOut) {
  fs::create_directories(source_path(".git/x"));
  fs::create_directories(source_path("lib/__pycache__"));
  fs::create_directories(source_path("node_modules/m"));
  fs::create_directories(source_path("tmp"));
  ASSERT_EQ(mkfifo(source_path("tmp/pipe").c_str(), 0644), 0);
  put("lib/__pycache__/x.pyc", "");
  put("node_modules/m/index.js", "x");
  put("a.log", "");
  put(".kaonignore", "*.log\ntmp/\n");
  // A store within the function's folder is not copied into itself.
  auto store = Store::open(source_path(".kaon"));
  auto version = make(*store, source_path(""));
  ASSERT_TRUE(version) << version.error().message;
  std::set<std::string> names;
  for (auto& entry : fs::recursive_directory_iterator(version->path))
    names.insert(entry.path().string().substr(version->path.size() + 1));
  EXPECT_EQ(names, (std::set<std::string>{"lib", "node_modules", "node_modules/m", "node_modules/m/index.js"}));
}

TEST_F(StoreTest, SealRefusesWhatAStagerPutThere) {
  auto store = Store::open(store_path());
  {
    auto staging = store->begin("f");
    fs::create_symlink("/etc/passwd", staging->path() + "/link");
    EXPECT_NE(store->seal(std::move(*staging)).error().message.find("leads out"), std::string::npos);
  }
  put("a", "");
  auto staging = store->begin("f");
  fs::create_hard_link(source_path("a"), staging->path() + "/a");
  EXPECT_EQ(store->seal(std::move(*staging)).error().message, "\"a\" is a hard link to another file: copy it");
  EXPECT_EQ(mode(source_path("a")), 0644u) << "the other name's mode is as it was";
  EXPECT_TRUE(fs::is_empty(store_path() + "/versions/f"));
}

TEST_F(StoreTest, ListFindRemove) {
  auto store = Store::open(store_path());
  put("a", "1");
  auto one = make(*store, source_path(""));
  put("a", "2");
  auto two = make(*store, source_path(""));
  auto staging = store->begin("g");
  EXPECT_EQ(store->list()->size(), 2u);
  EXPECT_EQ(store->list("f")->size(), 2u);
  EXPECT_EQ(store->list("g")->size(), 0u);
  EXPECT_EQ(store->list("none")->size(), 0u);
  EXPECT_EQ(store->find("f", one->id)->path, one->path);
  EXPECT_EQ(store->find("f", "../../../..").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store->find("..", one->id).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(store->remove("f", one->id));
  EXPECT_EQ(store->remove("f", one->id).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(store->remove("f", two->id));
  EXPECT_FALSE(fs::exists(store_path() + "/versions/f"));
  EXPECT_TRUE(make(*store, source_path("")));
}

TEST_F(StoreTest, Names) {
  auto store = Store::open(store_path());
  for (std::string name : {"", ".", "..", ".x", "a/b", "-a", "a b", "a\n"}) EXPECT_FALSE(store->begin(name)) << name;
  EXPECT_FALSE(store->begin(std::string(64, 'a')));
  EXPECT_TRUE(store->begin("A-b_c.9"));
}

TEST_F(StoreTest, AStoreThatOthersMayWriteIsRefused) {
  fs::create_directories(store_path());
  chmod(store_path().c_str(), 0777);
  auto store = Store::open(store_path());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kDenied);
}

TEST_F(StoreTest, GarbageOfTheDeadIsCollected) {
  auto store = Store::open(store_path());
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    auto staging = store->begin("f");
    fs::create_directories(staging->path() + "/a/b");
    chmod((staging->path() + "/a").c_str(), 0555);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char c;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  close(ready[0]);
  close(ready[1]);
  EXPECT_EQ(*store->collect_garbage(0), 0u) << "its owner lives";
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(*store->collect_garbage(), 0u) << "it is not old enough";
  auto own = store->begin("f");
  fs::create_directories(store_path() + "/versions/f/.trash-0/x");
  EXPECT_EQ(*store->collect_garbage(0), 2u);
  EXPECT_TRUE(fs::exists(own->path()));
  EXPECT_EQ(std::distance(fs::directory_iterator(store_path() + "/versions/f"), {}), 1);
}

// Kills a child at a later and later moment of copying and sealing; whatever is there afterwards is whole.
TEST_F(StoreTest, AKillLeavesItOrNothing) {
  for (int i = 0; i < 40; ++i) put("file" + std::to_string(i), std::string(50'000, static_cast<char>('a' + i % 26)));
  auto reference = Store::open(base_ + "/reference");
  Nanos begin = monotonic_ns();
  std::string digest = make(*reference, source_path(""))->digest;
  Nanos whole = std::min(monotonic_ns() - begin, 60 * kMillisecond);
  int before = 0;
  int after = 0;
  // Up to twice the time that it took, and for as long as none was let to its end.
  for (int round = 0; round < 60 || (after == 0 && round < 600); ++round) {
    auto store = Store::open(store_path());
    pid_t child = fork();
    if (child == 0) _exit(make(*store, source_path("")) ? 0 : 1);
    usleep(static_cast<useconds_t>(whole / kMicrosecond * round / 30));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    auto versions = store->list("f");
    ASSERT_LE(versions->size(), 1u);
    if (versions->empty()) {
      ++before;
    } else {
      ++after;
      const Version& version = versions->front();
      EXPECT_EQ(version.id, digest.substr(0, 12));
      EXPECT_EQ(mode(version.path), 0555u);
      EXPECT_EQ(*digest_of(Fd(open(version.path.c_str(), O_RDONLY | O_DIRECTORY)).get()), digest);
      ASSERT_TRUE(store->remove("f", version.id));
    }
    EXPECT_TRUE(store->collect_garbage(0));
  }
  EXPECT_GT(before, 0);
  EXPECT_GT(after, 0);
  EXPECT_TRUE(Store::open(store_path())->list()->empty());
}

TEST_F(StoreTest, ConcurrentSealsOfTheSameContent) {
  for (int i = 0; i < 20; ++i) put("file" + std::to_string(i), std::string(10'000, 'x'));
  auto store = Store::open(store_path());
  std::vector<std::thread> threads;
  std::atomic<int> made{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        auto version = make(*store, source_path(""));
        EXPECT_TRUE(version) << version.error().message;
        made += version.has_value();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made, 30);
  EXPECT_EQ(std::distance(fs::directory_iterator(store_path() + "/versions/f"), {}), 1);
}

TEST_F(StoreTest, SealAndRemoveAtOnce) {
  put("a", "x");
  auto store = Store::open(store_path());
  std::atomic<bool> done{false};
  std::thread remover([&] {
    while (!done) {
      auto versions = store->list("f");
      for (auto& version : versions.value()) (void)store->remove("f", version.id);
    }
  });
  for (int i = 0; i < 100; ++i) {
    auto version = make(*store, source_path(""));
    EXPECT_TRUE(version) << version.error().message;
  }
  done = true;
  remover.join();
}

// Files and folders turn into links to the outside and back while they are copied: what comes out is inside, or an error.
TEST_F(StoreTest, ARaceCannotReachOutside) {
  fs::create_directories(base_ + "/outside");
  std::ofstream(base_ + "/outside/file") << "SECRET";
  fs::create_directory(source_path("d"));
  put("d/file", "public");
  put("f", "public");
  fs::create_symlink(base_ + "/outside", base_ + "/d");
  fs::create_symlink(base_ + "/outside/file", base_ + "/f");
  std::atomic<bool> done{false};
  Nanos middle = monotonic_ns() + 1'500 * kMillisecond;
  std::thread hostile([&] {
    std::string f = source_path("f"), d = source_path("d"), link_f = base_ + "/f", link_d = base_ + "/d";
    while (!done) {
      if (monotonic_ns() < middle) renameat2(AT_FDCWD, f.c_str(), AT_FDCWD, link_f.c_str(), RENAME_EXCHANGE);
      else renameat2(AT_FDCWD, d.c_str(), AT_FDCWD, link_d.c_str(), RENAME_EXCHANGE);
    }
  });
  auto store = Store::open(store_path());
  int copied = 0;
  for (Nanos end = middle + kSecond; monotonic_ns() < end;) {
    auto staging = store->begin("f");
    copied += copy_tree(source_path(""), *staging).has_value();
    for (auto& entry : fs::recursive_directory_iterator(staging->path())) {
      EXPECT_FALSE(entry.symlink_status().type() == fs::file_type::regular && get(entry.path()) == "SECRET") << entry.path();
    }
  }
  done = true;
  hostile.join();
  EXPECT_GT(copied, 0);
}

}  // namespace
}  // namespace kaon::artifact
