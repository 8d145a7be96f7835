// The interface over a tiny recording: what is sent is answered, refused, cancelled and
// bounded, whatever it is.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <future>
#include <mutex>
#include <set>

#include "api/mcp.h"
#include "api/method_table.h"
#include "api/rpc.h"
#include "api/schema.h"
#include "api/views.h"
#include "inspect/symbol_table.h"
#include "tests/timetravel/tiny_recording.h"

namespace chronovisor::api {
namespace {

struct Fixture {
  explicit Fixture(bool allow_changes = false) : context(session, ContextOptions{allow_changes}) {}

  /// What is sent, in order, when all that `message` asked is answered.
  template <typename Protocol = RpcClient>
  std::vector<Value> talk(const std::vector<std::string>& messages) {
    std::mutex mutex;
    std::vector<Value> sent;
    const Send send = [&](const std::string& message) {
      const std::lock_guard lock(mutex);
      sent.push_back(parse_json(message, {64, 1'000'000}));
    };
    const auto speak = [&](auto&& client) {
      for (const std::string& message : messages) client.receive(message);
      client.wait();
    };
    if constexpr (std::is_same_v<Protocol, RpcClient>) {
      speak(RpcClient(context, executor, send, views, RpcClient::Kind::program));
    } else {
      speak(Protocol(context, executor, send));
    }
    return sent;
  }
  Value result(const std::string& method, const std::string& parameters = "{}") {
    const auto sent = talk(
        {R"({"jsonrpc":"2.0","id":1,"method":")" + method + R"(","params":)" + parameters + "}"});
    REQUIRE(sent.size() == 1);
    const Value* result = sent[0].member("result");
    if (result == nullptr) FAIL(sent[0].json());
    return *result;
  }
  Value error(const std::string& method, const std::string& parameters = "{}") {
    const auto sent = talk(
        {R"({"jsonrpc":"2.0","id":1,"method":")" + method + R"(","params":)" + parameters + "}"});
    REQUIRE(sent.size() == 1);
    REQUIRE(sent[0].member("error") != nullptr);
    return *sent[0].member("error");
  }

