// Owns the decoded form of one instruction and the shape of a row of the
// instruction table. Every group of instructions (integer, control, system,
// x87, sse) has a table file with its rows beside the functions that execute
// them; instruction_table.h gathers them. Decoder, oracle and fuzzers all read
// the same rows. Immutable after start; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "vmm/cpu/state/registers.h"

namespace chronovisor {

class Cpu;
struct Instruction;

/// Executes one instruction. RIP (gpr[kGprRip]) already points behind it. A
/// fault is raised by Cpu::raise*, before anything architectural has changed;
/// the run loop then restores RIP.
using Handler = void (*)(Cpu&, const Instruction&);

struct Instruction {
  Handler handler = nullptr;
  std::uint64_t immediate = 0;  ///< sign-extended unless the row says otherwise; moffs; far offset
  std::int32_t displacement = 0;
  std::uint16_t immediate2 = 0;    ///< far selector; second immediate of ENTER
  std::uint16_t row = 0;           ///< index in the instruction table
  std::uint16_t start_offset = 0;  ///< of its first byte, from the first byte of its block
  std::uint16_t next_offset = 0;   ///< of the byte behind it
  std::uint8_t opcode = 0;         ///< last opcode byte (condition codes, +r)
  std::uint8_t operand_size = 4;   ///< 1, 2, 4 or 8 bytes
  std::uint8_t address_size = 8;   ///< 2, 4 or 8 bytes
  std::uint8_t reg =
      0;                ///< ModRM.reg with REX.R (or the +r register with REX.B); see byte_register
  std::uint8_t rm = 0;  ///< ModRM.rm with REX.B when it names a register
  std::uint8_t base = kGprZero;  ///< gpr slot of the memory operand
  std::uint8_t index = kGprZero;
  std::uint8_t scale = 0;      ///< shift of the index
  std::uint8_t segment = kDs;  ///< SegmentIndex of the memory operand, overrides applied
  std::uint8_t repeat = 0;     ///< 0xF3, 0xF2 or 0: the last such prefix
  bool memory = false;         ///< ModRM names memory
  bool lock = false;
  std::uint8_t modrm = 0;  ///< the raw ModRM byte
  [[nodiscard]] unsigned length() const { return next_offset - start_offset; }
};

/// A byte register number as the decoder stores it: 0-15 are the low bytes;
/// 16-19 are AH, CH, DH, BH.
inline constexpr std::uint8_t kHighByte = 16;

enum class OpcodeMap : std::uint8_t { primary, map_0f, map_0f38, map_0f3a };

/// Which mandatory prefix selects the row. If any row of an opcode has one,
/// the decoder looks for the last F2/F3, then 66, then none, and falls back to
/// `any`.
enum class MandatoryPrefix : std::uint8_t { any, none, p66, pf3, pf2 };

/// Whether there is a ModRM byte, and which kind of operand it must name.
enum class ModRm : std::uint8_t { absent, any, memory, registers };

enum class Immediate : std::uint8_t {
  none,
  imm8,         ///< sign-extended
  imm8_zero,    ///< zero-extended
  imm16,        ///< zero-extended
  imm_z,        ///< 16 or 32 bits by operand size (32 for 64), sign-extended
  imm_v,        ///< 16, 32 or 64 bits by operand size
  imm16_imm8,   ///< ENTER: immediate, immediate2
  far_pointer,  ///< ptr16:16 or ptr16:32: immediate = offset, immediate2 = selector
  moffs,        ///< an address of the address size
  rel8,         ///< sign-extended
  rel_z,        ///< 16 or 32 bits by operand size (always 32 in 64-bit mode), sign-extended
};

enum RowAttribute : std::uint32_t {
  kByteOperand = 1U << 0,  ///< operand size is 1
  kByteReg = 1U << 1,      ///< ModRM.reg (or +r) is a byte register; implied by kByteOperand
  kByteRm = 1U << 2,       ///< ModRM.rm as a register is a byte register; implied by kByteOperand
  kLockable = 1U << 3,     ///< LOCK allowed with a memory operand
  kInvalid64 = 1U << 4,    ///< #UD in 64-bit mode
  kOnly64 = 1U << 5,       ///< #UD outside 64-bit mode (or decoded as something else)
  kDefault64 = 1U << 6,    ///< 64-bit mode: operand size 8, or 2 with a 66 prefix
  kForce64 = 1U << 7,      ///< 64-bit mode: operand size 8 whatever the prefixes
  kEndsBlock = 1U << 8,    ///< may change RIP, mode, mappings, IF, or needs exact events after it
  kString = 1U << 9,       ///< REP prefixes repeat it; each iteration is a step
  kNotInRealMode = 1U << 10,  ///< #UD in real and virtual-8086 mode
  kPlusRegister = 1U << 11,   ///< opcode+r: eight opcodes, the register goes to `reg`
  kUserMode = 1U << 12,       ///< runs natively at CPL 3: the oracle drives it
  kIgnore66 = 1U << 13,       ///< operand size is 4 or 8 (REX.W); 66 does not make it 2
  kConditional = 1U << 14,    ///< a conditional branch, as performance counters count them
};

/// Functions by log2 of the operand size; register and memory forms apart.
struct Handlers {
  std::array<Handler, 4> registers{};
  std::array<Handler, 4> memory{};
};
/// One function for every size and form.
constexpr Handlers all_forms(Handler h) { return {{h, h, h, h}, {h, h, h, h}}; }
/// The same functions for both forms, by size.
constexpr Handlers by_size(Handler b, Handler w, Handler d, Handler q) {
  return {{b, w, d, q}, {b, w, d, q}};
}
/// One function for registers and one for memory, whatever the size.
constexpr Handlers by_form(Handler r, Handler m) { return {{r, r, r, r}, {m, m, m, m}}; }

struct Row {
  std::string_view name;  ///< the manual's mnemonic, with operands where it helps
  OpcodeMap map = OpcodeMap::primary;
  std::uint8_t opcode = 0;
  MandatoryPrefix prefix = MandatoryPrefix::any;
  ModRm modrm = ModRm::absent;
  std::int8_t reg = -1;  ///< required ModRM.reg (without REX), or -1
  std::int8_t rm = -1;   ///< required ModRM.rm (without REX), or -1
  Immediate immediate = Immediate::none;
  std::uint32_t attributes = 0;            ///< RowAttribute bits
  Handlers handlers{};                     ///< a null entry means #UD for that size or form
  std::uint32_t undefined_flags = 0;       ///< RFLAGS bits the manual leaves undefined afterwards
  std::string_view oracle_exception = {};  ///< why the oracle leaves the row out, if it does
};

}  // namespace chronovisor
