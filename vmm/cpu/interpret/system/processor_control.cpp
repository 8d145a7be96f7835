// Instructions about the processor itself: identification, MSRs, time, random
// numbers, halting, interrupt and alignment flags, caches.
#include "vmm/cpu/interpret/system/cpuid.h"
#include "vmm/cpu/interpret/system/msr.h"
#include "vmm/cpu/interpret/system/system_handlers.h"

namespace chronovisor::system_handlers {
namespace {

void set_edx_eax(Cpu& cpu, std::uint64_t value) {
  cpu.set_reg<std::uint32_t>(kRax, static_cast<std::uint32_t>(value));
  cpu.set_reg<std::uint32_t>(kRdx, static_cast<std::uint32_t>(value >> 32));
}

void require_tsc_access(const Cpu& cpu) {
  if ((cpu.state.cr4 & kCr4Tsd) != 0 && cpu.cpl() != 0) cpu.raise_gp0();
}

/// CLI and STI: without VME and PVI only IOPL decides.
void require_interrupt_flag_access(const Cpu& cpu) {
  if (cpu.cpl() > cpu.flags.iopl()) cpu.raise_gp0();
}

void set_alignment_flag(Cpu& cpu, bool on) {
  if (cpu.cpl() != 0) cpu.raise_ud();
  cpu.change_flags(kAc, on ? kAc : 0U);
}

}  // namespace

void cpuid_instruction(Cpu& cpu, const Instruction& /*i*/) {
  const auto leaf = cpu.reg<std::uint32_t>(kRax);
  CpuEnvironment& environment = cpu.environment();
  const CpuidResult result =
      cpuid(leaf, cpu.reg<std::uint32_t>(kRcx),
            {cpu.state.cr4, cpu.state.xcr0, environment.apic_enabled(), environment.apic_id()});
  if (leaf == 1) cpu.state.msr.microcode_revision = kMicrocodeRevision;
  cpu.set_reg<std::uint32_t>(kRax, result.eax);
  cpu.set_reg<std::uint32_t>(kRbx, result.ebx);
  cpu.set_reg<std::uint32_t>(kRcx, result.ecx);
  cpu.set_reg<std::uint32_t>(kRdx, result.edx);
}

void rdmsr(Cpu& cpu, const Instruction& /*i*/) {
  require_cpl0(cpu);
  set_edx_eax(cpu, read_msr(cpu, cpu.reg<std::uint32_t>(kRcx)));
}

void wrmsr(Cpu& cpu, const Instruction& /*i*/) {
  require_cpl0(cpu);
  const std::uint64_t value =
      (std::uint64_t{cpu.reg<std::uint32_t>(kRdx)} << 32) | cpu.reg<std::uint32_t>(kRax);
  write_msr(cpu, cpu.reg<std::uint32_t>(kRcx), value);
}

void rdtsc(Cpu& cpu, const Instruction& /*i*/) {
  require_tsc_access(cpu);
  set_edx_eax(cpu, time_stamp_counter(cpu));
}

void rdtscp(Cpu& cpu, const Instruction& /*i*/) {
  require_tsc_access(cpu);
  set_edx_eax(cpu, time_stamp_counter(cpu));
  cpu.set_reg<std::uint32_t>(kRcx, static_cast<std::uint32_t>(cpu.state.msr.tsc_aux));
}

void rdpmc(Cpu& cpu, const Instruction& /*i*/) { cpu.raise_gp0(); }  // there are no counters

void random(Cpu& cpu, const Instruction& i) {
  const std::uint64_t value = cpu.environment().entropy(cpu.state.random_counter++);
  set_reg_sized(cpu, i.rm, i.operand_size, value);
  cpu.flags.set_arithmetic(kCf);
}

void hlt(Cpu& cpu, const Instruction& /*i*/) {
  require_cpl0(cpu);
  cpu.state.halted = true;
}

void cli(Cpu& cpu, const Instruction& /*i*/) {
  require_interrupt_flag_access(cpu);
  cpu.flags.assign<kIf>(false);
}

void sti(Cpu& cpu, const Instruction& /*i*/) {
  require_interrupt_flag_access(cpu);
  if (cpu.flags.test(kIf)) return;
  cpu.flags.assign<kIf>(true);
  cpu.state.shadow = kStiShadow;
}

void clac(Cpu& cpu, const Instruction& /*i*/) { set_alignment_flag(cpu, false); }
void stac(Cpu& cpu, const Instruction& /*i*/) { set_alignment_flag(cpu, true); }

void invalidate_caches(Cpu& cpu, const Instruction& /*i*/) { require_cpl0(cpu); }

}  // namespace chronovisor::system_handlers
