// What conditions mean, and that any text is either one or refused.
#include "session/condition.h"

#include <doctest/doctest.h>

#include <random>

#include "base/error.h"
#include "tests/timetravel/tiny_recording.h"

namespace chronovisor::session {
namespace {

struct Fixture {
  Bytes code = testing::tiny_guest(5);
  std::unique_ptr<Machine> machine =
      make_machine(testing::tiny_start(), [&](const std::string&) { return code; });

  Fixture() {
    machine->ram().write({0x5000}, Bytes{0xfe, 0xff, 0xff, 0xff, 0x01, 0x02, 0x03, 0x84});
    machine->ram().write({0x5100}, Bytes{0x04, 0x50, 0x00, 0x00});
    machine->change_cpu([](Cpu& cpu) { cpu.gpr(kRax) = 0x1'0000'0007; });
  }
  bool holds(const std::string& text) {
    return parse_condition(text, WatchedRange{0x5000, 4})(*machine);
  }
};

std::string refusal(const std::string& text, std::optional<WatchedRange> range = {}) {
  try {
    (void)parse_condition(text, range);
  } catch (const Error& error) {
    return error.what();
  }
  return "taken";
}

}  // namespace

TEST_CASE("conditions mean what they would in C") {
  Fixture f;
  for (const char* text :
       {"1",
        "!0",
        "value == 0xfffffffe",
        "svalue == -2",
        "svalue < 0",
        "!(value < 0)",
        "$rax == 0x100000007",
        "$eax == 7",
        "u8[0x5004] == 1",
        "i8[0x5007] == -124",
        "u16[0x5004] == 0x201",
        "u64[0x5000] == 0x84030201fffffffe",
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "7 / 2 == 3 && -7 / 2 == -3",
        "7 % 4 == 3",
        "1 << 3 == 8",
        "-8 >> 1 == -4",
        "6 & 3 == 3 || 1",
        "(6 & 3) == 2",
        "6 ^ 3 == 5 || 1",
        "~0 == -1",
        "$cpl == 0 && $position == 0",
        "u8[0x5000 + 4] == 1",
        "u32[0x5000]==value",
        "*(int*)0x5000 == -2",
        "*(unsigned char*)0x5000 == 0xfe && *(signed char *) 0x5000 == -2",
        "*(unsigned short const *)(0x5000 + 4) == 0x201",
        "*((u8*)0x5000 + 4) == 1 && ((char*)0x5000)[5] == 2",
        "((short*)0x5000)[2] == 0x201 && *(1 + (int*)0x5000) == 0x84030201 - (1 << 32)",
        "*(unsigned long long*)0x5000 == u64[0x5000]",
        "*(long*)0x5000 == -2",  // real mode: 4 bytes
        "*(unsigned long*)0x5004 == 0x84030201",
        "*(bool*)0x5000 == 1 && (_Bool)4 == 1 && (bool)0 == 0",
        "**(u8**)0x5100 == 1",
        "(unsigned char)value == 0xfe && (char)value == -2",
        "(unsigned char)0x1ff == 255 && (int8_t)0xff == -1",
        "(long)$eax > 5 && (short int)0x12345 == 0x2345",
        "(unsigned)-1 == 0xffffffff && (unsigned)-1 == -1",
        "(unsigned char)200 > -1 && !((unsigned)1 > -1)",
        "(value) == 0xfffffffe && (unsigned char) (value) > 5",
        "u32[0x5000] == -2 && value == -2 && ~value == 1",
        "+5 == 5 && -(char)5 == -5 && !(int)0",
        "(u32)1 + (uint64_t) 2 == 3",
        "0 || 2",
        "2 > 1 && 1 >= 1 && 1 <= 1 && 1 != 2"}) {
    CAPTURE(text);
    CHECK(f.holds(text));
  }
  for (const char* text :
       {"0", "value == 0", "svalue > 0", "0 && 1 / 0", "$eax != 7", "-1 > 0", "1 == 2 || 3 == 4"}) {
    CAPTURE(text);
    CHECK_FALSE(f.holds(text));
  }
}

TEST_CASE("what cannot be evaluated counts as true") {
  Fixture f;
  CHECK(f.holds("1 / 0"));
  CHECK(f.holds("u8[0xf0000000] == 5"));
  CHECK(f.holds("0x8000000000000000 / -1 == 0 || 1"));
}

TEST_CASE("what is no condition is refused with where it stops making sense") {
  CHECK(refusal("").find("expected a value at its end") != std::string::npos);
  CHECK(refusal("1 +").find("expected a value at its end") != std::string::npos);
  CHECK(refusal("1 2").find("expected an operator where it says \"2\"") != std::string::npos);
  CHECK(refusal("foo == 1").find("where it says \"foo == 1\"") != std::string::npos);
  CHECK(refusal("$rrx").find("the name of a register") != std::string::npos);
  CHECK(refusal("u32[4").find("\"]\"") != std::string::npos);
  CHECK(refusal("(1").find("\")\"") != std::string::npos);
  CHECK(refusal("0x10000000000000000").find("64 bits") != std::string::npos);
  CHECK(refusal("value == 1").find("nothing is watched") != std::string::npos);
  CHECK(refusal("value == 1", WatchedRange{0, 9}).find("more than 8") != std::string::npos);
  // Evaluated one inside the other: a hundred thousand would need more stack than there is.
  std::string many = "0";
  for (int n = 0; n < 100'000; ++n) many += "|0";
  CHECK(refusal(many).find("1000 operators") != std::string::npos);
  CHECK(refusal("*0x1000 == 1").find("behind * a pointer") != std::string::npos);
  CHECK(refusal("(int").find("expected a number") != std::string::npos);
  CHECK(refusal("(double)1").find("expected a number") != std::string::npos);
  CHECK(refusal("*(int)8").find("behind * a pointer") != std::string::npos);
  CHECK(refusal(std::string(5'000, '*')).find("less nested") != std::string::npos);
  CHECK(refusal(std::string(5'000, '(')).find("less nested") != std::string::npos);
  CHECK(refusal(std::string(5'000, '-') + "1").find("less nested") != std::string::npos);
}

TEST_CASE("any text is a condition or refused") {
  Fixture f;
  std::mt19937 random(11);
  const std::string_view letters = "0129xf$raxcpluvei8[]()+-*/%<>=!&|^~ \t\"\\int*(u8*)";
  int taken = 0;
  for (int n = 0; n < 20'000; ++n) {
    std::string text;
    for (unsigned length = random() % 12; length > 0; --length) {
      text += letters[random() % letters.size()];
    }
    CAPTURE(text);
    try {
      (void)parse_condition(text, WatchedRange{0x5000, 4})(*f.machine);
      ++taken;
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::usage);
    }
  }
  CHECK(taken > 10);
}

}  // namespace chronovisor::session
