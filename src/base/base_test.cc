#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/list.h"
#include "base/result.h"
#include "base/text.h"
#include "base/time_text.h"

namespace kaon {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Error{ErrorCode::kInvalid, "odd"};
  return n / 2;
}

Result<int> quarter(int n) {
  KAON_TRY(int once, half(n));
  KAON_TRY(int twice, half(once));
  return twice;
}

TEST(Result, TryPassesTheFirstErrorOn) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().message, "odd");
  EXPECT_THROW((void)quarter(6).value(), CheckFailure);
}

TEST(Check, PrintsItsOperands) {
  int found = 3;
  try {
    KAON_CHECK(found == 4, found);
    FAIL();
  } catch (const CheckFailure& failure) {
    EXPECT_NE(std::string_view(failure.what()).find("found == 4 [3]"), std::string_view::npos) << failure.what();
  }
}

TEST(Error, EveryCodeHasItsRow) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const ErrorRow& row = error_row(static_cast<ErrorCode>(code));
    EXPECT_EQ(static_cast<int>(row.code), code);
    EXPECT_NE(row.exit_code, 0);
  }
}

TEST(Bytes, ASliceKeepsItsBlock) {
  Bytes slice;
  {
    Bytes whole = Bytes::copy("hello world");
    slice = whole.slice(6, 5);
  }
  EXPECT_EQ(slice.view(), "world");
}

TEST(BlockPool, GivesAFreedBlockAgainButNotASharedOne) {
  BlockPool pool;
  Block* first = pool.take(5000);
  EXPECT_EQ(first->capacity(), 8192u);
  pool.give(first);
  EXPECT_EQ(pool.take(8000), first);
  Bytes held = Bytes::share(first, {first->data(), 1});
  pool.give(first);
  Block* second = pool.take(8000);
  EXPECT_NE(second, first);
  pool.give(second);
}

TEST(BlockPool, ClassesMatchTheirSizes) {
  BlockPool pool;
  for (size_t size : {size_t{1}, size_t{4096}, size_t{4097}, size_t{65536}, size_t{1} << 20, (size_t{1} << 20) + 1}) {
    Block* block = pool.take(size);
    EXPECT_GE(block->capacity(), size);
    pool.give(block);
  }
}

struct Element : ListNode<Element> {};

TEST(List, AnElementLeavesWhenItIsDestroyed) {
  List<Element> list;
  Element first;
  {
    Element second;
    list.push_back(first);
    list.push_front(second);
    EXPECT_EQ(list.front(), &second);
  }
  EXPECT_EQ(list.pop_front(), &first);
  EXPECT_TRUE(list.empty());
}

TEST(Json, EscapesAndPutsCommas) {
  std::string out;
  JsonWriter json(out);
  json.object().member("a\"b", "x\n\x01").key("list").array().value(1).value(true).null().end_array().member("d", 0.5).end_object();
  EXPECT_EQ(out, "{\"a\\\"b\":\"x\\n\\u0001\",\"list\":[1,true,null],\"d\":0.5}");
}

TEST(Json, InvalidUtf8BecomesTheReplacementCharacter) {
  std::string out;
  append_json_string(out, "a\xff\xc3\xa9\xed\xa0\x80");
  EXPECT_EQ(out, "\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST(Text, NamesTheNearestKey) {
  const std::string_view keys[] = {"triggers", "timeout_ms", "workers"};
  EXPECT_EQ(nearest("trigers", keys), "triggers");
  EXPECT_EQ(nearest("timeout", keys), "timeout_ms");
  EXPECT_EQ(nearest("zzzzzz", keys), "");
}

TEST(Text, ParsesWholeNumbersOnly) {
  EXPECT_EQ(parse_uint("18446744073709551615"), UINT64_MAX);
  EXPECT_FALSE(parse_uint("18446744073709551616"));
  EXPECT_FALSE(parse_uint("-1"));
  EXPECT_FALSE(parse_uint("1 "));
  EXPECT_FALSE(parse_uint(""));
}

TEST(TimeText, WritesUtc) {
  char text[kTimeTextSize];
  EXPECT_EQ(write_time(text, 0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(write_time(text, 951'782'400'123'000'000), "2000-02-29T00:00:00.123Z");
  EXPECT_EQ(write_time(text, 1'795'384'222'000'000'000), "2026-11-22T21:50:22.000Z");
}

}  // namespace
}  // namespace kaon
