#include "gdbstub/agent_expression.h"

#include <doctest/doctest.h>

#include <bit>
#include <limits>

#include "base/error.h"
#include "gdbstub/agent_format.h"
#include "tests/gdbstub/fake_target.h"

using namespace chronovisor;
using namespace chronovisor::gdb;

namespace {

AgentResult run(Bytes code, std::string* output = nullptr) {
  FakeTarget target;
  target.position = 47;
  const Bytes single = {0x00, 0x00, 0xc0, 0xbf};                   // -1.5f
  const Bytes extended = {0, 0, 0, 0, 0, 0, 0, 0xa0, 0x00, 0xc0};  // -2.5 in 80 bits
  target.write_memory(0x100, single);
  target.write_memory(0x200, extended);
  return AgentExpression(std::move(code))
      .evaluate(target, target.description(), [&](std::string_view text) {
        if (output != nullptr) *output += text;
      });
}

void push64(Bytes& code, std::uint64_t value) {
  code.push_back(0x25);
  for (int shift = 56; shift >= 0; shift -= 8)
    code.push_back(static_cast<std::uint8_t>(value >> shift));
}

AgentResult apply2(std::uint8_t opcode, std::uint64_t a, std::uint64_t b) {
  Bytes code;
  push64(code, a);
  push64(code, b);
  code.push_back(opcode);
  code.push_back(0x27);
  return run(code);
}

AgentResult apply1(Bytes tail, std::uint64_t a) {
  Bytes code;
  push64(code, a);
  code.insert(code.end(), tail.begin(), tail.end());
  code.push_back(0x27);
  return run(code);
}

constexpr std::uint64_t kMinusOne = ~std::uint64_t{0};
constexpr std::uint64_t kLowest = std::uint64_t{1} << 63;

}  // namespace

TEST_CASE("two-operand opcodes") {
  struct Row {
    std::uint8_t opcode;
    std::uint64_t a, b, expected;
  };
  const Row rows[] = {
      {0x02, 3, 4, 7},
      {0x02, kMinusOne, 2, 1},
      {0x03, 3, 4, kMinusOne},
      {0x04, 6, 7, 42},
      {0x05, kMinusOne - 6, 2, kMinusOne - 2},
      {0x05, kLowest, kMinusOne, kLowest},
      {0x06, 7, 2, 3},
      {0x06, kMinusOne, 2, kMinusOne >> 1},
      {0x07, kMinusOne - 6, 2, kMinusOne},
      {0x07, kLowest, kMinusOne, 0},
      {0x08, 7, 4, 3},
      {0x09, 1, 4, 16},
      {0x09, 1, 64, 0},
      {0x0a, kLowest, 63, kMinusOne},
      {0x0a, kLowest, 200, kMinusOne},
      {0x0b, kLowest, 63, 1},
      {0x0b, kLowest, 64, 0},
      {0x0f, 12, 10, 8},
      {0x10, 12, 10, 14},
      {0x11, 12, 10, 6},
      {0x13, 5, 5, 1},
      {0x13, 5, 6, 0},
      {0x14, kMinusOne, 0, 1},
      {0x14, 0, kMinusOne, 0},
      {0x15, kMinusOne, 0, 0},
      {0x15, 0, kMinusOne, 1},
  };
  for (const Row& row : rows) {
    CAPTURE(row.opcode);
    CAPTURE(row.a);
    CAPTURE(row.b);
    const AgentResult result = apply2(row.opcode, row.a, row.b);
    CHECK(result.error == AgentError::none);
    CHECK(result.value == row.expected);
  }
}

TEST_CASE("division and remainder by zero are errors") {
  for (const std::uint8_t opcode : {0x05, 0x06, 0x07, 0x08}) {
    CHECK(apply2(opcode, 1, 0).error == AgentError::divide_by_zero);
  }
}

