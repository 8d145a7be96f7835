#include <string_view>
#include <utility>
#include <vector>

#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/interpret/integer/branches.h"
#include "vmm/cpu/interpret/integer/conditions.h"
#include "vmm/cpu/interpret/integer/operand.h"
#include "vmm/cpu/interpret/integer/stack.h"

// Source: SDM vol. 2D, appendix A, "Opcode Map". Near branches in 64-bit mode
// have 64-bit operands whatever the prefixes say, as on Intel processors.

namespace chronovisor {
namespace {

using namespace execute;
using Rows = std::vector<Row>;

constexpr u32 kBranch = kForce64 | kEndsBlock | kUserMode;
constexpr u32 kConditionalBranch = kBranch | kConditional;
constexpr u32 kStack = kDefault64 | kUserMode;

template <unsigned Code>
void add_jcc(Rows& rows) {
  rows.push_back({.name = kJccNames[Code],
                  .opcode = 0x70 + Code,
                  .immediate = Immediate::rel8,
                  .attributes = kConditionalBranch,
                  .handlers = kWordSame<Jcc<Code>>});
  rows.push_back({.name = kJccNames[Code],
                  .map = OpcodeMap::map_0f,
                  .opcode = 0x80 + Code,
                  .immediate = Immediate::rel_z,
                  .attributes = kConditionalBranch,
                  .handlers = kWordSame<Jcc<Code>>});
}
template <unsigned... Codes>
void add_all_jcc(Rows& rows, std::integer_sequence<unsigned, Codes...> /*codes*/) {
  (add_jcc<Codes>(rows), ...);
}

void add_branches(Rows& rows) {
  add_all_jcc(rows, std::make_integer_sequence<unsigned, 16>{});
  const Rows added{
      {.name = "jmp rel8",
       .opcode = 0xeb,
       .immediate = Immediate::rel8,
       .attributes = kBranch,
       .handlers = kWordSame<JmpRelative>},
      {.name = "jmp rel",
       .opcode = 0xe9,
       .immediate = Immediate::rel_z,
       .attributes = kBranch,
       .handlers = kWordSame<JmpRelative>},
      {.name = "jmp rm",
       .opcode = 0xff,
       .modrm = ModRm::any,
       .reg = 4,
       .attributes = kBranch,
       .handlers = kWordForms<JmpIndirect<InRegister>, JmpIndirect<InMemory>>},
      {.name = "call rel",
       .opcode = 0xe8,
       .immediate = Immediate::rel_z,
       .attributes = kBranch,
       .handlers = kWordSame<CallRelative>},
      {.name = "call rm",
       .opcode = 0xff,
       .modrm = ModRm::any,
       .reg = 2,
       .attributes = kBranch,
       .handlers = kWordForms<CallIndirect<InRegister>, CallIndirect<InMemory>>},
      {.name = "ret", .opcode = 0xc3, .attributes = kBranch, .handlers = kWordSame<Ret>},
      {.name = "ret imm16",
       .opcode = 0xc2,
       .immediate = Immediate::imm16,
       .attributes = kBranch,
       .handlers = kWordSame<RetImmediate>},
      {.name = "loopne",
       .opcode = 0xe0,
       .immediate = Immediate::rel8,
       .attributes = kConditionalBranch,
       .handlers = kWordSame<Loop<LoopIfNotEqual>>},
      {.name = "loope",
       .opcode = 0xe1,
       .immediate = Immediate::rel8,
       .attributes = kConditionalBranch,
       .handlers = kWordSame<Loop<LoopIfEqual>>},
      {.name = "loop",
       .opcode = 0xe2,
       .immediate = Immediate::rel8,
       .attributes = kConditionalBranch,
       .handlers = kWordSame<Loop<LoopAlways>>},
      {.name = "jcxz",
       .opcode = 0xe3,
       .immediate = Immediate::rel8,
       .attributes = kConditionalBranch,
       .handlers = kWordSame<Jcxz>},
      {.name = "bound",
       .opcode = 0x62,
       .modrm = ModRm::memory,
       .attributes = kInvalid64 | kUserMode,
       .handlers = kLegacySame<Bound>},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

void add_stack(Rows& rows) {
  const Rows added{
      {.name = "push r",
       .opcode = 0x50,
       .attributes = kStack | kPlusRegister,
       .handlers = kWordSame<PushPlusRegister>},
      {.name = "pop r",
       .opcode = 0x58,
       .attributes = kStack | kPlusRegister,
       .handlers = kWordSame<PopPlusRegister>},
      {.name = "push imm",
       .opcode = 0x68,
       .immediate = Immediate::imm_z,
       .attributes = kStack,
       .handlers = kWordSame<PushImmediate>},
      {.name = "push imm8",
       .opcode = 0x6a,
       .immediate = Immediate::imm8,
       .attributes = kStack,
       .handlers = kWordSame<PushImmediate>},
      {.name = "push rm",
       .opcode = 0xff,
       .modrm = ModRm::any,
       .reg = 6,
       .attributes = kStack,
       .handlers = kWordForms<Push<InRegister>, Push<InMemory>>},
      {.name = "pop rm",
       .opcode = 0x8f,
       .modrm = ModRm::any,
       .reg = 0,
       .attributes = kStack,
       .handlers = kWordForms<PopRegister, PopMemory>},
      {.name = "pusha",
       .opcode = 0x60,
       .attributes = kInvalid64 | kUserMode,
       .handlers = kLegacySame<PushAll>},
      {.name = "popa",
       .opcode = 0x61,
       .attributes = kInvalid64 | kUserMode,
       .handlers = kLegacySame<PopAll>},
      {.name = "pushf",
       .opcode = 0x9c,
       .attributes = kStack,
       .handlers = kWordSame<PushFlags>,
       .oracle_exception = "shows the host's IF and IOPL"},
      {.name = "popf",
       .opcode = 0x9d,
       .attributes = kStack | kEndsBlock,
       .handlers = kWordSame<PopFlags>,
       .oracle_exception = "would set TF and AC on the host"},
      {.name = "enter",
       .opcode = 0xc8,
       .immediate = Immediate::imm16_imm8,
       .attributes = kStack,
       .handlers = kWordSame<Enter>},
      {.name = "leave", .opcode = 0xc9, .attributes = kStack, .handlers = kWordSame<Leave>},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

void add_undefined(Rows& rows) {
  const auto undefined = [&rows](std::string_view name, u8 opcode, ModRm modrm) {
    rows.push_back({.name = name,
                    .map = OpcodeMap::map_0f,
                    .opcode = opcode,
                    .modrm = modrm,
                    .attributes = kEndsBlock | kUserMode,
                    .handlers = all_forms(undefined_on_purpose)});
  };
  undefined("ud2", 0x0b, ModRm::absent);
  undefined("ud1", 0xb9, ModRm::any);
  undefined("ud0", 0xff, ModRm::any);
}

Rows build() {
  Rows rows;
  add_branches(rows);
  add_stack(rows);
  add_undefined(rows);
  return rows;
}

}  // namespace

std::span<const Row> control_rows() {
  static const Rows rows = build();
  return rows;
}

}  // namespace chronovisor
