#include "gdbstub/agent_expression.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "gdbstub/agent_format.h"

namespace chronovisor::gdb {

namespace {

enum Opcode : std::uint8_t {
  op_add = 0x02,
  op_sub = 0x03,
  op_mul = 0x04,
  op_div_signed = 0x05,
  op_div_unsigned = 0x06,
  op_rem_signed = 0x07,
  op_rem_unsigned = 0x08,
  op_lsh = 0x09,
  op_rsh_signed = 0x0a,
  op_rsh_unsigned = 0x0b,
  op_trace = 0x0c,
  op_trace_quick = 0x0d,
  op_log_not = 0x0e,
  op_bit_and = 0x0f,
  op_bit_or = 0x10,
  op_bit_xor = 0x11,
  op_bit_not = 0x12,
  op_equal = 0x13,
  op_less_signed = 0x14,
  op_less_unsigned = 0x15,
  op_ext = 0x16,
  op_ref8 = 0x17,
  op_ref16 = 0x18,
  op_ref32 = 0x19,
  op_ref64 = 0x1a,
  op_ref_float = 0x1b,
  op_ref_double = 0x1c,
  op_ref_long_double = 0x1d,
  op_l_to_d = 0x1e,
  op_d_to_l = 0x1f,
  op_if_goto = 0x20,
  op_goto = 0x21,
  op_const8 = 0x22,
  op_const16 = 0x23,
  op_const32 = 0x24,
  op_const64 = 0x25,
  op_reg = 0x26,
  op_end = 0x27,
  op_dup = 0x28,
  op_pop = 0x29,
  op_zero_ext = 0x2a,
  op_swap = 0x2b,
  op_getv = 0x2c,
  op_setv = 0x2d,
  op_tracev = 0x2e,
  op_tracenz = 0x2f,
  op_trace16 = 0x30,
  op_pick = 0x32,
  op_rot = 0x33,
  op_printf = 0x34,
};

// A printf may read and write thousands of bytes, and counts accordingly.
constexpr std::size_t kStepsPerPrintf = 1000;

using Int = std::int64_t;
using Word = std::uint64_t;

Word shift_left(Word value, Word by) { return by >= 64 ? 0 : value << by; }
Word shift_right(Word value, Word by) { return by >= 64 ? 0 : value >> by; }
Word shift_right_signed(Word value, Word by) {
  return static_cast<Word>(static_cast<Int>(value) >> (by >= 64 ? 63 : by));
}

Word double_to_integer(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 9223372036854775808.0) return static_cast<Word>(std::numeric_limits<Int>::max());
  if (value <= -9223372036854775808.0) return static_cast<Word>(std::numeric_limits<Int>::min());
  return static_cast<Word>(static_cast<Int>(value));
}

/// The x87 80-bit format to double, without relying on the host's long double.
double extended_to_double(const std::array<std::uint8_t, 10>& raw) {
  Word significand = 0;
  for (int i = 7; i >= 0; --i) significand = significand << 8 | raw[static_cast<std::size_t>(i)];
  const int sign_exponent = raw[8] | raw[9] << 8;
  const int exponent = sign_exponent & 0x7fff;
  double value = 0;
  if (exponent == 0x7fff) {
    value = significand << 1 == 0 ? std::numeric_limits<double>::infinity()
                                  : std::numeric_limits<double>::quiet_NaN();
  } else {
    value = std::ldexp(static_cast<double>(significand), exponent - 16383 - 63);
  }
  return (sign_exponent & 0x8000) != 0 ? -value : value;
}

/// One evaluation. An operation that fails sets `error` and leaves zeros.
class Evaluation {
 public:
  Evaluation(const Bytes& code, const RegisterMemoryReader& reader,
             const TargetDescription& description,
             const std::function<void(std::string_view)>& output)
      : code_(code), reader_(reader), description_(description), output_(output) {}

  AgentResult run() {
    while (error_ == AgentError::none) {
      if (++steps_ > AgentExpression::kMaxSteps) return {AgentError::too_many_steps, 0};
      const auto opcode = static_cast<std::uint8_t>(fetch(1));
      if (error_ != AgentError::none) break;
      if (opcode == op_end) return {AgentError::none, depth_ == 0 ? 0 : stack_[depth_ - 1]};
      execute(opcode);
    }
    return {error_, 0};
  }

