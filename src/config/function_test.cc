#include "config/function.h"

#include <gtest/gtest.h>

#include "config/test_catalog.h"
#include "config/yaml.h"

namespace kaon::config {
namespace {

using test::kCatalog;

constexpr std::string_view kHead = "name: a\nruntime: native\n";

std::vector<std::string> lint(std::string_view yaml) {
  std::vector<std::string> lines;
  for (const Diagnostic& each : lint_function(yaml, "f.yaml", kCatalog)) lines.push_back(each.text());
  return lines;
}

// The only problem of kHead and `rest`.
std::string problem(std::string_view rest) {
  auto lines = lint(std::string(kHead) + std::string(rest));
  std::string out;
  for (const std::string& line : lines) out += (out.empty() ? "" : "\n") + line;
  return out;
}

Function parsed(std::string_view yaml) {
  auto function = parse_function(yaml, "f.yaml", kCatalog);
  if (!function) ADD_FAILURE() << function.error().message;
  return function ? *std::move(function) : Function();
}

void expect_same(const Function& a, const Function& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.runtime, b.runtime);
  EXPECT_EQ(a.handler, b.handler);
  EXPECT_EQ(a.description, b.description);
  EXPECT_EQ(a.workers.min, b.workers.min);
  EXPECT_EQ(a.workers.max, b.workers.max);
  EXPECT_EQ(a.workers.concurrency, b.workers.concurrency);
  EXPECT_EQ(a.workers.idle_timeout_ms, b.workers.idle_timeout_ms);
  EXPECT_EQ(a.timeout_ms, b.timeout_ms);
  EXPECT_EQ(a.max_in_flight, b.max_in_flight);
  EXPECT_EQ(a.queue_timeout_ms, b.queue_timeout_ms);
  EXPECT_EQ(a.environment, b.environment);
  EXPECT_EQ(a.isolation, b.isolation);
  EXPECT_TRUE(a.runtime_settings == b.runtime_settings);
  ASSERT_EQ(a.triggers.size(), b.triggers.size());
  for (size_t i = 0; i < a.triggers.size(); ++i) {
    EXPECT_EQ(a.triggers[i].name, b.triggers[i].name);
    EXPECT_EQ(a.triggers[i].kind, b.triggers[i].kind);
    EXPECT_TRUE(a.triggers[i].settings == b.triggers[i].settings);
  }
}

constexpr std::string_view kFull = R"(
# every common key
name: thumbs-2
description: "Makes images\nsmaller \u2014 \"fast\""
runtime: exec
handler: thumbs:handle
command: [./thumb, --size, 10, "{{ subject }}", ""]
output: headers
workers: {min: 1, max: 8, concurrency: 2, idle_timeout_ms: 0}
timeout_ms: 3000
max_in_flight: 7
queue_timeout_ms: 0
environment: &env {DEBUG: true, LANG: C.UTF-8, EMPTY: ""}
isolation: none
triggers:
  zeta: {kind: http, path: /z, methods: [], headers: *env}
  web:
    kind: http
    listen: "[::1]:80"
    offset: -3
    keep: false
    tls: {certificate_file: a.pem, key: {secret: web-key}}
)";