TEST_CASE("one-operand opcodes") {
  CHECK(apply1({0x0e}, 0).value == 1);
  CHECK(apply1({0x0e}, 9).value == 0);
  CHECK(apply1({0x12}, 0).value == kMinusOne);
  CHECK(apply1({0x16, 8}, 0x80).value == kMinusOne - 0x7f);
  CHECK(apply1({0x16, 64}, 0x80).value == 0x80);
  CHECK(apply1({0x2a, 8}, 0x1234).value == 0x34);
  CHECK(apply1({0x2a, 64}, kMinusOne).value == kMinusOne);
  CHECK(apply1({0x16, 0}, 1).error == AgentError::bad_operand);
  CHECK(apply1({0x2a, 65}, 1).error == AgentError::bad_operand);
}

TEST_CASE("constants are big-endian and not sign-extended") {
  CHECK(run({0x22, 0xff, 0x27}).value == 0xff);
  CHECK(run({0x23, 0x12, 0x34, 0x27}).value == 0x1234);
  CHECK(run({0x24, 0x80, 0, 0, 1, 0x27}).value == 0x80000001);
  CHECK(run({0x25, 1, 2, 3, 4, 5, 6, 7, 8, 0x27}).value == 0x0102030405060708);
}

TEST_CASE("memory references are little-endian") {
  CHECK(apply1({0x17}, 0x2010).value == 0x10);
  CHECK(apply1({0x18}, 0x2010).value == 0x1110);
  CHECK(apply1({0x19}, 0x2010).value == 0x13121110);
  CHECK(apply1({0x1a}, 0x2010).value == 0x1716151413121110);
  CHECK(apply1({0x1a}, 0xfffc).error == AgentError::bad_memory);
  CHECK(apply1({0x17}, kMinusOne).error == AgentError::bad_memory);
}

TEST_CASE("floating-point references and conversions") {
  CHECK(apply1({0x1b}, 0x100).value == std::bit_cast<std::uint64_t>(-1.5));
  CHECK(apply1({0x1c}, 0x2010).value == 0x1716151413121110);
  CHECK(apply1({0x1d}, 0x200).value == std::bit_cast<std::uint64_t>(-2.5));
  CHECK(apply1({0x1e}, kMinusOne).value == std::bit_cast<std::uint64_t>(-1.0));
  CHECK(apply1({0x1f}, std::bit_cast<std::uint64_t>(-7.9)).value == kMinusOne - 6);
  CHECK(apply1({0x1f}, std::bit_cast<std::uint64_t>(1e300)).value == kLowest - 1);
  CHECK(apply1({0x1f}, std::bit_cast<std::uint64_t>(-1e300)).value == kLowest);
  CHECK(apply1({0x1f}, std::bit_cast<std::uint64_t>(std::numeric_limits<double>::quiet_NaN()))
            .value == 0);
}

TEST_CASE("registers by their protocol number") {
  CHECK(run({0x26, 0, 0, 0x27}).value == 4);                          // rax
  CHECK(run({0x26, 0, 16, 0x27}).value == 0x1007);                    // rip
  CHECK(run({0x26, 0, 18, 0x27}).value == 0x10);                      // cs, 32 bits
  CHECK(run({0x26, 0, 24, 0x27}).error == AgentError::bad_register);  // st0 does not fit
  CHECK(run({0x26, 0xff, 0xff, 0x27}).error == AgentError::bad_register);
}

TEST_CASE("jumps") {
  // if_goto taken: 1 -> jump over the const8 9
  CHECK(run({0x22, 1, 0x20, 0, 7, 0x22, 9, 0x22, 5, 0x27}).value == 5);
  // not taken
  CHECK(run({0x22, 0, 0x20, 0, 8, 0x22, 9, 0x27, 0x27}).value == 9);
  CHECK(run({0x21, 0, 5, 0x22, 9, 0x22, 5, 0x27}).value == 5);
  CHECK(run({0x21, 0, 3}).error == AgentError::bad_jump);
  CHECK(run({0x22, 1, 0x20, 0xff, 0xff, 0x27}).error == AgentError::bad_jump);
}