 private:
  void fail(AgentError error) {
    if (error_ == AgentError::none) error_ = error;
  }

  /// Operands are big-endian whatever the target is.
  Word fetch(std::size_t bytes) {
    if (code_.size() - pc_ < bytes) {
      fail(AgentError::truncated);
      return 0;
    }
    Word value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | code_[pc_++];
    return value;
  }

  Word pop() {
    if (depth_ == 0) {
      fail(AgentError::stack_underflow);
      return 0;
    }
    return stack_[--depth_];
  }

  void push(Word value) {
    if (depth_ == stack_.size()) {
      fail(AgentError::stack_overflow);
      return;
    }
    stack_[depth_++] = value;
  }

  bool need(std::size_t count) {
    if (depth_ >= count) return true;
    fail(AgentError::stack_underflow);
    return false;
  }

  template <std::size_t kBytes>
  std::array<std::uint8_t, kBytes> read(Word address) {
    std::array<std::uint8_t, kBytes> raw{};
    if (error_ == AgentError::none && reader_.read_memory(address, raw) != kBytes) {
      fail(AgentError::bad_memory);
    }
    return raw;
  }

  template <std::size_t kBytes>
  Word read_integer(Word address) {
    const std::array<std::uint8_t, kBytes> raw = read<kBytes>(address);
    Word value = 0;
    for (std::size_t i = kBytes; i-- > 0;) value = value << 8 | raw[i];
    return value;
  }

  void jump(Word target) {
    if (target >= code_.size()) {
      fail(AgentError::bad_jump);
      return;
    }
    pc_ = static_cast<std::size_t>(target);
  }

  void execute(std::uint8_t opcode);
  bool binary(std::uint8_t opcode);
  bool divide(std::uint8_t opcode);
  bool memory(std::uint8_t opcode);
  bool tracing(std::uint8_t opcode);
  void extend(bool is_signed);
  void push_register(Word number);
  void stack_shuffle(std::uint8_t opcode);
  void print();

