#include "vmm/cpu/interpret/system/control_registers.h"

#include <utility>

#include "vmm/cpu/interpret/system/descriptors.h"
#include "vmm/cpu/interpret/system/system_handlers.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kCr0Writable = std::uint64_t{kCr0Pe} | kCr0Mp | kCr0Em | kCr0Ts | kCr0Ne |
                                       kCr0Wp | kCr0Am | kCr0Nw | kCr0Cd | kCr0Pg;
constexpr std::uint64_t kCr4Supported =
    std::uint64_t{kCr4Tsd} | kCr4De | kCr4Pse | kCr4Pae | kCr4Mce | kCr4Pge | kCr4Pce | kCr4Osfxsr |
    kCr4Osxmmexcpt | kCr4Umip | kCr4Fsgsbase | kCr4Pcide | kCr4Osxsave | kCr4Smep | kCr4Smap;
constexpr std::uint64_t kEferWritable = std::uint64_t{kEferSce} | kEferLme | kEferNxe;
constexpr std::uint64_t kCr3NoFlush = 1ULL << 63;
constexpr std::uint64_t kXcr0Supported = 3;  // x87, SSE

constexpr std::uint64_t kDr6Fixed = 0xffff0ff0;
constexpr std::uint64_t kDr6Writable = 0xe00f;
constexpr std::uint64_t kDr6GeneralDetect = 1U << 13;  // BD
constexpr std::uint64_t kDr7Fixed = 0x400;
constexpr std::uint64_t kDr7Writable = 0xffff23ff;
constexpr std::uint64_t kDr7GeneralDetect = 1U << 13;
constexpr std::uint64_t kDr7Enables = 0xff;

bool pae_paging(std::uint64_t cr0, std::uint64_t cr4, std::uint64_t efer) {
  return (cr0 & kCr0Pg) != 0 && (cr4 & kCr4Pae) != 0 && (efer & kEferLma) == 0;
}

/// Raises if PG may not go from 0 to 1; returns the new EFER.
std::uint64_t efer_when_paging_starts(const Cpu& cpu) {
  const CpuState& state = cpu.state;
  if ((state.msr.efer & kEferLme) == 0) return state.msr.efer;
  const unsigned tr_type = state.tr.type();
  const bool tss16 = tr_type == kTss16Available || tr_type == kTss16Busy;
  if ((state.cr4 & kCr4Pae) == 0 || state.segment[kCs].long_mode() || tss16) cpu.raise_gp0();
  return state.msr.efer | kEferLma;
}

/// Raises if PG may not go from 1 to 0; returns the new EFER.
std::uint64_t efer_when_paging_stops(const Cpu& cpu) {
  if (cpu.long64() || (cpu.state.cr4 & kCr4Pcide) != 0) cpu.raise_gp0();
  return cpu.state.msr.efer & ~std::uint64_t{kEferLma};
}

/// PAE: the directory pointers anew, from where CR3 leads.
void reload_pdptes(Cpu& cpu) {
  const auto pdpte = cpu.checked_pdptes(cpu.state.cr3);
  if (std::exchange(cpu.state.pdpte, pdpte) != pdpte) cpu.flush_tlb();
}

}  // namespace

void write_cr0(Cpu& cpu, std::uint64_t value) {
  CpuState& state = cpu.state;
  if ((value >> 32) != 0) cpu.raise_gp0();
  const std::uint64_t cr0 = (value & kCr0Writable) | kCr0Et;
  if ((cr0 & kCr0Pg) != 0 && (cr0 & kCr0Pe) == 0) cpu.raise_gp0();
  if ((cr0 & kCr0Nw) != 0 && (cr0 & kCr0Cd) == 0) cpu.raise_gp0();
  const std::uint64_t changed = cr0 ^ state.cr0;
  std::uint64_t efer = state.msr.efer;
  if ((changed & kCr0Pg) != 0) {
    efer = (cr0 & kCr0Pg) != 0 ? efer_when_paging_starts(cpu) : efer_when_paging_stops(cpu);
  }
  constexpr std::uint64_t kReloadsPdptes = std::uint64_t{kCr0Cd} | kCr0Nw | kCr0Pg;
  if ((changed & kReloadsPdptes) != 0 && pae_paging(cr0, state.cr4, efer)) {
    reload_pdptes(cpu);
  }
  cpu.set_cr0(cr0, efer);
}

