// Owns the architectural register state of one x86-64 processor, as plain
// data, and the names of its bits. Knows no behaviour. Names follow the Intel
// SDM. One thread a machine.
#pragma once

#include <array>
#include <cstdint>

#include "base/state.h"

namespace chronovisor {

/// Index into CpuState::gpr, in encoding order. Two extra slots serve address
/// arithmetic: one that is always zero, and RIP.
enum GprIndex : std::uint8_t {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR10,
  kR11,
  kR12,
  kR13,
  kR14,
  kR15,
  kGprZero,  ///< always 0: "no base", "no index"
  kGprRip,   ///< RIP; while an instruction executes, the address after it
  kGprSlots,
};

/// Index of a segment register, in encoding order.
enum SegmentIndex : std::uint8_t { kEs, kCs, kSs, kDs, kFs, kGs, kSegmentCount };

/// A segment register with its hidden part. `attributes` has the layout of the
/// VMX access-rights field: bits 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L,
/// 14 D/B, 15 G. P = 0 also stands for a null, unusable register.
/// `limit` is in bytes, the last valid offset (G already applied).
struct SegmentRegister {
  std::uint16_t selector = 0;
  std::uint16_t attributes = 0;
  std::uint32_t limit = 0;
  std::uint64_t base = 0;

  [[nodiscard]] unsigned type() const { return attributes & 0xfU; }
  [[nodiscard]] bool code_or_data() const { return (attributes & 0x10U) != 0; }
  [[nodiscard]] unsigned dpl() const { return (attributes >> 5) & 3U; }
  [[nodiscard]] bool present() const { return (attributes & 0x80U) != 0; }
  [[nodiscard]] bool long_mode() const { return (attributes & 0x2000U) != 0; }
  [[nodiscard]] bool big() const { return (attributes & 0x4000U) != 0; }
};
static_assert(sizeof(SegmentRegister) == 16);

struct DescriptorTableRegister {
  std::uint64_t base = 0;
  std::uint16_t limit = 0;
};

/// RFLAGS bits.
enum Rflags : std::uint32_t {
  kCf = 1U << 0,
  kPf = 1U << 2,
  kAf = 1U << 4,
  kZf = 1U << 6,
  kSf = 1U << 7,
  kTf = 1U << 8,
  kIf = 1U << 9,
  kDf = 1U << 10,
  kOf = 1U << 11,
  kIoplMask = 3U << 12,
  kNt = 1U << 14,
  kRf = 1U << 16,
  kVm = 1U << 17,
  kAc = 1U << 18,
  kVif = 1U << 19,
  kVip = 1U << 20,
  kId = 1U << 21,
};
inline constexpr std::uint32_t kFlagsAlwaysOne = 2;
inline constexpr std::uint32_t kArithmeticFlags = kCf | kPf | kAf | kZf | kSf | kOf;

enum Cr0 : std::uint64_t {
  kCr0Pe = 1U << 0,
  kCr0Mp = 1U << 1,
  kCr0Em = 1U << 2,
  kCr0Ts = 1U << 3,
  kCr0Et = 1U << 4,
  kCr0Ne = 1U << 5,
  kCr0Wp = 1U << 16,
  kCr0Am = 1U << 18,
  kCr0Nw = 1U << 29,
  kCr0Cd = 1U << 30,
  kCr0Pg = 1U << 31,
};
enum Cr4 : std::uint64_t {
  kCr4Vme = 1U << 0,
  kCr4Pvi = 1U << 1,
  kCr4Tsd = 1U << 2,
  kCr4De = 1U << 3,
  kCr4Pse = 1U << 4,
  kCr4Pae = 1U << 5,
  kCr4Mce = 1U << 6,
  kCr4Pge = 1U << 7,
  kCr4Pce = 1U << 8,
  kCr4Osfxsr = 1U << 9,
  kCr4Osxmmexcpt = 1U << 10,
  kCr4Umip = 1U << 11,
  kCr4Fsgsbase = 1U << 16,
  kCr4Pcide = 1U << 17,
  kCr4Osxsave = 1U << 18,
  kCr4Smep = 1U << 20,
  kCr4Smap = 1U << 21,
};
enum Efer : std::uint64_t {
  kEferSce = 1U << 0,
  kEferLme = 1U << 8,
  kEferLma = 1U << 10,
  kEferNxe = 1U << 11
};

/// Exception vectors.
enum Vector : std::uint8_t {
  kDivideError = 0,
  kDebug = 1,
  kNmi = 2,
  kBreakpoint = 3,
  kOverflow = 4,
  kBoundRange = 5,
  kInvalidOpcode = 6,
  kDeviceNotAvailable = 7,
  kDoubleFault = 8,
  kInvalidTss = 10,
  kSegmentNotPresent = 11,
  kStackFault = 12,
  kGeneralProtection = 13,
  kPageFault = 14,
  kX87FloatingPoint = 16,
  kAlignmentCheck = 17,
  kMachineCheck = 18,
  kSimdFloatingPoint = 19,
};

/// An 80-bit x87 register: sign and exponent above the 64-bit significand.
struct X87Register {
  std::uint64_t significand = 0;
  std::uint16_t sign_exponent = 0;
};

/// x87 state; MMX registers alias st[physical].significand. `st` is indexed by
/// physical register number (TOP is in `status` bits 13:11).
struct X87State {
  std::array<X87Register, 8> st{};
  std::uint16_t control = 0x37f;
  std::uint16_t status = 0;
  std::uint16_t tag = 0xffff;  ///< full tag word, two bits a physical register
  std::uint16_t last_opcode = 0;
  std::uint16_t last_cs = 0;
  std::uint16_t last_ds = 0;
  std::uint64_t last_ip = 0;
  std::uint64_t last_dp = 0;
};

/// A 128-bit register.
struct Xmm {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

/// Model-specific registers that are plain storage of the CPU. The local
/// APIC's are the APIC's.
struct CpuMsrs {
  std::uint64_t efer = 0;
  std::uint64_t star = 0, lstar = 0, cstar = 0, fmask = 0;
  std::uint64_t kernel_gs_base = 0;
  std::uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  std::uint64_t tsc_aux = 0;
  std::uint64_t tsc_offset = 0;  ///< guest TSC = virtual time in ns + this
  std::uint64_t tsc_adjust = 0;
  std::uint64_t pat = 0x0007040600070406;
  std::uint64_t misc_enable = 1;  ///< fast strings
  std::uint64_t mtrr_def_type = 0;
  std::array<std::uint64_t, 16> mtrr_variable{};  ///< base, mask pairs
  std::array<std::uint64_t, 11> mtrr_fixed{};
  std::uint64_t debug_control = 0;
  std::uint64_t mcg_status = 0;
  std::uint64_t microcode_revision = 0;
  std::uint64_t spec_control = 0;
};

/// What keeps an interrupt or a trap away for one instruction.
/// What the R/W bits of DR7 say a debug register breaks on; ports with CR4.DE only.
/// Source: SDM vol. 3B, "Debug Control Register (DR7)".
enum BreakpointKind : std::uint8_t {
  kBreakExecute = 0,
  kBreakWrite = 1,
  kBreakPort = 2,
  kBreakReadWrite = 3
};
constexpr bool breakpoint_enabled(std::uint64_t dr7, unsigned n) {
  return ((dr7 >> (2 * n)) & 3) != 0;
}
constexpr unsigned breakpoint_kind(std::uint64_t dr7, unsigned n) {
  return (dr7 >> (16 + 4 * n)) & 3;
}

enum InterruptShadow : std::uint8_t { kNoShadow = 0, kStiShadow = 1, kMovSsShadow = 2 };

/// Everything the processor remembers between two steps. RFLAGS is held by the
/// Flags object beside it; see Cpu.
struct CpuState {
  std::array<std::uint64_t, kGprSlots> gpr{};
  std::array<SegmentRegister, kSegmentCount> segment{};
  SegmentRegister ldtr, tr;
  DescriptorTableRegister gdtr, idtr;
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, xcr0 = 1;
  std::array<std::uint64_t, 4> pdpte{};  ///< PAE: loaded with CR3
  std::array<std::uint64_t, 4> dr{};     ///< DR0-DR3
  std::uint64_t dr6 = 0xffff0ff0, dr7 = 0x400;
  CpuMsrs msr;
  X87State x87;
  std::array<Xmm, 16> xmm{};
  std::uint32_t mxcsr = 0x1f80;
  std::uint8_t shadow = kNoShadow;  ///< InterruptShadow, for the next step only
  bool halted = false;              ///< HLT retired, waiting
  bool shutdown = false;            ///< triple fault: the machine decides
  bool nmi_blocked = false;         ///< until IRET
  bool nmi_pending = false;
  std::uint64_t pending_debug = 0;   ///< DR6 bits of a trap #DB due before the next step
  std::uint64_t random_counter = 0;  ///< values drawn from the entropy seed
};

}  // namespace chronovisor