  const Bytes& code_;
  const RegisterMemoryReader& reader_;
  const TargetDescription& description_;
  const std::function<void(std::string_view)>& output_;
  std::array<Word, AgentExpression::kMaxStack> stack_{};
  std::array<Word, AgentExpression::kVariables> variables_{};
  std::size_t depth_ = 0;
  std::size_t pc_ = 0;
  std::size_t steps_ = 0;
  AgentError error_ = AgentError::none;
};

bool Evaluation::binary(std::uint8_t opcode) {
  using Operation = Word (*)(Word, Word);
  Operation operation = nullptr;
  switch (opcode) {
    case op_add:
      operation = [](Word a, Word b) { return a + b; };
      break;
    case op_sub:
      operation = [](Word a, Word b) { return a - b; };
      break;
    case op_mul:
      operation = [](Word a, Word b) { return a * b; };
      break;
    case op_lsh:
      operation = shift_left;
      break;
    case op_rsh_signed:
      operation = shift_right_signed;
      break;
    case op_rsh_unsigned:
      operation = shift_right;
      break;
    case op_bit_and:
      operation = [](Word a, Word b) { return a & b; };
      break;
    case op_bit_or:
      operation = [](Word a, Word b) { return a | b; };
      break;
    case op_bit_xor:
      operation = [](Word a, Word b) { return a ^ b; };
      break;
    case op_equal:
      operation = [](Word a, Word b) { return Word{a == b}; };
      break;
    case op_less_signed:
      operation = [](Word a, Word b) { return Word{static_cast<Int>(a) < static_cast<Int>(b)}; };
      break;
    case op_less_unsigned:
      operation = [](Word a, Word b) { return Word{a < b}; };
      break;
    default:
      return false;
  }
  const Word b = pop();
  const Word a = pop();
  push(operation(a, b));
  return true;
}

bool Evaluation::divide(std::uint8_t opcode) {
  if (opcode < op_div_signed || opcode > op_rem_unsigned) return false;
  const Word b = pop();
  const Word a = pop();
  if (b == 0) {
    fail(AgentError::divide_by_zero);
    return true;
  }
  // INT64_MIN / -1 does not fit; it wraps, like the other operations.
  const bool wraps = b == ~Word{0};
  const auto sa = static_cast<Int>(a);
  const auto sb = static_cast<Int>(b);
  switch (opcode) {
    case op_div_signed:
      push(wraps ? Word{0} - a : static_cast<Word>(sa / sb));
      break;
    case op_div_unsigned:
      push(a / b);
      break;
    case op_rem_signed:
      push(wraps ? 0 : static_cast<Word>(sa % sb));
      break;
    default:
      push(a % b);
      break;
  }
  return true;
}

bool Evaluation::memory(std::uint8_t opcode) {
  switch (opcode) {
    case op_ref8:
      push(read_integer<1>(pop()));
      return true;
    case op_ref16:
      push(read_integer<2>(pop()));
      return true;
    case op_ref32:
      push(read_integer<4>(pop()));
      return true;
    case op_ref64:
      push(read_integer<8>(pop()));
      return true;
    // Floating-point values travel on the stack as the bits of a double.
    case op_ref_float: {
      const auto bits = static_cast<std::uint32_t>(read_integer<4>(pop()));
      push(std::bit_cast<Word>(static_cast<double>(std::bit_cast<float>(bits))));
      return true;
    }
    case op_ref_double:
      push(read_integer<8>(pop()));
      return true;
    case op_ref_long_double:
      push(std::bit_cast<Word>(extended_to_double(read<10>(pop()))));
      return true;
    case op_l_to_d:
      push(std::bit_cast<Word>(static_cast<double>(static_cast<Int>(pop()))));
      return true;
    case op_d_to_l:
      push(double_to_integer(std::bit_cast<double>(pop())));
      return true;
    default:
      return false;
  }
}

bool Evaluation::tracing(std::uint8_t opcode) {
  switch (opcode) {
    case op_trace:
    case op_tracenz:
      pop();
      pop();
      return true;
    case op_trace_quick:
      fetch(1);
      need(1);
      return true;
    case op_trace16:
      fetch(2);
      need(1);
      return true;
    case op_getv:
    case op_setv:
    case op_tracev: {
      const Word number = fetch(2);
      if (number >= variables_.size()) {
        fail(AgentError::bad_operand);
        return true;
      }
      if (opcode == op_getv) push(variables_[number]);
      // The value stays on the stack: an assignment has a value.
      if (opcode == op_setv && need(1)) variables_[number] = stack_[depth_ - 1];
      return true;
    }
    default:
      return false;
  }
}

void Evaluation::extend(bool is_signed) {
  const Word bits = fetch(1);
  const Word value = pop();
  if (bits == 0 || bits > 64) {
    if (error_ == AgentError::none) fail(AgentError::bad_operand);
    return;
  }
  const Word unused = 64 - bits;
  push(is_signed ? shift_right_signed(value << unused, unused) : value << unused >> unused);
}

void Evaluation::push_register(Word number) {
  if (error_ != AgentError::none) return;
  std::array<std::uint8_t, 8> raw{};
  if (number >= description_.registers.size()) {
    fail(AgentError::bad_register);
    return;
  }
  const std::size_t size = register_bytes(description_.registers[number]);
  if (size > raw.size() ||
      !reader_.read_register(static_cast<std::size_t>(number), {raw.data(), size})) {
    fail(AgentError::bad_register);
    return;
  }
  Word value = 0;
  for (std::size_t i = size; i-- > 0;) value = value << 8 | raw[i];
  push(value);
}

void Evaluation::stack_shuffle(std::uint8_t opcode) {
  if (opcode == op_dup) {
    if (need(1)) push(stack_[depth_ - 1]);
  } else if (opcode == op_pop) {
    pop();
  } else if (opcode == op_swap) {
    if (need(2)) std::swap(stack_[depth_ - 1], stack_[depth_ - 2]);
  } else if (opcode == op_pick) {
    const Word below_top = fetch(1);
    if (need(below_top + 1)) push(stack_[depth_ - 1 - below_top]);
  } else if (need(3)) {  // rot: a b c => c a b
    const Word c = stack_[depth_ - 1];
    stack_[depth_ - 1] = stack_[depth_ - 2];
    stack_[depth_ - 2] = stack_[depth_ - 3];
    stack_[depth_ - 3] = c;
  }
}

void Evaluation::print() {
  const Word count = fetch(1);
  const Word length = fetch(2);
  if (error_ == AgentError::none && (length == 0 || code_.size() - pc_ < length)) {
    fail(AgentError::truncated);
  }
  if (error_ != AgentError::none) return;
  std::string_view format(reinterpret_cast<const char*>(code_.data()) + pc_, length);
  pc_ += length;
  if (format.back() != '\0') {
    fail(AgentError::bad_format);
    return;
  }
  format.remove_suffix(1);
  steps_ += kStepsPerPrintf;
  // The function to call and its channel: output goes to the client whatever they are.
  pop();
  pop();
  std::vector<Word> arguments;
  for (Word i = 0; i < count; ++i) arguments.push_back(pop());
  if (error_ != AgentError::none) return;
  const std::optional<std::string> text =
      format_agent_text(format, arguments, reader_, AgentExpression::kMaxOutputBytes);
  if (!text) {
    fail(AgentError::bad_format);
  } else if (output_) {
    output_(*text);
  }
}

void Evaluation::execute(std::uint8_t opcode) {
  if (binary(opcode) || divide(opcode) || memory(opcode) || tracing(opcode)) return;
  switch (opcode) {
    case op_log_not:
      push(Word{pop() == 0});
      break;
    case op_bit_not:
      push(~pop());
      break;
    case op_ext:
      extend(true);
      break;
    case op_zero_ext:
      extend(false);
      break;
    case op_if_goto: {
      const Word target = fetch(2);
      if (pop() != 0 && error_ == AgentError::none) jump(target);
      break;
    }
    case op_goto: {
      const Word target = fetch(2);
      if (error_ == AgentError::none) jump(target);
      break;
    }
    case op_const8:
      push(fetch(1));
      break;
    case op_const16:
      push(fetch(2));
      break;
    case op_const32:
      push(fetch(4));
      break;
    case op_const64:
      push(fetch(8));
      break;
    case op_reg:
      push_register(fetch(2));
      break;
    case op_dup:
    case op_pop:
    case op_swap:
    case op_pick:
    case op_rot:
      stack_shuffle(opcode);
      break;
    case op_printf:
      print();
      break;
    default:
      fail(AgentError::bad_opcode);
  }
}

}  // namespace