void write_cr3(Cpu& cpu, std::uint64_t value) {
  CpuState& state = cpu.state;
  if ((state.cr4 & kCr4Pcide) != 0) value &= ~kCr3NoFlush;
  if (cpu.long_mode_active() && (value & kReservedPhysical) != 0) cpu.raise_gp0();
  if (pae_paging(state.cr0, state.cr4, state.msr.efer)) state.pdpte = cpu.checked_pdptes(value);
  cpu.set_cr3(value);
}

void write_cr4(Cpu& cpu, std::uint64_t value) {
  CpuState& state = cpu.state;
  if ((value & ~kCr4Supported) != 0) cpu.raise_gp0();
  const std::uint64_t changed = value ^ state.cr4;
  if (cpu.long_mode_active() && (value & kCr4Pae) == 0) cpu.raise_gp0();
  if ((changed & value & kCr4Pcide) != 0 && (!cpu.long_mode_active() || (state.cr3 & 0xfff) != 0)) {
    cpu.raise_gp0();
  }
  constexpr std::uint64_t kReloadsPdptes = std::uint64_t{kCr4Pae} | kCr4Pse | kCr4Pge | kCr4Smep;
  if ((changed & kReloadsPdptes) != 0 && pae_paging(state.cr0, value, state.msr.efer)) {
    reload_pdptes(cpu);
  }
  cpu.set_cr4(value);
}

void write_efer(Cpu& cpu, std::uint64_t value) {
  CpuState& state = cpu.state;
  if ((value & ~(kEferWritable | kEferLma)) != 0) cpu.raise_gp0();
  const std::uint64_t efer = (value & kEferWritable) | (state.msr.efer & kEferLma);
  const std::uint64_t changed = efer ^ state.msr.efer;
  if ((changed & kEferLme) != 0 && (state.cr0 & kCr0Pg) != 0) cpu.raise_gp0();
  cpu.set_efer(efer);
}

