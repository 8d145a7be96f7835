#include "vmm/cpu/interpret/system/fast_calls.h"

#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kSysretFlags = 0x3c7fd7;  // all but RF and VM

std::uint16_t selector_plus(std::uint64_t base, unsigned offset, unsigned rpl) {
  return static_cast<std::uint16_t>((base + offset) | rpl);
}

enum class CodeKind : std::uint8_t { bits32, bits64 };

void enter(Cpu& cpu, std::uint16_t cs, std::uint16_t ss, unsigned cpl, CodeKind kind) {
  const Cpu::ModeChange change(cpu);
  cpu.set_segment(kCs, flat_code(cs, cpl, kind == CodeKind::bits64));
  cpu.set_segment(kSs, flat_stack(ss, cpl));
  cpu.set_cpl(cpl);
}

}  // namespace

void fast_syscall(Cpu& cpu) {
  const CpuMsrs& msr = cpu.state.msr;
  if (!cpu.long64() || (msr.efer & kEferSce) == 0) cpu.raise_ud();
  const std::uint32_t flags = cpu.flags.value() & ~std::uint32_t{kRf};
  cpu.gpr(kRcx) = cpu.rip();
  cpu.gpr(kR11) = flags;
  cpu.rip() = msr.lstar;
  const Cpu::ModeChange change(cpu);
  cpu.set_flags(flags & ~static_cast<std::uint32_t>(msr.fmask));
  cpu.single_step_by_new_flags();
  const std::uint64_t base = (msr.star >> 32) & 0xfffc;
  enter(cpu, selector_plus(base, 0, 0), selector_plus(base, 8, 0), 0, CodeKind::bits64);
}

void fast_sysret(Cpu& cpu, unsigned size) {
  const CpuMsrs& msr = cpu.state.msr;
  if (!cpu.long64() || (msr.efer & kEferSce) == 0) cpu.raise_ud();
  if (cpu.cpl() != 0) cpu.raise_gp0();
  const bool to_long64 = size == 8;
  const std::uint64_t rcx = cpu.gpr(kRcx);
  if (to_long64 && !Cpu::canonical(rcx)) cpu.raise_gp0();
  cpu.rip() = to_long64 ? rcx : static_cast<std::uint32_t>(rcx);
  const Cpu::ModeChange change(cpu);
  cpu.set_flags(static_cast<std::uint32_t>(cpu.gpr(kR11)) & kSysretFlags);
  cpu.single_step_by_new_flags();
  const std::uint64_t base = (msr.star >> 48) & 0xffff;
  enter(cpu, selector_plus(base, to_long64 ? 16 : 0, 3), selector_plus(base, 8, 3), 3,
        to_long64 ? CodeKind::bits64 : CodeKind::bits32);
}

void fast_sysenter(Cpu& cpu) {
  const CpuMsrs& msr = cpu.state.msr;
  const std::uint64_t base = msr.sysenter_cs & 0xfffc;
  if (!cpu.protected_mode() || base == 0) cpu.raise_gp0();
  const bool long_mode = cpu.long_mode_active();
  const Cpu::ModeChange change(cpu);
  cpu.change_flags(kVm | kIf | kRf, 0);
  cpu.gpr(kRsp) = long_mode ? msr.sysenter_esp : static_cast<std::uint32_t>(msr.sysenter_esp);
  cpu.rip() = long_mode ? msr.sysenter_eip : static_cast<std::uint32_t>(msr.sysenter_eip);
  enter(cpu, selector_plus(base, 0, 0), selector_plus(base, 8, 0), 0,
        long_mode ? CodeKind::bits64 : CodeKind::bits32);
}

void fast_sysexit(Cpu& cpu, unsigned size) {
  const std::uint64_t base = cpu.state.msr.sysenter_cs & 0xfffc;
  if (!cpu.protected_mode() || base == 0 || cpu.cpl() != 0) cpu.raise_gp0();
  const std::uint64_t rip = cpu.gpr(kRdx);
  const std::uint64_t rsp = cpu.gpr(kRcx);
  if (size == 8) {
    if (!Cpu::canonical(rip) || !Cpu::canonical(rsp)) cpu.raise_gp0();
    cpu.rip() = rip;
    cpu.gpr(kRsp) = rsp;
    enter(cpu, selector_plus(base, 32, 3), selector_plus(base, 40, 3), 3, CodeKind::bits64);
    return;
  }
  cpu.rip() = static_cast<std::uint32_t>(rip);
  cpu.gpr(kRsp) = static_cast<std::uint32_t>(rsp);
  enter(cpu, selector_plus(base, 16, 3), selector_plus(base, 24, 3), 3, CodeKind::bits32);
}

}  // namespace chronovisor