  std::unique_ptr<RecordingReader> reader = testing::open_bytes(testing::record_tiny({}));
  Timeline timeline{*reader, TimelineOptions{.jobs = 1}};
  session::DebugSession session{timeline};
  Context context;
  session::Executor executor;
  Views views{context, executor};
};

std::int64_t code_of(const Value& error) {
  const Value* code = error.member("code");
  return code == nullptr ? 0 : std::stoll(code->json());
}

std::string where_of(const Value& error) {
  const Value* where = error.member("data")->member("where");
  return where->text() == nullptr ? "" : *where->text();
}

std::uint64_t count_in(const Value& value, const char* name) {
  REQUIRE(value.member(name) != nullptr);
  REQUIRE(value.member(name)->count() != nullptr);
  return *value.member(name)->count();
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("documents are bounded, and say where they are wrong") {
  CHECK(parse_json(R"({"a":[1,-2,1.5,"x",null,true]})").json() ==
        R"({"a":[1,-2,1.5,"x",null,true]})");
  CHECK(parse_json("18446744073709551615").count() != nullptr);
  CHECK(parse_json(nested(32)).array() != nullptr);
  CHECK_THROWS_AS(static_cast<void>(parse_json(nested(33))), ParseError);
  CHECK_THROWS_AS(static_cast<void>(parse_json(std::string(100'000, '['))), ParseError);
  CHECK_THROWS_AS(static_cast<void>(parse_json("[1,2,3]", {32, 3})), ParseError);
  CHECK_THROWS_AS(static_cast<void>(parse_json(R"({"a":1,"a":2})")), ParseError);
  try {
    static_cast<void>(parse_json("{\"a\": nope}"));
    FAIL("it was taken");
  } catch (const ParseError& error) {
    CHECK(error.byte() == 8);
  }
  CHECK(Value(std::string("\xff")).json() == "\"\xef\xbf\xbd\"");
}

TEST_CASE("the time that an object takes grows as its length, and names are told apart") {
  std::string many = "{\"0\":0";
  for (int n = 1; n < 90'000; ++n) many += fmt::format(",\"{}\":0", n);
  CHECK(parse_json(many + "}").object()->size() == 90'000);
  CHECK_THROWS_WITH_AS(static_cast<void>(parse_json(many + ",\"77\":1}")),
                       doctest::Contains("two members have the name \"77\""), ParseError);
}

TEST_CASE("a message that is no request gets one error") {
  Fixture f;
  const auto only = [&](const std::string& message) {
    const auto sent = f.talk({message});
    REQUIRE(sent.size() == 1);
    REQUIRE(sent[0].member("error") != nullptr);
    CHECK(sent[0].member("id")->is_null());
    return code_of(*sent[0].member("error"));
  };
  CHECK(only("nope") == -32700);
  CHECK(only(nested(1000)) == -32700);
  CHECK(only(R"({"jsonrpc":"2.0","id":1,"method":"a\u0000b"})") == -32700);
  CHECK(only(R"({"jsonrpc":"2.0","id":1,"method":"seek","params":{"place":"5\u0000"}})") == -32700);
  CHECK(only("[]") == -32600);
  CHECK(only("7") == -32600);
  CHECK(only(R"({"method":"where"})") == -32600);
  CHECK(only(R"({"jsonrpc":"2.0","id":{},"method":"where"})") == -32600);
  std::string many = "[0";
  for (int n = 0; n < 64; ++n) many += ",0";
  CHECK(only(many + "]") == -32008);
}

TEST_CASE("what is no JSON is told in our words, and where it is wrong") {
  const auto trouble = [](const std::string& text) {
    try {
      static_cast<void>(decode_message(text));
    } catch (const CallError& error) {
      CHECK(error.fault() == CallFault::not_json);
      CHECK(error.where().starts_with("byte "));
      return std::string(error.what());
    }
    FAIL("it was taken: ", text);
    return std::string();
  };
  const std::string begin = "not a JSON document as it is taken here: ";
  CHECK(trouble("{\"a\": nope}") == begin + "byte 8 is not as it must be");
  CHECK(trouble("{\"a\": ") == begin + "it ends before it is complete");
  CHECK(trouble("") == begin + "it ends before it is complete");
  CHECK(trouble("\"\xff\"") == begin + "byte 2 is not as it must be");
  CHECK(trouble(R"({"a\u0000":1})") == begin + "a text has a NUL character in it");
}

TEST_CASE("a client that asks to follow is told of what others do") {
  Fixture f;
  std::mutex mutex;
  std::vector<std::string> told;
  const Send send = [&](const std::string& message) {
    const std::lock_guard lock(mutex);
    told.push_back(message);
  };
  const auto ask = [](RpcClient& client, const std::string& method, const std::string& given) {
    client.receive(R"({"jsonrpc":"2.0","id":1,"method":")" + method + R"(","params":)" + given +
                   "}");
    client.wait();
  };
  RpcClient follower(f.context, f.executor, send, f.views, RpcClient::Kind::program);
  RpcClient mover(
      f.context, f.executor, [](const std::string&) {}, f.views, RpcClient::Kind::program);
  const auto moves = [&] {
    f.executor.run([] {});
    const std::lock_guard lock(mutex);
    std::vector<std::string> all;
    for (const std::string& one : told) {
      if (one.find("\"moved\"") != std::string::npos) all.push_back(one);
    }
    return all;
  };
  ask(mover, "seek", R"({"place":100})");
  for (const char* wrong : {R"({"place":100})", "[1]", "7"}) {
    ask(follower, "$/follow", wrong);
    CHECK(told.back().find("-32602") != std::string::npos);
  }
  ask(mover, "seek", R"({"place":50})");
  CHECK(moves().empty());
  ask(follower, "$/follow", "{}");
  ask(follower, "$/follow", "null");
  // Where it stands is the answer; what follows are moves alone.
  CHECK(told.back().find("\"position\":50") != std::string::npos);
  CHECK(moves().empty());
  ask(mover, "seek", R"({"place":200})");
  REQUIRE(moves().size() == 1);
  CHECK(moves().back().find("\"by\":\"program\"") != std::string::npos);
  CHECK(moves().back().find("\"position\":200") != std::string::npos);
}

TEST_CASE("an id comes back as it was written") {
  Fixture f;
  for (const char* id :
       {"1", "-7", "18446744073709551615", "18446744073709551616", "-9223372036854775809",
        "123456789012345678901234567890", "1.0", "2.50", "1e3", "\"1\"", "null"}) {
    CAPTURE(id);
    const auto sent =
        f.talk({std::string(R"({"jsonrpc":"2.0","method":"where","id":)") + id + "}"});
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].member("id")->json() == id);
    CHECK(sent[0].member("result") != nullptr);
  }
  CHECK(where_of(f.error("seek", R"({"place":18446744073709551616})")) == "/params/place");
}

TEST_CASE("what no row of the table answers takes its parameters as strictly") {
  Fixture f;
  CHECK(where_of(f.error("rpc.discover", R"({"a":1})")) == "/params/a");
  CHECK(where_of(f.error("$/cancelRequest")) == "/params/id");
  CHECK(where_of(f.error("$/cancelRequest", R"({"id":1,"why":2})")) == "/params/why");
  CHECK(f.result("$/cancelRequest", R"({"id":1})").json() == "{}");
}

TEST_CASE("a refusal says which parameter it is about") {
  Fixture f;
  CHECK(code_of(f.error("no_such")) == -32601);
  const Value unknown = f.error("seek", R"({"place":5,"plaice":5})");
  CHECK(code_of(unknown) == -32602);
  CHECK(where_of(unknown) == "/params/plaice");
  CHECK(where_of(f.error("seek")) == "/params/place");
  CHECK(where_of(f.error("seek", R"({"place":"nowhere"})")) == "/params/place");
  CHECK(where_of(f.error("step", R"({"count":0})")) == "/params/count");
  CHECK(where_of(f.error("step", R"({"count":-1})")) == "/params/count");
  CHECK(where_of(f.error("step", R"({"direction":"up"})")) == "/params/direction");
  CHECK(where_of(f.error("read_memory", R"({"address":"no_symbol"})")) == "/params/address");
  CHECK(where_of(f.error("writes", R"({"address":1,"cursor":"x"})")) == "/params/cursor");
  CHECK(code_of(f.error("where", "[1]")) == -32602);
  CHECK(code_of(f.error("last_write", R"({"address":0x5123})")) == -32700);
  CHECK(code_of(f.error("last_write", R"({"address":"0x5123","length":1})")) == -32002);
}

TEST_CASE("travel, memory and the writer of a value") {
  Fixture f;
  CHECK(count_in(f.result("seek", R"({"place":"end"})"), "position") == f.timeline.end().steps);
  const Value found = f.result("find_write", R"({"address":"0x1000","length":4,
      "direction":"backward","condition":"value == 400","go":true})");
  CHECK(count_in(found, "position") == f.timeline.now().position.steps);
  CHECK(*f.result("read_memory", R"({"address":4096,"length":4})").member("bytes")->text() ==
        "8f010000");
  CHECK(count_in(f.result("step"), "taken") == 1);
  CHECK(*f.result("read_memory", R"({"address":4096,"length":4})").member("bytes")->text() ==
        "90010000");
  const Value wrote = *f.result("last_write", R"({"address":"0x1000","length":4})").member("write");
  CHECK(*wrote.member("after")->text() == "0x190");
  CHECK(f.result("where").member("position")->json() ==
        std::to_string(f.timeline.now().position.steps));
  // By a watchpoint, to the same place.
  const Value id = f.result(
      "set_breakpoint", R"({"kind":"write","address":4096,"length":4,"condition":"value == 500"})");
  const Value ran = f.result("run");
  CHECK(*ran.member("stop")->text() == "watchpoint");
  CHECK(ran.member("ids")->json() == "[" + id.member("id")->json() + "]");
  CHECK(*f.result("run", R"({"direction":"backward"})").member("stop")->text() == "watchpoint");
  CHECK(*f.result("run", R"({"direction":"backward"})").member("stop")->text() == "start");
  CHECK(code_of(f.error("delete_breakpoint", R"({"id":77})")) == -32002);
}

TEST_CASE("pages give what one search gives, however they are cut") {
  Fixture f;
  const auto all = [&](std::uint64_t limit) {
    std::vector<std::string> positions;
    Value cursor;
    do {
      const Value page =
          f.result("writes", R"({"address":6144,"length":1,"limit":)" + std::to_string(limit) +
                                 ",\"cursor\":" + cursor.json() + "}");
      const auto& results = *page.member("results")->array();
      CHECK(results.size() <= limit);
      for (const Value& one : results) positions.push_back(one.member("position")->json());
      cursor = *page.member("next");
    } while (!cursor.is_null());
    return positions;
  };
  Query query;
  query.address = testing::kTinyCounterAddress;
  query.length = 4;
  query.select = QuerySelect::count;
  const std::uint64_t count = run_query(*f.reader, query, {}, [](auto, auto) {}).count;
  CHECK(count == 20'000);
  const Value counted =
      f.result("query", R"({"kind":"writes","select":"count","address":"0x1000","length":4})");
  CHECK(count_in(counted, "count") == count);
  CHECK(all(1000).empty());  // nobody typed anything
  // Pages of different sizes over a stretch have the same entries.
  const auto stretch = [&](std::uint64_t limit) {
    std::vector<std::string> positions;
    Value cursor;
    do {
      const Value page =
          f.result("writes", R"({"address":4096,"length":8,"from":1000,"to":60000,"limit":)" +
                                 std::to_string(limit) + ",\"cursor\":" + cursor.json() + "}");
      for (const Value& one : *page.member("results")->array()) {
        positions.push_back(one.member("position")->json());
      }
      cursor = *page.member("next");
    } while (!cursor.is_null());
    return positions;
  };
  const auto whole = stretch(1000);
  CHECK(whole.size() > 5000);
  CHECK(stretch(997) == whole);
  CHECK(std::set<std::string>(whole.begin(), whole.end()).size() == whole.size());
}

TEST_CASE("nothing changes unless that is allowed") {
  Fixture f;
  for (const char* call : {R"({"name":"mark"})"}) {
    CHECK(code_of(f.error("set_bookmark", call)) == -32006);
  }
  CHECK(code_of(f.error("branch")) == -32006);
  CHECK(code_of(f.error("write_memory", R"({"address":4096,"bytes":"00"})")) == -32006);
  CHECK(code_of(f.error("monitor", R"({"line":"branch"})")) == -32006);
  CHECK_FALSE(f.timeline.on_branch());
  Fixture g(true);
  g.result("seek", R"({"place":5000})");
  g.result("write_memory", R"({"address":4096,"bytes":"2a000000"})");
  g.result("write_register", R"({"name":"rax","value":"0x1234"})");
  CHECK(g.timeline.on_branch());
  CHECK(*g.result("registers").member("rax")->text() == "0x1234");
  CHECK(code_of(g.error("last_write", R"({"address":4096})")) == -32001);
  CHECK(count_in(g.result("discard"), "position") == 5000);
  CHECK_FALSE(g.timeline.on_branch());
}

TEST_CASE("a batch is answered as one, notifications not at all") {
  Fixture f;
  const auto sent = f.talk({R"([{"jsonrpc":"2.0","id":1,"method":"where"},
      {"jsonrpc":"2.0","method":"seek","params":{"place":100}}, 5,
      {"jsonrpc":"2.0","id":"two","method":"where"}])",
                            R"({"jsonrpc":"2.0","method":"where"})"});
  REQUIRE(sent.size() == 1);
  const auto& answers = *sent[0].array();
  REQUIRE(answers.size() == 3);
  CHECK(count_in(*answers[0].member("result"), "position") == 0);
  CHECK(code_of(*answers[1].member("error")) == -32600);
  CHECK(*answers[2].member("id")->text() == "two");
  CHECK(count_in(*answers[2].member("result"), "position") == 100);
}

TEST_CASE("what waits can be cancelled, and only so much may wait") {
  Fixture f;
  std::vector<std::string> messages;
  for (int n = 0; n < 300; ++n) {
    messages.push_back(R"({"jsonrpc":"2.0","id":)" + std::to_string(n) +
                       R"(,"method":"history","params":{"address":4096,"length":4,"count":100}})");
  }
  for (int n = 1; n < 300; ++n) {
    messages.push_back(R"({"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":)" +
                       std::to_string(n) + "}}");
  }
  std::mutex mutex;
  std::size_t busy = 0, cancelled = 0, done = 0;
  {
    // Nothing is begun before all is sent.
    std::promise<void> all_sent;
    f.executor.submit([sent = all_sent.get_future().share()] { sent.wait(); });
    const Send send = [&](const std::string& message) {
      const std::lock_guard lock(mutex);
      const Value one = parse_json(message);
      const Value* error = one.member("error");
      if (error == nullptr) ++done;
      if (error != nullptr && code_of(*error) == -32007) ++busy;
      if (error != nullptr && code_of(*error) == -32800) ++cancelled;
    };
    RpcClient client(f.context, f.executor, send, f.views, RpcClient::Kind::program);
    for (const std::string& message : messages) client.receive(message);
    all_sent.set_value();
    client.wait();
  }
  CHECK(busy == 300 - kMostWaitingCalls);
  CHECK(cancelled == kMostWaitingCalls - 1);
  CHECK(done == 1);
  CHECK(f.timeline.now() == Moment{{0}, 0});
}

TEST_CASE("every row has a name of its own, and is published") {
  std::set<std::string> names;
  const Value schema = schema_document();
  const auto& published = *schema.member("methods")->array();
  for (const Method& method : methods()) {
    CHECK(names.insert(method.name).second);
    CHECK(method.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos);
    CHECK(*method.answer.member("type")->text() == "object");
    CHECK_FALSE(method.description.empty());
    for (const Parameter& parameter : method.parameters) {
      CHECK_FALSE(parameter.description.empty());
      // What is published as standard is taken.
      if (parameter.standard.is_null()) continue;
      Value::Object given{{parameter.name, parameter.standard}};
      for (const Parameter& other : method.parameters) {
        if (!other.required) continue;
        const Value* words = other.shape.member("enum");
        given.emplace_back(other.name, words != nullptr ? words->array()->front() : Value(1));
        if (other.shape.member("type")->text() != nullptr &&
            *other.shape.member("type")->text() == "string" && words == nullptr) {
          given.back().second = "name";
        }
      }
      CHECK_NOTHROW(method.check(given, [](const std::string&) { return 0; }));
    }
  }
  CHECK(published.size() == names.size());
}

TEST_CASE("an agent finds tools, and is told of failures as text") {
  Fixture f;
  const std::string hello =
      R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26",
          "capabilities":{},"clientInfo":{"name":"test","version":"1"}}})";
  const auto sent = f.talk<McpClient>(
      {R"({"jsonrpc":"2.0","id":9,"method":"tools/list"})", hello,
       R"({"jsonrpc":"2.0","method":"notifications/initialized"})",
       R"({"jsonrpc":"2.0","id":1,"method":"tools/list"})",
       R"({"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"seek","arguments":{"place":"end"}}})",
       R"({"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"seek","arguments":{"place":"nowhere"}}})",
       R"({"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"branch"}})",
       R"({"jsonrpc":"2.0","id":5,"method":"ping"})"});
  std::map<std::string, Value> answers;
  for (const Value& one : sent) answers[one.member("id")->json()] = one;
  CHECK(code_of(*answers["9"].member("error")) == -32600);
  CHECK(*answers["0"].member("result")->member("protocolVersion")->text() == "2025-03-26");
  const auto& tools = *answers["1"].member("result")->member("tools")->array();
  CHECK(tools.size() > 20);
  for (const Value& tool : tools) CHECK(*tool.member("name")->text() != "branch");
  const Value& there = *answers["2"].member("result");
  CHECK(count_in(*there.member("structuredContent"), "position") == f.timeline.end().steps);
  const Value& refused = *answers["3"].member("result");
  CHECK(refused.member("isError")->json() == "true");
  CHECK(refused.member("content")->json().find("nowhere") != std::string::npos);
  CHECK(code_of(*answers["4"].member("error")) == -32602);
  CHECK(answers["5"].member("result")->json() == "{}");
  const auto newer = f.talk<McpClient>({R"({"jsonrpc":"2.0","id":0,"method":"initialize",
      "params":{"protocolVersion":"2999-01-01"}})"});
  CHECK(*newer.at(0).member("result")->member("protocolVersion")->text() == "2025-11-25");
}

TEST_CASE("addresses have the names of the symbol before them") {
  SymbolTable table;
  table.add({{0x1000, 0, "first"}, {0x1000, 0, "alias"}, {0x2000, 0x10, "second"}});
  CHECK(table.find("second") == 0x2000);
  CHECK_FALSE(table.find("third"));
  CHECK(table.text_at(0x1000) == "first");
  CHECK(table.text_at(0x1012) == "first+0x12");
  CHECK(table.text_at(0x200f) == "second+0xf");
  CHECK(table.text_at(0x2010).empty());
  CHECK(table.text_at(0xfff).empty());
  CHECK_THROWS_AS(static_cast<void>(elf_symbols(as_bytes("no ELF"), "x")), Error);
  Bytes cut(64);
  std::copy_n(
      "\x7f"
      "ELF\2\1",
      6, cut.begin());
  cut[0x28] = 0xff;  // sections beyond the end
  cut[0x3a] = 64;
  cut[0x3c] = 3;
  CHECK_THROWS_AS(static_cast<void>(elf_symbols(cut, "x")), Error);
}

}  // namespace chronovisor::api
