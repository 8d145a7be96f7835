#include "vmm/engine/kvm/step_policy.h"

#include <algorithm>
#include <array>

#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"
#include "vmm/engine/kvm/self_test.h"

namespace chronovisor::kvm {
namespace {

/// System instructions with one result on every processor and no effect that
/// KVM hides or, like the store of a segment register with REX.W, gets wrong
/// (docs/KVM.md). The others: time, entropy, CPUID and MSRs are the machine's own;
/// whatever uses the IDT is (the vCPU has none, see Stepper); flag images show
/// the TF that stepping needs; control and debug registers are KVM's business
/// as much as the guest's; PUSH of a segment register writes 2 bytes or 4.
constexpr std::array<std::string_view, 8> kHostSystemRows{"VERR", "VERW", "LAR",  "LSL",
                                                          "SGDT", "CLTS", "CLAC", "STAC"};
/// These load hidden parts of segment registers: only where KVM keeps them whole.
constexpr std::array<std::string_view, 19> kSegmentRows{
    "MOV ES, r/m16", "MOV DS, r/m16", "MOV FS, r/m16", "MOV GS, r/m16", "POP ES",
    "POP DS",        "POP FS",        "POP GS",        "LES",           "LDS",
    "LFS",           "LGS",           "LSS",           "CALL ptr16:z",  "JMP ptr16:z",
    "CALL m16:v",    "JMP m16:v",     "RETF imm16",    "RETF"};

template <std::size_t N>
bool listed(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// SSE on XMM registers only: MMX shares the x87 registers, whose tags and
/// pointers are kept by the soft processor.
bool xmm_row(const Row& row) {
  if (!row.oracle_exception.empty()) return false;
  const std::uint8_t opcode = row.opcode;
  const bool map_0f = row.map == OpcodeMap::map_0f;
  if (row.prefix == MandatoryPrefix::p66 || row.prefix == MandatoryPrefix::pf3 ||
      row.prefix == MandatoryPrefix::pf2) {
    const bool p66 = row.prefix == MandatoryPrefix::p66;
    if (map_0f && (opcode == 0x2a || opcode == 0x2c || opcode == 0x2d))
      return !p66;                                           // CVTPI2PD and kin
    if (map_0f && opcode == 0xd6) return p66;                // MOVQ2DQ, MOVDQ2Q
    return !(map_0f && (opcode == 0xf7 || opcode == 0xae));  // MASKMOVDQU, FSGSBASE
  }
  if (row.map != OpcodeMap::map_0f) return false;
  return (opcode >= 0x10 && opcode <= 0x17) || opcode == 0x28 || opcode == 0x29 || opcode == 0x2e ||
         opcode == 0x2f || (opcode >= 0x50 && opcode <= 0x5f && opcode != 0x52 && opcode != 0x53) ||
         opcode == 0xc2 || opcode == 0xc6;
}

/// KVM's emulator gets these wrong for some operands, which one trial of the row
/// need not meet: docs/KVM.md.
constexpr std::array<std::string_view, 3> kWronglyEmulated{"cmpxchg", "enter", "pause"};

StepRule integer_rule(const Row& row) {
  if (listed(kWronglyEmulated, row.name)) return StepRule::soft;
  if (!row.oracle_exception.empty()) return StepRule::soft;
  if (row.undefined_flags == kAf) return StepRule::host_clears_af;
  if (row.undefined_flags != 0) return StepRule::soft;
  return StepRule::host;
}

/// Branches whose target only the processor that executes them knows.
constexpr std::array<std::string_view, 4> kIndirectBranches{"jmp rm", "call rm", "ret",
                                                            "ret imm16"};

StepRule control_rule(const Row& row, const Capabilities& capabilities) {
  if (!capabilities.checks_branch_targets && listed(kIndirectBranches, row.name))
    return StepRule::soft;
  const auto has = [&](std::string_view part) {
    return row.name.find(part) != std::string_view::npos;
  };
  if (has("pushf") || has("popf")) return StepRule::soft;
  return integer_rule(row);
}

}  // namespace

StepPolicy::StepPolicy(const Capabilities& capabilities)
    : rows_(instruction_table().size()), exact_(capabilities.exact_steps) {
  std::size_t at = 0;
  for (const Row& row : integer_rows()) rows_[at++].rule = integer_rule(row);
  for (const Row& row : control_rows()) rows_[at++].rule = control_rule(row, capabilities);
  for (const Row& row : system_rows()) {
    const bool host = listed(kHostSystemRows, row.name) ||
                      (capabilities.keeps_granularity && listed(kSegmentRows, row.name));
    rows_[at++].rule = host ? StepRule::host : StepRule::soft;
  }
  at += x87_rows().size();
  for (const Row& row : sse_rows())
    rows_[at++].rule = xmm_row(row) ? StepRule::host : StepRule::soft;
}

StepRule StepPolicy::rule(const Instruction& instruction, ByteView bytes,
                          std::optional<StepWorld> world) const {
  if (instruction.row == kNoRow || !world) return StepRule::soft;
  const RowRule& row = rows_[instruction.row];
  if (row.rule == StepRule::soft) return StepRule::soft;
  if (exact_ != nullptr && !exact_->exact(*world, instruction.row, instruction.memory)) {
    return StepRule::soft;
  }
  if (instruction.memory ? row.unsupported_memory : row.unsupported_registers)
    return StepRule::soft;
  // A near branch with a 66 prefix is 16 bits wide for one vendor only.
  if ((row_attributes(instruction) & kForce64) != 0 && instruction.operand_size == 8) {
    for (std::size_t n = 0; n < bytes.size() && n < instruction.length(); ++n) {
      const std::uint8_t byte = bytes[n];
      if (byte == 0x66) return StepRule::soft;
      const bool prefix = byte == 0xf2 || byte == 0xf3 || byte == 0x2e || byte == 0x36 ||
                          byte == 0x3e || byte == 0x26 || byte == 0x64 || byte == 0x65 ||
                          byte == 0x67 || byte == 0xf0;
      if (!prefix) break;
    }
  }
  return row.rule;
}

void StepPolicy::learn_unsupported(const Instruction& instruction) {
  if (instruction.row == kNoRow) return;
  RowRule& row = rows_[instruction.row];
  (instruction.memory ? row.unsupported_memory : row.unsupported_registers) = true;
}

bool touches_vector_state(const Instruction& instruction) {
  static const std::size_t first =
      integer_rows().size() + control_rows().size() + system_rows().size();
  return instruction.row != kNoRow && instruction.row >= first;
}

}  // namespace chronovisor::kvm
