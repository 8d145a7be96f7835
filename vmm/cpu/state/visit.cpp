#include "vmm/cpu/state/visit.h"

#include <array>
#include <string>

#include "base/section.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kMxcsrBits = 0xffff;
constexpr std::uint64_t kXcr0Bits = 3;  // x87 and SSE

void visit_segment(StateVisitor& visitor, const std::string& name, SegmentRegister& segment) {
  visitor.field(name + ".selector", segment.selector);
  visitor.field(name + ".attributes", segment.attributes);
  visitor.field(name + ".limit", segment.limit);
  visitor.field(name + ".base", segment.base);
}

void visit_table(StateVisitor& visitor, const std::string& name, DescriptorTableRegister& table) {
  visitor.field(name + ".base", table.base);
  visitor.field(name + ".limit", table.limit);
}

}  // namespace

void visit_general_registers(StateVisitor& visitor, CpuState& state) {
  static constexpr std::array<const char*, 16> kNames{"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                      "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                      "r12", "r13", "r14", "r15"};
  for (std::size_t n = 0; n < kNames.size(); ++n) visitor.field(kNames[n], state.gpr[n]);
  visitor.field("rip", state.gpr[kGprRip]);
  static constexpr std::array<const char*, kSegmentCount> kSegments{"es", "cs", "ss",
                                                                    "ds", "fs", "gs"};
  for (std::size_t n = 0; n < kSegments.size(); ++n) {
    visit_segment(visitor, kSegments[n], state.segment[n]);
  }
  visit_segment(visitor, "ldtr", state.ldtr);
  visit_segment(visitor, "tr", state.tr);
  visit_table(visitor, "gdtr", state.gdtr);
  visit_table(visitor, "idtr", state.idtr);
  visitor.field("cr0", state.cr0);
  visitor.field("cr2", state.cr2);
  visitor.field("cr3", state.cr3);
  visitor.field("cr4", state.cr4);
  visitor.field("xcr0", state.xcr0);
  visitor.field("pdpte", state.pdpte);
  visitor.field("dr", state.dr);
  visitor.field("dr6", state.dr6);
  visitor.field("dr7", state.dr7);
}

void visit_msrs(StateVisitor& visitor, CpuMsrs& msr) {
  visitor.field("msr.efer", msr.efer);
  visitor.field("msr.star", msr.star);
  visitor.field("msr.lstar", msr.lstar);
  visitor.field("msr.cstar", msr.cstar);
  visitor.field("msr.fmask", msr.fmask);
  visitor.field("msr.kernel_gs_base", msr.kernel_gs_base);
  visitor.field("msr.sysenter_cs", msr.sysenter_cs);
  visitor.field("msr.sysenter_esp", msr.sysenter_esp);
  visitor.field("msr.sysenter_eip", msr.sysenter_eip);
  visitor.field("msr.tsc_aux", msr.tsc_aux);
  visitor.field("msr.tsc_offset", msr.tsc_offset);
  visitor.field("msr.tsc_adjust", msr.tsc_adjust);
  visitor.field("msr.pat", msr.pat);
  visitor.field("msr.misc_enable", msr.misc_enable);
  visitor.field("msr.mtrr_def_type", msr.mtrr_def_type);
  visitor.field("msr.mtrr_variable", msr.mtrr_variable);
  visitor.field("msr.mtrr_fixed", msr.mtrr_fixed);
  visitor.field("msr.debug_control", msr.debug_control);
  visitor.field("msr.mcg_status", msr.mcg_status);
  visitor.field("msr.microcode_revision", msr.microcode_revision);
  visitor.field("msr.spec_control", msr.spec_control);
}

void visit_floating_point(StateVisitor& visitor, CpuState& state) {
  for (std::size_t n = 0; n < state.x87.st.size(); ++n) {
    const std::string name = "x87.physical" + std::to_string(n);
    visitor.field(name + ".significand", state.x87.st[n].significand);
    visitor.field(name + ".sign_exponent", state.x87.st[n].sign_exponent);
  }
  visitor.field("x87.control", state.x87.control);
  visitor.field("x87.status", state.x87.status);
  visitor.field("x87.tag", state.x87.tag);
  visitor.field("x87.last_opcode", state.x87.last_opcode);
  visitor.field("x87.last_cs", state.x87.last_cs);
  visitor.field("x87.last_ds", state.x87.last_ds);
  visitor.field("x87.last_ip", state.x87.last_ip);
  visitor.field("x87.last_dp", state.x87.last_dp);
  for (std::size_t n = 0; n < state.xmm.size(); ++n) {
    visitor.field("xmm" + std::to_string(n), state.xmm[n]);
  }
  // The host's own MXCSR takes no other bits.
  bounded_field(visitor, "mxcsr", state.mxcsr, kMxcsrBits);
}

void visit_pending(StateVisitor& visitor, CpuState& state) {
  bounded_field(visitor, "shadow", state.shadow, kMovSsShadow);
  visitor.field("halted", state.halted);
  visitor.field("shutdown", state.shutdown);
  visitor.field("nmi_blocked", state.nmi_blocked);
  visitor.field("nmi_pending", state.nmi_pending);
  visitor.field("pending_debug", state.pending_debug);
  visitor.field("random_counter", state.random_counter);
}

void require_modes(const CpuState& state, std::uint32_t rflags) {
  const bool paging = (state.cr0 & kCr0Pg) != 0;
  const bool long_mode = (state.msr.efer & kEferLma) != 0;
  require_field(!paging || (state.cr0 & kCr0Pe) != 0, "cr0");
  require_field(long_mode == (paging && (state.msr.efer & kEferLme) != 0), "msr.efer");
  require_field(!long_mode || (state.cr4 & kCr4Pae) != 0, "cr4");
  require_field(!long_mode || (rflags & kVm) == 0, "rflags");
  require_field((state.xcr0 & ~kXcr0Bits) == 0 && (state.xcr0 & 1) != 0, "xcr0");
}

}  // namespace chronovisor
