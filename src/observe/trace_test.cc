#include "observe/trace.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace kaon::observe {
namespace {

constexpr std::string_view kValid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

std::string text_of(const TraceContext& context) {
  std::string text(kTraceparentSize, 0);
  write_traceparent(context, text.data());
  return text;
}

TEST(Trace, RoundTrip) {
  auto context = parse_traceparent(kValid);
  ASSERT_TRUE(context);
  EXPECT_TRUE(context->sampled());
  EXPECT_EQ(text_of(*context), kValid);
}

TEST(Trace, RefusesWhatTheStandardRefuses) {
  for (std::string_view text : {
           "", "00",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
           "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "00-00000000000000000000000000000000-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
           "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
           "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
           " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
       }) {
    EXPECT_FALSE(parse_traceparent(text)) << text;
  }
}

TEST(Trace, LaterVersionsAreReadAsFarAsWeKnow) {
  auto context = parse_traceparent("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes");
  ASSERT_TRUE(context);
  EXPECT_EQ(text_of(*context), kValid);
}

TEST(Trace, Children) {
  Tracer tracer;
  TraceContext parent = *parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff");
  TraceContext child = tracer.continue_from(text_of(parent), false);
  EXPECT_EQ(child.trace_id, parent.trace_id);
  EXPECT_NE(child.span_id, parent.span_id);
  EXPECT_EQ(child.flags, 1);
  TraceContext fresh = tracer.continue_from("nonsense", false);
  EXPECT_FALSE(fresh.sampled());
  EXPECT_NE(fresh.trace_id, parent.trace_id);
  EXPECT_TRUE(parse_traceparent(text_of(fresh)));
}

TEST(Trace, TracersDoNotMeet) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    Tracer tracer;
    for (int j = 0; j < 10; ++j) EXPECT_TRUE(seen.insert(text_of(tracer.start(true))).second);
  }
}

}  // namespace
}  // namespace kaon::observe