TEST(Function, IsRead) {
  Function function = parsed(kFull);
  EXPECT_EQ(function.name, "thumbs-2");
  EXPECT_EQ(function.description, "Makes images\nsmaller — \"fast\"");
  EXPECT_EQ(function.runtime, "exec");
  EXPECT_EQ(function.handler, "thumbs:handle");
  EXPECT_EQ(function.runtime_settings.list("command"), (StringList{"./thumb", "--size", "10", "{{ subject }}", ""}));
  EXPECT_EQ(function.runtime_settings.text("output"), "headers");
  EXPECT_EQ(function.workers.min, 1u);
  EXPECT_EQ(function.workers.max, 8u);
  EXPECT_EQ(function.workers.concurrency, 2u);
  EXPECT_EQ(function.workers.idle_timeout_ms, 0);
  EXPECT_EQ(function.timeout_ms, 3000);
  EXPECT_EQ(function.max_in_flight, 7u);
  EXPECT_EQ(function.queue_timeout_ms, 0);
  EXPECT_EQ(function.environment, (StringMap{{"DEBUG", "true"}, {"LANG", "C.UTF-8"}, {"EMPTY", ""}}));
  EXPECT_EQ(function.isolation, Isolation::kNone);
  EXPECT_EQ(function.file, "f.yaml");
  ASSERT_EQ(function.triggers.size(), 2u);
  EXPECT_EQ(function.triggers[0].name, "zeta");
  EXPECT_EQ(function.triggers[0].settings.map("headers"), function.environment);
  EXPECT_TRUE(function.triggers[0].settings.list("methods").empty());
  const Settings& web = function.triggers[1].settings;
  EXPECT_EQ(web.text("listen"), "[::1]:80");
  EXPECT_EQ(web.integer("offset"), -3);
  EXPECT_FALSE(web.flag("keep"));
  EXPECT_EQ(web.section("tls")->secret_name("key"), "web-key");
}

