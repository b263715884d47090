#include "artifact/ignore.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace kaon::artifact {
namespace {

bool ignored(std::string_view patterns, std::string_view path, bool folder = false) {
  return Ignore::parse(patterns)->matches(path, folder);
}

TEST(Ignore, Names) {
  EXPECT_TRUE(ignored("*.log", "a.log"));
  EXPECT_TRUE(ignored("*.log", "a/b/c.log"));
  EXPECT_FALSE(ignored("*.log", "a.logs"));
  EXPECT_TRUE(ignored("?.txt", "a.txt"));
  EXPECT_FALSE(ignored("?.txt", "ab.txt"));
  EXPECT_TRUE(ignored("*.py[co]", "x.pyc"));
  EXPECT_FALSE(ignored("*.py[!co]", "x.pyc"));
  EXPECT_TRUE(ignored("[a-c]x", "bx"));
  EXPECT_FALSE(ignored("[a-c]x", "dx"));
  EXPECT_TRUE(ignored("[x", "[x"));
  EXPECT_TRUE(ignored("\\*", "*"));
  EXPECT_FALSE(ignored("\\*", "a"));
  EXPECT_TRUE(ignored("a*b*c", "aXbYbZc"));
  EXPECT_FALSE(ignored("a*b*c", "aXbYbZ"));
}

TEST(Ignore, Paths) {
  EXPECT_TRUE(ignored("/build", "build"));
  EXPECT_FALSE(ignored("/build", "src/build"));
  EXPECT_TRUE(ignored("doc/*.txt", "doc/a.txt"));
  EXPECT_FALSE(ignored("doc/*.txt", "doc/b/a.txt"));
  EXPECT_TRUE(ignored("doc/**/*.txt", "doc/a.txt"));
  EXPECT_TRUE(ignored("doc/**/*.txt", "doc/b/c/a.txt"));
  EXPECT_TRUE(ignored("**/x", "x"));
  EXPECT_TRUE(ignored("a/**", "a/b"));
  EXPECT_FALSE(ignored("a/**", "a", true));
  EXPECT_TRUE(ignored("tmp/", "a/tmp", true));
  EXPECT_FALSE(ignored("tmp/", "a/tmp", false));
}

TEST(Ignore, TheLastMatchCounts) {
  EXPECT_FALSE(ignored("*.log\n!keep.log\n", "keep.log"));
  EXPECT_TRUE(ignored("*.log\n!keep.log\r\nkeep*\n", "keep.log"));
  EXPECT_FALSE(ignored("# *.log\n\n", "a.log"));
}

TEST(Ignore, Bounds) {
  EXPECT_EQ(Ignore::parse("a\n" + std::string(257, 'x')).error().message, ".kaonignore:2: the pattern is over 256 bytes");
  std::string many;
  for (int i = 0; i < 201; ++i) many += "x\n";
  EXPECT_EQ(Ignore::parse(many).error().message, ".kaonignore:201: there are over 200 patterns");
  EXPECT_EQ(Ignore::parse("!/").error().message, ".kaonignore:1: the pattern is empty");
  EXPECT_FALSE(Ignore::parse(std::string(70'000, '\n')));
}

TEST(Ignore, StarsTakeNoTime) {
  std::string stars;
  for (int i = 0; i < 120; ++i) stars += "*a";
  Nanos begin = monotonic_ns();
  EXPECT_FALSE(ignored(stars + "b", std::string(255, 'a')));
  std::string folders = "x";
  for (int i = 0; i < 45; ++i) folders += "/**/a";
  std::string path = "x";
  for (int i = 0; i < 500; ++i) path += "/a";
  EXPECT_FALSE(ignored(folders + "/b", path));
  EXPECT_LT(monotonic_ns() - begin, kSecond);
}

}  // namespace
}  // namespace kaon::artifact