std::string_view describe(AgentError error) {
  switch (error) {
    case AgentError::none:
      return "no error";
    case AgentError::stack_underflow:
      return "stack underflow";
    case AgentError::stack_overflow:
      return "stack overflow";
    case AgentError::truncated:
      return "bytecode ends in the middle";
    case AgentError::bad_opcode:
      return "opcode that does not exist";
    case AgentError::bad_operand:
      return "operand out of range";
    case AgentError::bad_jump:
      return "jump out of the bytecode";
    case AgentError::divide_by_zero:
      return "division by zero";
    case AgentError::bad_register:
      return "register that cannot be read";
    case AgentError::bad_memory:
      return "memory that cannot be read";
    case AgentError::bad_format:
      return "printf format that is not understood";
    case AgentError::too_many_steps:
      return "too many steps";
  }
  return "unknown";
}

AgentExpression::AgentExpression(Bytes code) : code_(std::move(code)) {
  if (code_.empty() || code_.size() > kMaxBytes) {
    throw Error(ErrorCode::bad_input, "agent expression of " + std::to_string(code_.size()) +
                                          " bytes; it must have 1 to " + std::to_string(kMaxBytes));
  }
}

AgentResult AgentExpression::evaluate(const RegisterMemoryReader& reader,
                                      const TargetDescription& description,
                                      const std::function<void(std::string_view)>& output) const {
  return Evaluation(code_, reader, description, output).run();
}

}  // namespace chronovisor::gdb
