// How places are written, and names that cannot be names.
#include "session/place.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace chronovisor {
namespace {

const PlaceContext kStanding{{100}, {9'000}, Position{1'000}, {{{500}, "boot"}, {{700}, "1x"}}};

std::uint64_t place(const std::string& text, const PlaceContext& context = kStanding) {
  return parse_place(text, context, "seek").steps;
}

std::string refusal(const std::string& text, const PlaceContext& context = kStanding) {
  try {
    (void)parse_place(text, context, "seek");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::usage);
    return error.what();
  }
  return "taken";
}

std::string name_refusal(const std::string& name) {
  try {
    require_bookmark_name(name);
  } catch (const Error& error) {
    return error.what();
  }
  return "taken";
}

}  // namespace

TEST_CASE("a place is a position, start, end, a distance or a bookmark") {
  CHECK(place("start") == 100);
  CHECK(place("end") == 9'000);
  CHECK(place("boot") == 500);
  CHECK(place("1x") == 700);
  CHECK(place("4_000") == 4'000);
  CHECK(place("0x200") == 0x200);
  CHECK(place("+50") == 1'050);
  CHECK(place("-0x10") == 984);
}

TEST_CASE("a function is a place where nothing else is called so") {
  PlaceContext named = kStanding;
  std::vector<std::string> asked;
  named.functions = [&](const std::string& name) -> std::optional<Position> {
    asked.push_back(name);
    if (name == "boot" || name == "work") return Position{4'000};
    return std::nullopt;
  };
  CHECK(place("work", named) == 4'000);
  CHECK(place("boot", named) == 500);
  CHECK(place("function:boot", named) == 4'000);
  CHECK(place("end", named) == 9'000);
  CHECK(place("+50", named) == 1'050);
  CHECK(asked == std::vector<std::string>{"work", "boot"});
  CHECK(refusal("idle", named).find("a bookmark or a function") != std::string::npos);
  CHECK(refusal("function:idle", named).find("no function \"idle\"") != std::string::npos);
  CHECK(refusal("function:boot").find("no places here") != std::string::npos);
  for (const char* text : {"+work", "-work", ""}) CHECK(refusal(text, named) != "taken");
}

TEST_CASE("where nobody stands, distances are from the ends") {
  PlaceContext nowhere = kStanding;
  nowhere.here.reset();
  CHECK(place("+50", nowhere) == 150);
  CHECK(place("-50", nowhere) == 8'950);
}

TEST_CASE("a place outside the recording is refused, with where the recording is") {
  for (const char* text : {"9001", "99", "+8001", "-901", "-5000", "+0xffffffffffffffff"}) {
    CAPTURE(text);
    CHECK(refusal(text).find("outside the recording, which covers 100 to 9,000") !=
          std::string::npos);
  }
  CHECK(place("9000") == 9'000);
  CHECK(place("+8000") == 9'000);
  CHECK(place("-900") == 100);
}

TEST_CASE("what is no place is refused with what would be one") {
  for (const char* text : {"", "nowhere", "5 6", "+", "-", "+boot", "1.5", "0x"}) {
    CAPTURE(text);
    CHECK(refusal(text).find(
              "is not a position, start, end, +N, -N, packet:N, a bookmark or a function") !=
          std::string::npos);
  }
}

TEST_CASE("names that would be read as something else are no names, and others are") {
  CHECK(name_refusal("").find("empty") != std::string::npos);
  CHECK(name_refusal("start").find("place of every recording") != std::string::npos);
  CHECK(name_refusal("+3").find("distance") != std::string::npos);
  CHECK(name_refusal("-x").find("distance") != std::string::npos);
  CHECK(name_refusal("12").find("read as a position") != std::string::npos);
  CHECK(name_refusal("0xff").find("read as a position") != std::string::npos);
  CHECK(name_refusal("packet:3").find("packets") != std::string::npos);
  CHECK(name_refusal("function:f").find("functions") != std::string::npos);
  CHECK(name_refusal("a\nb").find("control") != std::string::npos);
  CHECK(name_refusal("a b").find("one word") != std::string::npos);
  for (const char* name : {"x", "xx", "1x", "0x", "ending", "a-b", "Straße"}) {
    CAPTURE(name);
    CHECK(name_refusal(name) == "taken");
  }
}

}  // namespace chronovisor