TEST(Function, HasDefaults) {
  Function function = parsed(kHead);
  EXPECT_EQ(function.timeout_ms, 30'000);
  EXPECT_EQ(function.max_in_flight, 4096u);
  EXPECT_EQ(function.queue_timeout_ms, 10'000);
  EXPECT_EQ(function.workers.max, 0u);
  EXPECT_EQ(function.isolation, Isolation::kUnset);
  EXPECT_EQ(function.runtime_settings.text("execution"), "pool");
  ASSERT_EQ(function.triggers.size(), 1u);
  EXPECT_EQ(function.triggers[0].name, "http");
  EXPECT_EQ(function.triggers[0].settings.text("listen"), "127.0.0.1:8080");
  expect_same(function, *make_function("a", "native", kCatalog));
  // The declared defaults and those of the struct are the same.
  Function bare;
  bare.name = "a";
  bare.runtime = "native";
  bare.runtime_settings = function.runtime_settings;
  bare.triggers = function.triggers;
  expect_same(function, bare);
  EXPECT_TRUE(parsed(std::string(kHead) + "triggers: {}").triggers.empty());
  Catalog no_triggers{test::kRuntimes, {}};
  EXPECT_TRUE(parse_function(kHead, "f", no_triggers)->triggers.empty());
}

TEST(Function, IsWrittenBackAsItWas) {
  for (std::string_view yaml : {kFull, kHead}) {
    Function function = parsed(yaml);
    std::string written = write_function(function, kCatalog);
    Function again = parsed(written);
    expect_same(function, again);
    EXPECT_EQ(write_function(again, kCatalog), written);
  }
  Function odd = *make_function("a", "exec", kCatalog);
  odd.triggers.clear();
  ASSERT_TRUE(
      odd.runtime_settings.set("command", StringList{"~", "null", "- a", "#", "a: b", "\x1b[0m",
                                                     "\xc2\x85\xe2\x80\xa8\xef\xbb\xbf\xc2\xa0", " \n\r\n\t ", "\x7f", "𝄞"}));
  expect_same(odd, parsed(write_function(odd, kCatalog)));
}

TEST(Function, MakeRefusesBadNames) {
  EXPECT_EQ(make_function("A", "exec", kCatalog).error().message,
            "`A` is not a function's name: 1 to 63 of a to z, 0 to 9 and `-`, without `-` at the ends");
  EXPECT_EQ(make_function("a", "pyton", kCatalog).error().message,
            "runtime `pyton` is not in this build of Kaon, it has `exec` or `native`");
}

TEST(FunctionErrors, UnknownKeys) {
  EXPECT_EQ(problem("trigers: {}"), "f.yaml:3:1: error: unknown key `trigers`, did you mean `triggers`?");
  EXPECT_EQ(problem("zzzzzzzz: 1"), "f.yaml:3:1: error: unknown key `zzzzzzzz`");
  EXPECT_EQ(problem("workers: {mni: 1}"), "f.yaml:3:11: error: unknown key `mni` in `workers`, did you mean `min`?");
  EXPECT_EQ(problem("triggers:\n  web:\n    kind: http\n    lisen: 80"),
            "f.yaml:6:5: error: unknown key `lisen` in trigger `web`, did you mean `listen`?");
  EXPECT_EQ(problem("triggers: {web: {kind: http, tls: {certificate_file: a, kye: {secret: a}}}}"),
            "f.yaml:3:57: error: unknown key `kye` in `tls`, did you mean `key`?");
  EXPECT_EQ(problem("command: [a]"), "f.yaml:3:1: error: `command` is a key of runtime `exec`, and this is `native`");
  EXPECT_EQ(problem("\"\\e[2J\": 1"), "f.yaml:3:1: error: unknown key `\\x1b[2J`");
}

TEST(FunctionErrors, MissingKeys) {
  EXPECT_EQ(lint("runtime: exec"),
            (std::vector<std::string>{
                "f.yaml:1:1: error: `name` is missing: The function's name.",
                "f.yaml:1:1: error: `command` is missing (runtime `exec` needs it): The program and its arguments."}));
  EXPECT_EQ(lint("name: a"), (std::vector<std::string>{"f.yaml:1:1: error: `runtime` is missing: How the function runs."}));
  EXPECT_EQ(problem("triggers: {web: {path: /}}"), "f.yaml:3:17: error: trigger `web` has no `kind`: write one of `http`");
  EXPECT_EQ(problem("triggers: {web: {kind: http, tls: {}}}"),
            "f.yaml:3:35: error: `certificate_file` is missing in `tls`: The certificate | chain.");
}

TEST(FunctionErrors, Ranges) {
  EXPECT_EQ(problem("timeout_ms: 0"), "f.yaml:3:13: error: `timeout_ms` is 0: it must be from 1 to 86400000 ms");
  EXPECT_EQ(problem("timeout_ms: 99999999999999999999"),
            "f.yaml:3:13: error: `timeout_ms` is `99999999999999999999`: it must be from 1 to 86400000 ms");
  EXPECT_EQ(problem("workers: {max: 0}"), "f.yaml:3:16: error: `max` in `workers` is 0: it must be from 1 to 4096");
  EXPECT_EQ(problem("workers: {min: 3, max: 2}"), "f.yaml:3:10: error: `min` in `workers` is 3, more than `max`, which is 2");
  EXPECT_EQ(problem("triggers: {web: {kind: http, max_body_bytes: -1}}"),
            "f.yaml:3:46: error: `max_body_bytes` in trigger `web` is -1: it must be from 0 to 1073741824 bytes");
}

TEST(FunctionErrors, Types) {
  EXPECT_EQ(problem("timeout_ms: 3s"), "f.yaml:3:13: error: `timeout_ms` must be an integer, found `3s`");
  EXPECT_EQ(problem("timeout_ms: '3'"),
            "f.yaml:3:13: error: `timeout_ms` must be an integer, found the text `3`: remove the quotes");
  EXPECT_EQ(problem("timeout_ms: 010"),
            "f.yaml:3:13: error: `timeout_ms` must be an integer, found `010`: remove the leading zeros");
  EXPECT_EQ(problem("timeout_ms: [1]"), "f.yaml:3:13: error: `timeout_ms` must be an integer, found a list");
  EXPECT_EQ(problem("timeout_ms:\n- 1"), "f.yaml:4:1: error: `timeout_ms` must be an integer, found a list");
  EXPECT_EQ(problem("timeout_ms:"), "f.yaml:3:1: error: `timeout_ms` must be an integer, found nothing");
  EXPECT_EQ(problem("handler: {a: b}"), "f.yaml:3:10: error: `handler` must be text, found a mapping");
  EXPECT_EQ(problem("handler: ~"), "f.yaml:3:10: error: `handler` must be text, found nothing");
  EXPECT_EQ(problem("execution: inlin"), "f.yaml:3:12: error: `execution` must be `pool` or `inline`, found `inlin`");
  EXPECT_EQ(problem("environment: [A]"), "f.yaml:3:14: error: `environment` must be a mapping of names to texts, found a list");
  EXPECT_EQ(problem("environment: {A: }"),
            "f.yaml:3:18: error: `A` must be text in `environment`, found nothing: write \"\" for an empty text");
  EXPECT_EQ(problem("triggers: [web]"), "f.yaml:3:11: error: `triggers` must be a mapping of names to triggers, found a list");
  EXPECT_EQ(problem("triggers: {web: http}"),
            "f.yaml:3:17: error: trigger `web` must be a mapping of keys to values, found `http`");
  EXPECT_EQ(problem("triggers: {web: {kind: http, keep: on}}"),
            "f.yaml:3:36: error: `keep` in trigger `web` must be true or false, found `on`");
  EXPECT_EQ(problem("triggers: {web: {kind: http, methods: GET}}"),
            "f.yaml:3:39: error: `methods` in trigger `web` must be a list, found `GET`: put it into brackets, as in [a, b]");
  EXPECT_EQ(problem("triggers: {web: {kind: http, methods: [[]]}}"),
            "f.yaml:3:40: error: `methods` in trigger `web` must hold only texts, found a list");
  EXPECT_EQ(problem("triggers: {web: {kind: http, listen: a:1}}"),
            "f.yaml:3:38: error: `listen` in trigger `web` must be an address: `a:1` is not an address: the host is an IP "
            "address or localhost; "
            "names are not looked up");
  EXPECT_EQ(problem("workers: 3"), "f.yaml:3:10: error: `workers` must be a mapping of keys to values, found `3`");
  EXPECT_EQ(lint("- a"),
            (std::vector<std::string>{"f.yaml:1:1: error: the file must be a mapping of keys to values, found a list"}));
}

TEST(FunctionErrors, Names) {
  EXPECT_EQ(lint("name: My_Function\nruntime: native"),
            (std::vector<std::string>{"f.yaml:1:7: error: `My_Function` is not a function's name: 1 to 63 of a to z, 0 to 9 and "
                                      "`-`, without `-` at the ends"}));
  EXPECT_EQ(problem("triggers: {../x: {kind: http}}"),
            "f.yaml:3:12: error: `../x` is not a trigger's name: 1 to 63 of a to z, 0 to 9 and `-`, without `-` at the ends");
  EXPECT_EQ(problem("environment: {A-B: c}"),
            "f.yaml:3:15: error: `A-B` is not a variable's name: letters, digits and `_`, the first no digit");
  EXPECT_EQ(problem("environment: {CE_ID: c}"),
            "f.yaml:3:15: error: `CE_ID` in `environment` is set by Kaon for each event: choose another name");
  EXPECT_EQ(problem("environment: {A: " + std::string(131'072 - 2, 'x') + "}"),
            "f.yaml:3:15: error: `A` in `environment` has 131070 bytes; Linux passes at most 131070, the name included");
}

TEST(FunctionErrors, NotInThisBuild) {
  EXPECT_EQ(
      lint("name: a\nruntime: python\nhandler: h"),
      (std::vector<std::string>{"f.yaml:2:10: error: runtime `python` is not in this build of Kaon, it has `exec` or `native`"}));
  EXPECT_EQ(
      lint("name: a\nruntime: nativ"),
      (std::vector<std::string>{"f.yaml:2:10: error: runtime `nativ` is not in this build of Kaon, did you mean `native`?"}));
  EXPECT_EQ(problem("triggers: {a: {kind: kafka}}"),
            "f.yaml:3:22: error: trigger kind `kafka` is not in this build of Kaon, it has `http`");
  EXPECT_EQ(problem("bindings: {}"), "f.yaml:3:1: error: `bindings` is not in this version of Kaon: remove it");
  EXPECT_EQ(problem("sandbox: {pids: 1}"), "f.yaml:3:1: error: `sandbox` is not in this version of Kaon: remove it");
  EXPECT_EQ(problem("isolation: sandbox"),
            "f.yaml:3:12: error: `isolation: sandbox` is not in this version of Kaon: write `isolation: none` or leave it out; "
            "either way the "
            "function has no boundary");
  EXPECT_EQ(parse_function("name: a\nruntime: python", "f", kCatalog).error().code, ErrorCode::kUnimplemented);
}

TEST(FunctionErrors, Secrets) {
  auto tls = [](std::string_view key) {
    return problem("triggers: {web: {kind: http, tls: {certificate_file: a, key: " + std::string(key) + "}}}");
  };
  EXPECT_EQ(tls("hunter2"),
            "f.yaml:3:62: error: `key` in `tls` is a secret, and its value does not belong into this file: write {secret: name} "
            "and set "
            "KAON_SECRET_NAME in the environment");
  EXPECT_EQ(tls("{secret: a, b: c}"), "f.yaml:3:62: error: `key` in `tls` must be {secret: name}, found a mapping of other keys");
  EXPECT_EQ(tls("[hunter2]"), "f.yaml:3:62: error: `key` in `tls` must be {secret: name}, found a list");
  EXPECT_EQ(tls("{secret: ../../etc/shadow}"),
            "f.yaml:3:71: error: `key` in `tls` must name a secret: 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter "
            "or a digit");
}

TEST(FunctionErrors, Yaml) {
  EXPECT_EQ(problem("timeout_ms: 1\ntimeout_ms: 2"), "f.yaml:4:1: error: duplicate key `timeout_ms`, the first is on line 3");
  EXPECT_EQ(problem("environment: {A: 1, 'A': 2}"), "f.yaml:3:21: error: duplicate key `A`, the first is on line 3");
  EXPECT_EQ(problem("handler: [a"), "f.yaml:3:1: error: not valid YAML: end of sequence flow not found");
  EXPECT_EQ(problem("handler: \"\\"), "f.yaml:3:13: error: not valid YAML: unknown escape character: \\x04");
  EXPECT_EQ(problem("handler: *a"), "f.yaml:3:10: error: not valid YAML: the referenced anchor is not defined");
  EXPECT_EQ(problem("environment: &a {b: *a}"), "f.yaml:3:21: error: this alias stands inside the value that it names: a cycle");
  EXPECT_EQ(problem("environment: {<<: {a: b}}"), "f.yaml:3:15: error: merge keys (`<<`) are not supported: repeat the keys");
  EXPECT_EQ(problem("[a]: b"), "f.yaml:3:1: error: a key must be a single word");
  EXPECT_EQ(problem("handler: !!str a"), "f.yaml:3:10: error: tags are not used here: remove `tag:yaml.org,2002:str`");
  EXPECT_EQ(problem("handler: \"\\0\""), "f.yaml:3:10: error: a value may not hold a NUL byte");
  EXPECT_EQ(problem("---\nname: b"), "f.yaml:4:1: error: there is a second YAML document (`---`); a file holds one");
  EXPECT_EQ(problem("handler: ä\xff"), "f.yaml:3:11: error: the file is not UTF-8 text");
  EXPECT_EQ(problem("handler: \x1b"),
            "f.yaml:3:10: error: the control character \\x1b may not stand in the file; write it as an escape in double quotes");
  EXPECT_EQ(lint(""), (std::vector<std::string>{"f.yaml: error: the file is empty"}));
  EXPECT_EQ(lint("# only\n"), (std::vector<std::string>{"f.yaml: error: the file is empty"}));
}

TEST(FunctionErrors, AllOfThemInTheOrderOfTheFile) {
  EXPECT_EQ(lint("nmae: a\ntimeout_ms: 0\nruntime: native\nhandler: []\nhandler: b\n"),
            (std::vector<std::string>{"f.yaml:1:1: error: unknown key `nmae`, did you mean `name`?",
                                      "f.yaml:1:1: error: `name` is missing: The function's name.",
                                      "f.yaml:2:13: error: `timeout_ms` is 0: it must be from 1 to 86400000 ms",
                                      "f.yaml:4:10: error: `handler` must be text, found a list",
                                      "f.yaml:5:1: error: duplicate key `handler`, the first is on line 4"}));
  EXPECT_EQ(parse_function("name: a\nruntime: native\ntimeout_ms: 0\nx: 1", "f.yaml", kCatalog).error().message,
            "f.yaml:3:13: error: `timeout_ms` is 0: it must be from 1 to 86400000 ms (1 more: `kaon lint` shows them)");
}

TEST(FunctionErrors, WarningsDoNotFail) {
  std::string_view rest = "workers: {min: 1, max: 1, idle_timeout_ms: 5}";
  EXPECT_EQ(problem(rest), "f.yaml:3:27: warning: `idle_timeout_ms` in `workers` has no effect: `min` equals `max`");
  EXPECT_TRUE(parse_function(std::string(kHead) + std::string(rest), "f.yaml", kCatalog));
}

std::string nested(size_t levels) {
  return "environment: {A: " + std::string(levels - 2, '[') + std::string(levels - 2, ']') + "}";
}

TEST(FunctionLimits, Depth) {
  EXPECT_EQ(problem(nested(yaml::kMaxDepth)), "f.yaml:3:18: error: `A` must be text in `environment`, found a list");
  EXPECT_EQ(problem(nested(yaml::kMaxDepth + 1)), "f.yaml:3:48: error: values are nested deeper than 32 levels");
  EXPECT_EQ(problem(nested(100'000)), "f.yaml:3:48: error: values are nested deeper than 32 levels");
  // Through aliases too.
  std::string half(17, '['), close(17, ']');
  EXPECT_EQ(problem("a: &a " + half + close + "\nb: " + half + "*a" + close),
            "f.yaml:4:21: error: values are nested deeper than 32 levels");
}

TEST(FunctionLimits, Aliases) {
  std::string list = "*a";
  for (int i = 0; i < 63; ++i) list += ", *a";
  std::string start = "environment: {A: &a b}\nhandler: [";
  EXPECT_EQ(problem(start + list + "]"), "f.yaml:4:10: error: `handler` must be text, found a list");
  EXPECT_EQ(problem(start + list + ", *a]"), "f.yaml:4:267: error: there are more than 64 aliases");
}

TEST(FunctionLimits, Laughs) {
  std::string yaml = "a0: &a0 [x, x, x, x, x, x, x]\n";
  for (int i = 1; i <= 8; ++i) {
    std::string from = "*a" + std::to_string(i - 1);
    yaml += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + from;
    for (int j = 0; j < 6; ++j) yaml += ", " + from;
    yaml += "]\n";
  }
  auto lines = lint(yaml);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(lines[0].ends_with("error: there are more than 20000 values")) << lines[0];
}

TEST(FunctionLimits, Size) {
  std::string yaml(kHead);
  yaml.append(yaml::kMaxBytes - yaml.size(), '\n');
  EXPECT_EQ(lint(yaml), std::vector<std::string>());
  EXPECT_EQ(lint(yaml + "\n"), (std::vector<std::string>{"f.yaml: error: the file has 1048577 bytes, at most 1048576 are read"}));
}

TEST(FunctionLimits, Problems) {
  std::string rest;
  for (int i = 0; i < 500; ++i) rest += "key" + std::to_string(i) + ": 1\n";
  auto lines = lint(std::string(kHead) + rest);
  ASSERT_EQ(lines.size(), 101u);
  EXPECT_EQ(lines.back(), "f.yaml:103:1: error: there are more than 100 problems; the others are left out");
  EXPECT_EQ(problem("? " + std::string(100'000, 'k') + "\n: 1").substr(0, 39), "f.yaml:3:3: error: unknown key `kkkkkkk");
}

TEST(FunctionLimits, Triggers) {
  std::string rest = "triggers:\n";
  for (int i = 0; i < 65; ++i) rest += "  t" + std::to_string(i) + ": {kind: http}\n";
  EXPECT_EQ(problem(rest), "f.yaml:4:3: error: there are 65 triggers, at most 64 are allowed");
}

}  // namespace
}  // namespace kaon::config
