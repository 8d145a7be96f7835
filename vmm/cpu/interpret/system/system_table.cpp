// The rows of the system instructions. Privileges are checked by the handlers.
#include <array>

#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/interpret/system/system_handlers.h"

namespace chronovisor {
namespace {

using namespace system_handlers;  // NOLINT(google-build-using-namespace): a table of their names
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

using enum OpcodeMap;
using enum MandatoryPrefix;

constexpr ModRm kNoModRm = ModRm::absent;
constexpr ModRm kAnyModRm = ModRm::any;
constexpr ModRm kMem = ModRm::memory;
constexpr ModRm kRegs = ModRm::registers;
constexpr auto kPlain = Immediate::none;
constexpr std::string_view kSystemState = "needs system state";

/// Every row of this table is outside the oracle: it depends on system state.
constexpr Row row(std::string_view name, OpcodeMap map, u8 opcode, MandatoryPrefix prefix,
                  ModRm modrm, int reg, int rm, Immediate immediate, u32 attributes,
                  Handlers handlers) {
  return {name,
          map,
          opcode,
          prefix,
          modrm,
          static_cast<std::int8_t>(reg),
          static_cast<std::int8_t>(rm),
          immediate,
          attributes,
          handlers,
          0,
          kSystemState};
}
constexpr Row plain(std::string_view name, OpcodeMap map, u8 opcode, u32 attributes, Handler h,
                    Immediate immediate = kPlain) {
  return row(name, map, opcode, any, kNoModRm, -1, -1, immediate, attributes, all_forms(h));
}
constexpr Row group(std::string_view name, OpcodeMap map, u8 opcode, ModRm modrm, int reg,
                    u32 attributes, Handler h) {
  return row(name, map, opcode, any, modrm, reg, -1, kPlain, attributes, all_forms(h));
}
/// A register form that is one single encoding, like SWAPGS.
constexpr Row fixed(std::string_view name, MandatoryPrefix prefix, int reg, int rm, u32 attributes,
                    Handler h) {
  return row(name, map_0f, 0x01, prefix, kRegs, reg, rm, kPlain, attributes, all_forms(h));
}
/// Port instructions of 16 or 32 bits; REX.W changes nothing.
constexpr Row sized(std::string_view name, u8 opcode, u32 attributes, Handler w, Handler d,
                    Immediate immediate = kPlain) {
  return row(name, primary, opcode, any, kNoModRm, -1, -1, immediate, attributes,
             by_size(nullptr, w, d, d));
}

constexpr u32 kEnds = kEndsBlock;
constexpr u32 kPortString = kEnds | kString;

constexpr std::array kRows{
    // --- segment registers --------------------------------------------------------
    group("MOV r/m, Sreg", primary, 0x8c, kAnyModRm, -1, 0, mov_from_segment),
    group("MOV ES, r/m16", primary, 0x8e, kAnyModRm, 0, 0, mov_to_segment),
    group("MOV SS, r/m16", primary, 0x8e, kAnyModRm, 2, kEnds, mov_to_ss),
    group("MOV DS, r/m16", primary, 0x8e, kAnyModRm, 3, 0, mov_to_segment),
    group("MOV FS, r/m16", primary, 0x8e, kAnyModRm, 4, 0, mov_to_segment),
    group("MOV GS, r/m16", primary, 0x8e, kAnyModRm, 5, 0, mov_to_segment),
    plain("PUSH ES", primary, 0x06, kInvalid64, push_segment<kEs>),
    plain("POP ES", primary, 0x07, kInvalid64, pop_segment<kEs>),
    plain("PUSH CS", primary, 0x0e, kInvalid64, push_segment<kCs>),
    plain("PUSH SS", primary, 0x16, kInvalid64, push_segment<kSs>),
    plain("POP SS", primary, 0x17, kInvalid64 | kEnds, pop_segment<kSs>),
    plain("PUSH DS", primary, 0x1e, kInvalid64, push_segment<kDs>),
    plain("POP DS", primary, 0x1f, kInvalid64, pop_segment<kDs>),
    plain("PUSH FS", map_0f, 0xa0, kDefault64, push_segment<kFs>),
    plain("POP FS", map_0f, 0xa1, kDefault64, pop_segment<kFs>),
    plain("PUSH GS", map_0f, 0xa8, kDefault64, push_segment<kGs>),
    plain("POP GS", map_0f, 0xa9, kDefault64, pop_segment<kGs>),
    group("LES", primary, 0xc4, kMem, -1, kInvalid64, load_far_pointer<kEs>),
    group("LDS", primary, 0xc5, kMem, -1, kInvalid64, load_far_pointer<kDs>),
    group("LSS", map_0f, 0xb2, kMem, -1, kEnds, load_far_pointer<kSs>),
    group("LFS", map_0f, 0xb4, kMem, -1, 0, load_far_pointer<kFs>),
    group("LGS", map_0f, 0xb5, kMem, -1, 0, load_far_pointer<kGs>),
    row("RDFSBASE", map_0f, 0xae, pf3, kRegs, 0, -1, kPlain, kOnly64 | kIgnore66,
        all_forms(read_base<kFs>)),
    row("RDGSBASE", map_0f, 0xae, pf3, kRegs, 1, -1, kPlain, kOnly64 | kIgnore66,
        all_forms(read_base<kGs>)),
    row("WRFSBASE", map_0f, 0xae, pf3, kRegs, 2, -1, kPlain, kOnly64 | kIgnore66,
        all_forms(write_base<kFs>)),
    row("WRGSBASE", map_0f, 0xae, pf3, kRegs, 3, -1, kPlain, kOnly64 | kIgnore66,
        all_forms(write_base<kGs>)),
    fixed("SWAPGS", any, 7, 0, kOnly64, swapgs),

    // --- far transfers, interrupts, system calls -------------------------------------
    plain("CALL ptr16:z", primary, 0x9a, kInvalid64 | kEnds, call_far_pointer,
          Immediate::far_pointer),
    plain("JMP ptr16:z", primary, 0xea, kInvalid64 | kEnds, jmp_far_pointer,
          Immediate::far_pointer),
    group("CALL m16:v", primary, 0xff, kMem, 3, kEnds, call_far_memory),
    group("JMP m16:v", primary, 0xff, kMem, 5, kEnds, jmp_far_memory),
    plain("RETF imm16", primary, 0xca, kEnds, retf, Immediate::imm16),
    plain("RETF", primary, 0xcb, kEnds, retf),
    plain("INT3", primary, 0xcc, kEnds, int3),
    plain("INT imm8", primary, 0xcd, kEnds, int_n, Immediate::imm8_zero),
    plain("INTO", primary, 0xce, kInvalid64 | kEnds, into),
    plain("INT1", primary, 0xf1, kEnds, int1),
    plain("IRET", primary, 0xcf, kEnds, iret),
    plain("SYSCALL", map_0f, 0x05, kEnds, syscall),
    plain("SYSRET", map_0f, 0x07, kEnds, sysret),
    plain("SYSENTER", map_0f, 0x34, kEnds, sysenter),
    plain("SYSEXIT", map_0f, 0x35, kEnds, sysexit),

    // --- descriptor tables -----------------------------------------------------------
    group("SLDT", map_0f, 0x00, kAnyModRm, 0, kNotInRealMode, sldt),
    group("STR", map_0f, 0x00, kAnyModRm, 1, kNotInRealMode, str),
    group("LLDT", map_0f, 0x00, kAnyModRm, 2, kNotInRealMode | kEnds, lldt),
    group("LTR", map_0f, 0x00, kAnyModRm, 3, kNotInRealMode | kEnds, ltr),
    group("VERR", map_0f, 0x00, kAnyModRm, 4, kNotInRealMode, verr),
    group("VERW", map_0f, 0x00, kAnyModRm, 5, kNotInRealMode, verw),
    group("SGDT", map_0f, 0x01, kMem, 0, 0, store_table_register<false>),
    group("SIDT", map_0f, 0x01, kMem, 1, 0, store_table_register<true>),
    group("LGDT", map_0f, 0x01, kMem, 2, kEnds, load_table_register<false>),
    group("LIDT", map_0f, 0x01, kMem, 3, kEnds, load_table_register<true>),
    group("LAR", map_0f, 0x02, kAnyModRm, -1, kNotInRealMode, lar),
    group("LSL", map_0f, 0x03, kAnyModRm, -1, kNotInRealMode, lsl),
    group("ARPL", primary, 0x63, kAnyModRm, -1, kInvalid64 | kNotInRealMode, arpl),

    // --- control and debug registers ---------------------------------------------------
    group("MOV r, CRn", map_0f, 0x20, kRegs, -1, kForce64, mov_from_control),
    group("MOV r, DRn", map_0f, 0x21, kRegs, -1, kForce64, mov_from_debug),
    group("MOV CRn, r", map_0f, 0x22, kRegs, -1, kForce64 | kEnds, mov_to_control),
    group("MOV DRn, r", map_0f, 0x23, kRegs, -1, kForce64 | kEnds, mov_to_debug),
    plain("CLTS", map_0f, 0x06, kEnds, clts),
    group("SMSW", map_0f, 0x01, kAnyModRm, 4, 0, smsw),
    group("LMSW", map_0f, 0x01, kAnyModRm, 6, kEnds, lmsw),
    group("INVLPG", map_0f, 0x01, kMem, 7, kEnds, invlpg),
    row("INVPCID", map_0f38, 0x82, p66, kMem, -1, -1, kPlain, kEnds, all_forms(invpcid)),
    fixed("XGETBV", none, 2, 0, 0, xgetbv),
    fixed("XSETBV", none, 2, 1, kEnds, xsetbv),
    fixed("CLAC", none, 1, 2, kEnds, clac),
    fixed("STAC", none, 1, 3, kEnds, stac),

    // --- ports ----------------------------------------------------------------------------
    plain("IN AL, imm8", primary, 0xe4, kByteOperand | kEnds, in_immediate<u8>,
          Immediate::imm8_zero),
    sized("IN eAX, imm8", 0xe5, kEnds, in_immediate<u16>, in_immediate<u32>, Immediate::imm8_zero),
    plain("OUT imm8, AL", primary, 0xe6, kByteOperand | kEnds, out_immediate<u8>,
          Immediate::imm8_zero),
    sized("OUT imm8, eAX", 0xe7, kEnds, out_immediate<u16>, out_immediate<u32>,
          Immediate::imm8_zero),
    plain("IN AL, DX", primary, 0xec, kByteOperand | kEnds, in_port<u8>),
    sized("IN eAX, DX", 0xed, kEnds, in_port<u16>, in_port<u32>),
    plain("OUT DX, AL", primary, 0xee, kByteOperand | kEnds, out_port<u8>),
    sized("OUT DX, eAX", 0xef, kEnds, out_port<u16>, out_port<u32>),
    plain("INSB", primary, 0x6c, kByteOperand | kPortString, ins<u8>),
    sized("INSW/INSD", 0x6d, kPortString, ins<u16>, ins<u32>),
    plain("OUTSB", primary, 0x6e, kByteOperand | kPortString, outs<u8>),
    sized("OUTSW/OUTSD", 0x6f, kPortString, outs<u16>, outs<u32>),

    // --- the processor itself ---------------------------------------------------------------
    plain("CPUID", map_0f, 0xa2, 0, cpuid_instruction),
    plain("RDMSR", map_0f, 0x32, 0, rdmsr),
    plain("WRMSR", map_0f, 0x30, kEnds, wrmsr),
    plain("RDTSC", map_0f, 0x31, 0, rdtsc),
    fixed("RDTSCP", any, 7, 1, 0, rdtscp),
    plain("RDPMC", map_0f, 0x33, 0, rdpmc),
    // With F3 these are other instructions (RDPID is one), which this model lacks.
    row("RDRAND", map_0f, 0xc7, none, kRegs, 6, -1, kPlain, 0, all_forms(random)),
    row("RDRAND", map_0f, 0xc7, p66, kRegs, 6, -1, kPlain, 0, all_forms(random)),
    row("RDSEED", map_0f, 0xc7, none, kRegs, 7, -1, kPlain, 0, all_forms(random)),
    row("RDSEED", map_0f, 0xc7, p66, kRegs, 7, -1, kPlain, 0, all_forms(random)),
    plain("HLT", primary, 0xf4, kEnds, hlt),
    plain("CLI", primary, 0xfa, kEnds, cli),
    plain("STI", primary, 0xfb, kEnds, sti),
    plain("INVD", map_0f, 0x08, kEnds, invalidate_caches),
    plain("WBINVD", map_0f, 0x09, kEnds, invalidate_caches),
};

}  // namespace

std::span<const Row> system_rows() { return kRows; }

}  // namespace chronovisor