TEST_CASE("an endless loop ends in an error") {
  CHECK(run({0x21, 0, 0}).error == AgentError::too_many_steps);
}

TEST_CASE("stack opcodes") {
  CHECK(run({0x22, 7, 0x28, 0x02, 0x27}).value == 14);                // dup
  CHECK(run({0x22, 7, 0x22, 8, 0x29, 0x27}).value == 7);              // pop
  CHECK(run({0x22, 7, 0x22, 8, 0x2b, 0x03, 0x27}).value == 1);        // swap: 8 - 7
  CHECK(run({0x22, 1, 0x22, 2, 0x22, 3, 0x32, 2, 0x27}).value == 1);  // pick 2
  CHECK(run({0x22, 1, 0x22, 2, 0x22, 3, 0x32, 0, 0x27}).value == 3);  // pick 0
  CHECK(run({0x22, 1, 0x22, 2, 0x22, 3, 0x33, 0x27}).value == 2);     // rot: c a b
  CHECK(run({0x22, 1, 0x22, 2, 0x22, 3, 0x33, 0x29, 0x27}).value == 1);
  CHECK(run({0x22, 1, 0x22, 2, 0x22, 3, 0x33, 0x29, 0x29, 0x27}).value == 3);
  CHECK(run({0x27}).value == 0);  // an empty stack at the end
}

TEST_CASE("an empty stack is never read below its bottom") {
  for (int opcode = 0x02; opcode <= 0x33; ++opcode) {
    const bool needs_nothing = opcode == 0x21 || (opcode >= 0x22 && opcode <= 0x27) ||
                               opcode == 0x2c || opcode == 0x2e || opcode == 0x31;
    if (needs_nothing) continue;
    CAPTURE(opcode);
    const AgentResult result = run({static_cast<std::uint8_t>(opcode), 0, 1, 0, 0, 0x27});
    CHECK((result.error == AgentError::stack_underflow || result.error == AgentError::bad_operand));
  }
}

TEST_CASE("a full stack is never written past its top") {
  Bytes code;
  for (std::size_t i = 0; i < AgentExpression::kMaxStack; ++i) code.insert(code.end(), {0x22, 1});
  Bytes fits = code;
  fits.push_back(0x27);
  CHECK(run(fits).value == 1);
  for (const Bytes& tail :
       {Bytes{0x22, 1}, Bytes{0x28}, Bytes{0x32, 0}, Bytes{0x26, 0, 0}, Bytes{0x2c, 0, 0}}) {
    Bytes overfull = code;
    overfull.insert(overfull.end(), tail.begin(), tail.end());
    overfull.push_back(0x27);
    CHECK(run(overfull).error == AgentError::stack_overflow);
  }
}

TEST_CASE("bytecode cut anywhere is an error, not a read past its end") {
  const Bytes whole = {0x25, 1,    2,    3, 4,    5,    6,    7, 8,    0x24, 1,    2,
                       3,    4,    0x23, 1, 2,    0x26, 0,    0, 0x16, 8,    0x2c, 0,
                       1,    0x30, 0,    1, 0x0d, 1,    0x32, 0, 0x20, 0,    0};
  for (std::size_t length = 1; length < whole.size(); ++length) {
    CAPTURE(length);
    CHECK(run(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length))).error ==
          AgentError::truncated);
  }
}

TEST_CASE("trace opcodes consume their operands and collect nothing") {
  CHECK(run({0x22, 5, 0x22, 1, 0x22, 2, 0x0c, 0x27}).value == 5);  // trace
  CHECK(run({0x22, 5, 0x0d, 4, 0x27}).value == 5);                 // trace_quick keeps it
  CHECK(run({0x22, 5, 0x30, 0, 4, 0x27}).value == 5);              // trace16 keeps it
  CHECK(run({0x22, 5, 0x22, 1, 0x22, 2, 0x2f, 0x27}).value == 5);  // tracenz
  CHECK(run({0x22, 5, 0x2e, 0, 1, 0x27}).value == 5);              // tracev
}

