// The packets of QEMU's own that have a meaning here: scripts for debugging
// kernels (pwndbg, gef) send them to read page tables by physical address.
// Source: QEMU's manual, "GDB usage", "Examining physical memory".
#include "base/error.h"
#include "gdbstub/session.h"

namespace chronovisor::gdb {

// QEMU's single-step modes ("sstep") choose what interrupts do to a step; here
// that is a monitor command.
Answer Session::qemu_supported(PacketReader&) { return Answer::of("PhyMemMode"); }

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