namespace system_handlers {
namespace {

std::uint64_t register_operand(Cpu& cpu, const Instruction& i) {
  return cpu.long64() ? cpu.gpr(i.rm) : static_cast<std::uint32_t>(cpu.gpr(i.rm));
}

void set_register_operand(Cpu& cpu, const Instruction& i, std::uint64_t value) {
  set_reg_sized(cpu, i.rm, cpu.long64() ? 8 : 4, value);
}

/// The debug register number, with DR4 and DR5 resolved, after all checks.
unsigned checked_debug_register(Cpu& cpu, const Instruction& i) {
  unsigned number = i.reg;
  if (number > 7) cpu.raise_ud();
  if (number == 4 || number == 5) {
    if ((cpu.state.cr4 & kCr4De) != 0) cpu.raise_ud();
    number += 2;
  }
  require_cpl0(cpu);
  if ((cpu.state.dr7 & kDr7GeneralDetect) != 0) {
    cpu.state.pending_debug = kDr6GeneralDetect;  // delivery of #DB takes it to DR6
    cpu.raise(kDebug);
  }
  return number;
}

}  // namespace

void mov_from_control(Cpu& cpu, const Instruction& i) {
  std::uint64_t value = 0;
  switch (i.reg) {
    case 0:
      value = cpu.state.cr0;
      break;
    case 2:
      value = cpu.state.cr2;
      break;
    case 3:
      value = cpu.state.cr3;
      break;
    case 4:
      value = cpu.state.cr4;
      break;
    case 8:
      value = cpu.environment().task_priority();
      break;
    default:
      cpu.raise_ud();
  }
  require_cpl0(cpu);
  set_register_operand(cpu, i, value);
}

void mov_to_control(Cpu& cpu, const Instruction& i) {
  const std::uint64_t value = register_operand(cpu, i);
  const bool exists = i.reg == 0 || i.reg == 2 || i.reg == 3 || i.reg == 4 || i.reg == 8;
  if (!exists) cpu.raise_ud();
  require_cpl0(cpu);
  switch (i.reg) {
    case 0:
      write_cr0(cpu, value);
      break;
    case 2:
      cpu.state.cr2 = value;
      break;
    case 3:
      write_cr3(cpu, value);
      break;
    case 4:
      write_cr4(cpu, value);
      break;
    default:
      if (value > 15) cpu.raise_gp0();
      cpu.environment().set_task_priority(static_cast<std::uint8_t>(value));
      cpu.request_recheck();
      break;
  }
}

void mov_from_debug(Cpu& cpu, const Instruction& i) {
  const unsigned number = checked_debug_register(cpu, i);
  const CpuState& state = cpu.state;
  const std::uint64_t value = number < 4 ? state.dr[number] : (number == 6 ? state.dr6 : state.dr7);
  set_register_operand(cpu, i, value);
}

void mov_to_debug(Cpu& cpu, const Instruction& i) {
  const unsigned number = checked_debug_register(cpu, i);
  const std::uint64_t value = register_operand(cpu, i);
  CpuState& state = cpu.state;
  if (number >= 6 && (value >> 32) != 0) cpu.raise_gp0();
  const std::uint64_t enabled_before = state.dr7 & kDr7Enables;
  if (number < 4) {
    state.dr[number] = value;
  } else if (number == 6) {
    state.dr6 = (value & kDr6Writable) | kDr6Fixed;
  } else {
    state.dr7 = (value & kDr7Writable) | kDr7Fixed;
  }
  // Pages under a data breakpoint must leave the fast path, and may come back.
  if (number != 6 && (enabled_before | (state.dr7 & kDr7Enables)) != 0) cpu.flush_tlb();
}

void clts(Cpu& cpu, const Instruction& /*i*/) {
  require_cpl0(cpu);
  cpu.set_cr0(cpu.state.cr0 & ~std::uint64_t{kCr0Ts}, cpu.state.msr.efer);
}

void lmsw(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  const std::uint64_t value = selector_operand(cpu, i);
  constexpr std::uint64_t kLow = std::uint64_t{kCr0Pe} | kCr0Mp | kCr0Em | kCr0Ts;
  // PE can be set, not cleared.
  write_cr0(cpu, (cpu.state.cr0 & ~(kLow & ~std::uint64_t{kCr0Pe})) | (value & kLow));
}

void smsw(Cpu& cpu, const Instruction& i) {
  require_no_umip(cpu);
  if (i.memory) {
    cpu.store_operand<std::uint16_t>(i, static_cast<std::uint16_t>(cpu.state.cr0));
  } else {
    set_reg_sized(cpu, i.rm, i.operand_size, cpu.state.cr0);
  }
}

void xgetbv(Cpu& cpu, const Instruction& /*i*/) {
  if ((cpu.state.cr4 & kCr4Osxsave) == 0) cpu.raise_ud();
  if (cpu.reg<std::uint32_t>(kRcx) != 0) cpu.raise_gp0();
  cpu.set_reg<std::uint32_t>(kRax, static_cast<std::uint32_t>(cpu.state.xcr0));
  cpu.set_reg<std::uint32_t>(kRdx, static_cast<std::uint32_t>(cpu.state.xcr0 >> 32));
}

void xsetbv(Cpu& cpu, const Instruction& /*i*/) {
  if ((cpu.state.cr4 & kCr4Osxsave) == 0) cpu.raise_ud();
  require_cpl0(cpu);
  const std::uint64_t value =
      (std::uint64_t{cpu.reg<std::uint32_t>(kRdx)} << 32) | cpu.reg<std::uint32_t>(kRax);
  if (cpu.reg<std::uint32_t>(kRcx) != 0 || (value & 1) == 0 || (value & ~kXcr0Supported) != 0) {
    cpu.raise_gp0();
  }
  cpu.state.xcr0 = value;
}

void invlpg(Cpu& cpu, const Instruction& /*i*/) {
  // The TLB is coherent with the tables: there is nothing to drop.
  require_cpl0(cpu);
}

void invpcid(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  enum Type : std::uint64_t { kOneAddress, kOneContext, kAllWithGlobal, kAll };
  const std::uint64_t type =
      cpu.long64() ? cpu.gpr(i.reg) : std::uint64_t{cpu.reg<std::uint32_t>(i.reg)};
  const Xmm descriptor = cpu.load_operand<Xmm>(i);
  if (type > kAll) cpu.raise_gp0();
  const bool names_pcid = type == kOneAddress || type == kOneContext;
  const std::uint64_t pcid = descriptor.low;
  if (names_pcid && (pcid >> 12) != 0) cpu.raise_gp0();
  if (names_pcid && (cpu.state.cr4 & kCr4Pcide) == 0 && pcid != 0) cpu.raise_gp0();
  if (type == kOneAddress && !Cpu::canonical(descriptor.high)) cpu.raise_gp0();
  // As INVLPG: nothing to drop.
}

}  // namespace system_handlers
}  // namespace chronovisor
