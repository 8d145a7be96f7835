// A session's answers, as values, text and JSON; and that it goes on after errors.
#include "session/debug_session.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "session/monitor.h"
#include "session/words.h"
#include "tests/timetravel/tiny_recording.h"

namespace chronovisor::session {
namespace {

using nlohmann::json;

/// A recording that says how it ended, as the recorder's do.
std::unique_ptr<RecordingReader> recording(const char* reason) {
  const StartCondition start = testing::tiny_start();
  const Bytes code = testing::tiny_guest(2'000);
  const auto machine = make_machine(start, [&](const std::string&) { return code; });
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), start.to_json());
  writer.embed_image(kKernelRole, "tiny", MemoryInputFile(code, "tiny"));
  testing::ScriptedInput input({{3'000, 'x'}});
  RecorderOptions options;
  options.checkpoint_every_steps = 5'000;
  options.checkpoint_budget_percent = 0;
  {
    std::uint64_t clock = 0;
    RunRecorder recorder(
        *machine, writer, input, nullptr, [&] { return clock += 1000; }, options);
    (void)recorder.run({kNever}, [](Position) {});
  }
  writer.finish(std::string(R"({"exit": {"reason": ")") + reason + R"(", "code": 0}})");
  return testing::open_bytes(*bytes);
}

struct Fixture {
  std::unique_ptr<RecordingReader> reader = recording("triple-fault");
  Timeline timeline{*reader, TimelineOptions{.jobs = 1}};
  DebugSession session{timeline};
  std::atomic<bool> cancel{false};

  template <typename A, typename R>
  A ask(R request) {
    return std::get<A>(session.ask(request, cancel));
  }
  json ask_json(const std::string& line) {
    const std::string text = answer_line(session, "json " + line, cancel);
    CHECK(text.find('\n') == text.size() - 1);
    return json::parse(text);
  }
};

}  // namespace

TEST_CASE("a seek arms its destination, and one outside changes nothing") {
  Fixture f;
  CHECK(f.ask<ArmedAnswer>(SeekRequest{"+700"}).position == Position{700});
  CHECK_THROWS_AS(f.session.ask(SeekRequest{"99999999"}, f.cancel), Error);
  REQUIRE(f.session.destination());
  CHECK(f.session.travel_to_destination(f.cancel) == TravelStop::arrived);
  CHECK(f.timeline.now() == Moment{{700}, 0});
  CHECK_FALSE(f.session.destination());
}

TEST_CASE("the latest write is found, and one that never was leaves everything as it is") {
  Fixture f;
  f.timeline.seek({{4'000}, 0});
  const auto found = f.ask<LastWriteAnswer>(LastWriteRequest{testing::kTinyCounterAddress, 4});
  CHECK(found.store.moment < Moment{{4'000}, 0});
  CHECK(f.session.destination() == found.store.moment);
  CHECK(f.timeline.now() == Moment{{4'000}, 0});
  CHECK_THROWS_AS(f.session.ask(LastWriteRequest{testing::kTinyUnusedAddress, 1}, f.cancel),
                  NotFound);
  CHECK(f.session.destination() == found.store.moment);
  CHECK(f.timeline.now() == Moment{{4'000}, 0});
}

TEST_CASE("history lists what was written, and says when it has looked at everything") {
  Fixture f;
  f.timeline.seek({{400}, 0});
  const auto some = f.ask<HistoryAnswer>(HistoryRequest{testing::kTinyCounterAddress, 4, 3});
  CHECK(some.stores.size() == 3);
  CHECK(some.stores[0].moment > some.stores[1].moment);
  CHECK_FALSE(some.complete);
  const auto all = f.ask<HistoryAnswer>(HistoryRequest{testing::kTinyCounterAddress, 4, 1000});
  CHECK(all.complete);
  CHECK(all.stores.back().before == "0x0");
  CHECK(f.timeline.now() == Moment{{400}, 0});
  CHECK(text_of(f.session.ask(HistoryRequest{testing::kTinyUnusedAddress, 1, 5}, f.cancel)) ==
        "0x5123 was not written before position 400\n");
}

TEST_CASE("how the guest ended is said where it ended, and nowhere else") {
  Fixture f;
  CHECK(text_of(f.session.ask(WhenRequest{}, f.cancel)).find("ended") == std::string::npos);
  CHECK(f.ask_json("when")["guest_ended"].is_null());
  f.timeline.seek({f.timeline.end(), 0});
  CHECK(text_of(f.session.ask(WhenRequest{}, f.cancel)).find("the guest ended here: ") !=
        std::string::npos);
  CHECK(f.ask_json("when")["guest_ended"].is_object());
  CHECK(text_of(f.session.ask(InfoRequest{}, f.cancel)).find("by the guest: triple-fault") !=
        std::string::npos);
  CHECK(f.ask_json("info")["ended"]["by_guest"] == true);

  const auto limited = recording("limit");
  CHECK_FALSE(recorded_end(*limited)->by_guest);
}

TEST_CASE("the port whose write ended a guest is named") {
  CHECK(ending_text({"poweroff", 0, 0x604, true}) ==
        "the guest ended here: poweroff by port 0x604");
  CHECK(ending_words({"debug-exit", 3, 0xf4, true}) == "debug-exit with code 3 by port 0xf4");
  CHECK(ending_words({"triple-fault", 0, 0, true}) == "triple-fault");
}

TEST_CASE("bookmarks that there are not are told from those that there are") {
  Fixture f;
  f.timeline.seek({{400}, 0});
  const auto refusal = [&](const std::string& line) {
    return f.ask_json(line)["error"]["message"].get<std::string>();
  };
  CHECK(refusal("bookmark --move loop").find("there is no bookmark loop") == 0);
  (void)f.ask_json("bookmark before-loop");
  CHECK(refusal("bookmark --move before-lop") ==
        "there is no bookmark before-lop; is it before-loop?");
  CHECK(refusal("bookmark --delete loop") == "there is no bookmark loop; is it before-loop?");
  CHECK(refusal("bookmark \"a b\"").find("a name is one word") != std::string::npos);
  f.timeline.seek({{500}, 0});
  CHECK(f.ask_json("bookmark --move before-loop")["position"] == 500);
  // The run's recorder has named the end.
  CHECK(f.ask_json("bookmark").size() == 2);
}

TEST_CASE("every command without arguments has a JSON form on one line, errors too") {
  Fixture f;
  f.timeline.seek({{4'000}, 0});
  for (const WordCommand& row : word_commands()) {
    CAPTURE(row.name);
    const json document = f.ask_json(std::string(row.name));
    CHECK((document.is_object() || document.is_array()));
  }
  (void)f.ask_json("branch");
  CHECK(f.ask_json("when")["whereabouts"] == "branch");
  CHECK(f.ask_json("nonsense")["error"]["code"] == "usage");
  CHECK(f.ask_json("seek")["error"]["message"].get<std::string>().find("usage: seek") !=
        std::string::npos);
  CHECK(f.ask_json("discard")["destination"] == 4'000);
  CHECK(f.ask_json("last-write 0x5123 1")["error"]["code"] == "not-found");
  CHECK(f.ask_json("last-write 0x1000 4")["write"]["before"].is_string());
  CHECK(f.ask_json("events 3000")["before"].is_array());
  CHECK(f.ask_json("disassemble 0x7c00 2")["instructions"].size() == 2);
}

TEST_CASE("a query sees the whole recording, wherever the machine stands") {
  Fixture f;
  f.timeline.seek({{4'000}, 0});
  QueryRequest request;
  request.query.address = testing::kTinyCounterAddress;
  request.query.length = 4;
  const QueryDocument all = f.ask<QueryDocument>(request);
  REQUIRE(all.answer.entries.size() > 4);
  CHECK(all.answer.entries.back().moment.position > Position{4'000});
  CHECK(f.timeline.now() == Moment{{4'000}, 0});
  // The writes before here are those that history lists.
  const auto past = f.ask<HistoryAnswer>(HistoryRequest{testing::kTinyCounterAddress, 4, 1000});
  REQUIRE(past.stores.size() < all.answer.entries.size());
  for (std::size_t n = 0; n < past.stores.size(); ++n) {
    CHECK(past.stores[past.stores.size() - 1 - n].moment == all.answer.entries[n].moment);
  }
  request.query.select = QuerySelect::count;
  CHECK(text_of(f.session.ask(request, f.cancel)) ==
        std::to_string(all.answer.entries.size()) + "\n");
  f.cancel = true;
  CHECK_THROWS_AS(f.session.ask(request, f.cancel), Error);
}

TEST_CASE("a session goes on after an answer that was cancelled") {
  Fixture f;
  f.timeline.seek({{4'000}, 0});
  f.cancel = true;
  CHECK_THROWS_AS(f.session.ask(LastWriteRequest{testing::kTinyUnusedAddress, 1}, f.cancel), Error);
  CHECK_THROWS_AS(f.session.ask(EventsRequest{}, f.cancel), Error);
  CHECK(f.timeline.now() == Moment{{4'000}, 0});
  f.cancel = false;
  CHECK(f.ask<EventsAnswer>(EventsRequest{}).before.size() == 1);
}

TEST_CASE("bookmarks of a recording that cannot be written last as long as the session") {
  Fixture f;
  f.timeline.seek({{4'000}, 0});
  CHECK_FALSE(f.ask<BookmarkSetAnswer>(SetBookmarkRequest{"here", false}).trouble.empty());
  CHECK_THROWS_AS(f.session.ask(SetBookmarkRequest{"here", false}, f.cancel), Error);
  CHECK_THROWS_AS(f.session.ask(SetBookmarkRequest{"", false}, f.cancel), Error);
  f.timeline.seek({{100}, 0});
  CHECK(f.ask<ArmedAnswer>(SeekRequest{"here"}).position == Position{4'000});
  CHECK(f.ask_json("bookmark")[0]["name"] == "here");
  (void)f.ask<BookmarkDeletedAnswer>(DeleteBookmarkRequest{"here"});
  for (const Bookmark& mark : f.ask<BookmarksAnswer>(ListBookmarksRequest{}).bookmarks) {
    CHECK(mark.name != "here");
  }
}

}  // namespace chronovisor::session
