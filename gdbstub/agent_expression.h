// Owns the evaluation of GDB agent expressions: the bytecode in which gdb sends
// breakpoint conditions and commands. Untrusted: every fetch, stack access,
// jump and step is bounded. Knows no packet and no breakpoint. Immutable once
// made; evaluate() may run on several threads at once.
// Source: GDB manual, appendix "The GDB Agent Expression Mechanism".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "gdbstub/target.h"

namespace chronovisor::gdb {

enum class AgentError {
  none,
  stack_underflow,
  stack_overflow,
  truncated,    ///< ran off the end of the bytecode
  bad_opcode,   ///< not assigned, or `float`, which the manual leaves undefined
  bad_operand,  ///< a width or a variable number out of range
  bad_jump,
  divide_by_zero,
  bad_register,
  bad_memory,
  bad_format,  ///< printf: a conversion that is not understood
  too_many_steps,
};

std::string_view describe(AgentError error);

struct AgentResult {
  AgentError error = AgentError::none;
  std::uint64_t value = 0;  ///< top of stack at `end`; 0 when it was empty
};

class AgentExpression {
 public:
  static constexpr std::size_t kMaxBytes = 65536;  ///< jumps hold 16 bits
  static constexpr std::size_t kMaxStack = 100;
  static constexpr std::size_t kMaxSteps = 10'000;
  static constexpr std::size_t kVariables = 64;  ///< trace state variables of one evaluation
  static constexpr std::size_t kMaxOutputBytes = 65536;  ///< of one printf

  /// Throws Error{bad_input} when empty or longer than kMaxBytes.
  explicit AgentExpression(Bytes code);

  /// Runs the expression. `trace*` opcodes check and pop their operands and
  /// collect nothing; trace state variables start at zero each time. printf
  /// text goes to `output`, or nowhere when that is empty.
  [[nodiscard]] AgentResult evaluate(
      const RegisterMemoryReader& reader, const TargetDescription& description,
      const std::function<void(std::string_view)>& output = {}) const;

  [[nodiscard]] const Bytes& code() const { return code_; }

 private:
  Bytes code_;
};

}  // namespace chronovisor::gdb
