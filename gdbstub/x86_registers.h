// Owns the lists of x86 registers as debuggers know them: names, sizes, order
// and types. There is a 64-bit layout, good for every CPU mode, and a 32-bit
// one for guests with 32-bit symbols; one holds for a whole session, because
// gdb cannot change a layout within one. Knows no CPU and holds no values.
// Constant tables; any thread.
#pragma once

#include <cstddef>

#include "gdbstub/target.h"

namespace chronovisor::gdb {

/// Numbers in the protocol; never renumbered, since gdb's agent expressions
/// carry them.
enum class X86Register : std::size_t {
  // org.gnu.gdb.i386.core
  rax,
  rbx,
  rcx,
  rdx,
  rsi,
  rdi,
  rbp,
  rsp,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rip,
  eflags,
  cs,
  ss,
  ds,
  es,
  fs,
  gs,
  st0,
  st1,
  st2,
  st3,
  st4,
  st5,
  st6,
  st7,
  /// fctrl, fstat: 16 bits used. ftag: the full two-bit-a-register tag word.
  /// fiseg, fioff, foseg, fooff: last instruction and operand pointers.
  fctrl,
  fstat,
  ftag,
  fiseg,
  fioff,
  foseg,
  fooff,
  fop,
  // org.gnu.gdb.i386.sse
  xmm0,
  xmm1,
  xmm2,
  xmm3,
  xmm4,
  xmm5,
  xmm6,
  xmm7,
  xmm8,
  xmm9,
  xmm10,
  xmm11,
  xmm12,
  xmm13,
  xmm14,
  xmm15,
  mxcsr,
  // org.gnu.gdb.i386.segments
  fs_base,
  gs_base,
  // org.chronovisor.system
  cr0,
  cr2,
  cr3,
  cr4,
  cr8,
  efer,
  k_gs_base,
  gdtr_base,
  gdtr_limit,
  idtr_base,
  idtr_limit,
  ldtr,
  ldtr_base,
  ldtr_limit,
  tr,
  tr_base,
  tr_limit,
  cs_base,
  ss_base,
  ds_base,
  es_base,
  dr0,
  dr1,
  dr2,
  dr3,
  dr6,
  dr7,
  star,
  lstar,
  cstar,
  sfmask,
  sysenter_cs,
  sysenter_esp,
  sysenter_eip,
  apic_base,
  pat,
  tsc,
  tsc_aux,
  // org.chronovisor.time: read-only
  position,         ///< steps retired since power-on
  virtual_time_ns,  ///< guest time since power-on
  count,
};

/// The name space, sizes, types and program counter of all of the above.
const TargetDescription& x86_target_description();

/// The same registers as a 32-bit debugger knows them, fewer and narrower.
const TargetDescription& i386_target_description();
/// What register `index` of the 32-bit layout shows; `count` when there is none.
X86Register i386_register(std::size_t index);

}  // namespace chronovisor::gdb