TEST_CASE("trace state variables hold for one evaluation") {
  CHECK(run({0x22, 5, 0x2d, 0, 1, 0x29, 0x2c, 0, 1, 0x27}).value == 5);
  CHECK(run({0x2c, 0, 1, 0x27}).value == 0);
  CHECK(run({0x2c, 0xff, 0, 0x27}).error == AgentError::bad_operand);
  CHECK(run({0x22, 5, 0x2d, 0xff, 0, 0x27}).error == AgentError::bad_operand);
}

TEST_CASE("unassigned opcodes are errors") {
  for (const int opcode : {0x00, 0x01, 0x31, 0x35, 0x80, 0xff}) {
    CHECK(run({static_cast<std::uint8_t>(opcode), 0x27}).error == AgentError::bad_opcode);
  }
}

TEST_CASE("printf takes its channel, its function and its arguments from the stack") {
  std::string output;
  // Pushed last first: 2, 1, channel, function.
  Bytes code = {0x22, 2, 0x22, 1, 0x22, 0, 0x22, 0, 0x34, 2, 0, 7};
  for (const char c : std::string("%d-%x\\")) code.push_back(static_cast<std::uint8_t>(c));
  code.insert(code.end(), {0, 0x27});
  CHECK(run(code, &output).error == AgentError::none);
  CHECK(output == "1-2\\");
}

TEST_CASE("printf refuses formats without end, without arguments or past the bytecode") {
  CHECK(run({0x22, 0, 0x22, 0, 0x34, 0, 0, 1, 'a', 0x27}).error == AgentError::bad_format);
  CHECK(run({0x22, 0, 0x22, 0, 0x34, 0, 0, 3, '%', 'd', 0, 0x27}).error == AgentError::bad_format);
  CHECK(run({0x22, 0, 0x22, 0, 0x34, 0, 9, 9, 'a', 0, 0x27}).error == AgentError::truncated);
  CHECK(run({0x22, 0, 0x22, 0, 0x34, 0, 0, 0, 0x27}).error == AgentError::truncated);
  CHECK(run({0x34, 0, 0, 1, 0, 0x27}).error == AgentError::stack_underflow);
}

TEST_CASE("empty and overlong expressions are refused") {
  CHECK_THROWS_AS(AgentExpression(Bytes{}), Error);
  CHECK_THROWS_AS(AgentExpression(Bytes(AgentExpression::kMaxBytes + 1, 0x27)), Error);
}

TEST_CASE("formats: integers of every width, characters, strings, escapes") {
  FakeTarget target;
  const auto format = [&](std::string_view text, std::vector<std::uint64_t> arguments) {
    return format_agent_text(text, arguments, target, 1000).value_or("<refused>");
  };
  CHECK(format("%d %u", {0xffffffff, 0xffffffff}) == "-1 4294967295");
  CHECK(format("%ld %hhd %hu", {~0ULL, 0x1ff, 0x12345}) == "-1 -1 9029");
  CHECK(format("%5d|%-5d|%05d|%.3d", {1, 2, 3, 4}) == "    1|2    |00003|004");
  CHECK(format("%#llx %X %o %p", {255, 255, 8, 0x10}) == "0xff FF 10 0x10");
  CHECK(format("%c%%%c", {'a', 'b'}) == "a%b");
  CHECK(format("a\\n\\t\\101\\\\", {}) == "a\n\tA\\");
  target.write_memory(0x300, as_bytes(std::string_view("hello\0", 6)));
  CHECK(format("[%s] [%.2s]", {0x300, 0x300}) == "[hello] [he]");
  CHECK(format("%s", {0xdead0000}) == "<refused>");
  CHECK(format("%n", {1}) == "<refused>");
  CHECK(format("%f", {1}) == "<refused>");
  CHECK(format("%*d", {1, 2}) == "<refused>");
  CHECK(format("%", {1}) == "<refused>");
  CHECK(format("%99999999d", {1}).size() == 512);
  CHECK(format_agent_text("0123456789", {}, target, 4).value() == "0123");
}
