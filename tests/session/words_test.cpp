// The words of requests: what they mean, and what is refused.
#include "session/words.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace chronovisor::session {
namespace {

std::string refusal(const std::string& line) {
  try {
    (void)parse_request(line);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::usage);
    return error.what();
  }
  return "taken";
}

bool says(const std::string& line, const std::string& part) {
  const std::string text = refusal(line);
  INFO(line, ": ", text);
  return text.find(part) != std::string::npos;
}

template <typename R>
R request(const std::string& line) {
  const Request parsed = parse_request(line);
  REQUIRE(std::holds_alternative<R>(parsed));
  return std::get<R>(parsed);
}

}  // namespace

TEST_CASE("words become requests") {
  CHECK(request<SeekRequest>("seek +5").place == "+5");
  CHECK(request<SeekRequest>("seek \"two words\"").place == "two words");
  CHECK(request<HistoryRequest>("history 0x1000 4 7").count == 7);
  CHECK(request<HistoryRequest>("  history\t0x1000 ").length == 8);
  CHECK(request<LastWriteRequest>("last-write 0x1000").address == 0x1000);
  const Query all = request<QueryRequest>("query writes 0x1000 4").query;
  CHECK((all.address == 0x1000 && all.length == 4 && all.select == QuerySelect::all));
  const Query last = request<QueryRequest>("query value 0x1000 last").query;
  CHECK((last.kind == QueryKind::value && last.length == 8 && last.select == QuerySelect::last));
  CHECK_FALSE(request<DisassembleRequest>("disassemble").address.has_value());
  CHECK(request<SetBookmarkRequest>("bookmark --move here").move);
  CHECK(request<DeleteBookmarkRequest>("bookmark --delete here").name == "here");
  CHECK(request<GoLiveRequest>("go-live out.cvr --serial pty").options.serial == "pty");
  CHECK(request<AddressRequest>("gpa2hva 0x1000").what == AddressRequest::What::gpa2hva);
  CHECK_FALSE(request<SettingRequest>("phys off").on);
  (void)request<HelpRequest>("");
}

TEST_CASE("every command refuses a word too many") {
  for (const WordCommand& row : word_commands()) {
    CAPTURE(row.name);
    const std::string text = refusal(std::string(row.name) + " 8 8 8 8 8 8 8 8 8 8 8");
    CHECK(text != "taken");
    CHECK(text.find(row.name) != std::string::npos);
  }
  CHECK(says("when now", "\"now\" is too much; usage: when"));
  CHECK(says("seek 5 6", "\"6\" is too much"));
  CHECK(says("bookmark a b", "\"b\" is too much"));
  CHECK(says("linux-tasks all", "\"all\" is too much"));
}

TEST_CASE("words that are missing or wrong are named") {
  CHECK(says("seek", "a place is missing"));
  CHECK(says("walk", "ADDRESS is missing; usage: walk ADDRESS"));
  CHECK(says("walk main", "ADDRESS: \"main\" is not a number"));
  CHECK(says("history 0x10 0", "between 1 byte and 1 MiB"));
  CHECK(says("history 0x10 8 0", "COUNT is from 1 to 1000"));
  CHECK(says("query reads 0x10", "writes, executes or value"));
  CHECK(says("query writes 0x10 first last", "\"last\" is too much"));
  CHECK(says("last-write 0xffffffffffffffff 2", "between 1 byte and 1 MiB"));
  CHECK(says("phys maybe", "neither on nor off"));
  CHECK(says("timeline 3", "between 8 and 1000"));
  CHECK(says("bookmark \"open", "without its other one"));
}

TEST_CASE("an unknown command is answered with those that it resembles") {
  CHECK(says("whne", "is it when?"));
  CHECK(says("linux", "linux-kernel, linux-log, linux-tasks, linux-modules"));
  CHECK(says("last", "is it last-write"));
  CHECK(says("bookmarks", "is it bookmark?"));
  CHECK(says("xyzzy", "unknown monitor command \"xyzzy\"; monitor help lists them"));
}

}  // namespace chronovisor::session
