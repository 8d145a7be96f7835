// The packets of QEMU's own that have a meaning here: scripts for debugging
// kernels (pwndbg, gef) send them to read page tables by physical address.
// They take a stub that tells of single-step modes, and has no qOffsets, for one that
// debugs a whole machine in this dialect.
// Source: QEMU's manual, "GDB usage", "Examining physical memory" and "Changing
// single-stepping behaviour".
#include "gdbstub/session.h"

namespace chronovisor::gdb {

namespace {
// Of QEMU's single-step modes the ones there are here. NOTIMER is not: time goes by
// instructions, and a step is one.
constexpr std::uint64_t kStepEnabled = 1;
constexpr std::uint64_t kStepWithoutInterrupts = 2;
}  // namespace

Answer Session::qemu_supported(PacketReader&) { return Answer::of("sstepbits;sstep;PhyMemMode"); }

Answer Session::step_modes(PacketReader&) { return Answer::of("ENABLE=1,NOIRQ=2"); }

Answer Session::step_mode(PacketReader&) {
  const bool passes = target_.steps_pass_over_interrupts();
  return Answer::of(join({"0x", hex_number(kStepEnabled | (passes ? kStepWithoutInterrupts : 0))}));
}

Answer Session::set_step_mode(PacketReader& packet) {
  packet.take("0x");
  const std::uint64_t wanted = packet.hex();
  packet.expect_end();
  if ((wanted & kStepEnabled) == 0 || (wanted & ~(kStepEnabled | kStepWithoutInterrupts)) != 0) {
    return error("of the single-step modes there are 1 and 3");
  }
  target_.set_steps_pass_over_interrupts((wanted & kStepWithoutInterrupts) != 0);
  return Answer::of("OK");
}

Answer Session::physical_memory_mode(PacketReader&) {
  return Answer::of(target_.physical_memory() ? "1" : "0");
}

Answer Session::set_physical_memory_mode(PacketReader& packet) {
  packet.expect(':');
  const std::uint64_t wanted = packet.hex();
  packet.expect_end();
  target_.set_physical_memory(wanted != 0);
  return Answer::of("OK");
}

}  // namespace chronovisor::gdb
