#include "inspect/physical_memory.h"

#include <algorithm>

#include "timetravel/linear_memory.h"
#include "vmm/cpu/mmu/page_walk.h"
#include "vmm/cpu/state/msr.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kIoApicPage = 0xfec00000;
constexpr std::uint64_t kApicEnabled = 1ULL << 11;

/// Where registers can be read without anything happening: the I/O APIC's index and
/// window, and the local APIC, which the guest may have moved.
bool harmless(Machine& machine, std::uint64_t address) {
  const std::uint64_t page = address & ~(kPageBytes - 1);
  if (page == kIoApicPage) return true;
  std::uint64_t base = 0;
  machine.cpu().environment().read_apic_msr(kMsrApicBase, base);
  return (base & kApicEnabled) != 0 && page == (base & kPhysicalPageMask);
}

}  // namespace

std::size_t read_physical_memory(Machine& machine, GuestPhysical address,
                                 std::span<std::uint8_t> out) {
  std::size_t done = machine.look(address, out);
  while (done < out.size() && harmless(machine, address.value + done)) {
    // By whole registers of 32 bits, as a guest would read them.
    const std::uint64_t at = address.value + done;
    const bool there =
        at / kPageBytes * kPageBytes == kIoApicPage || has_lapic_register(at % kPageBytes / 16);
    const std::uint64_t value =
        there ? machine.cpu().environment().mmio_read({at & ~std::uint64_t{3}}, 4) : 0;
    for (std::uint64_t byte = at & 3; byte < 4 && done < out.size(); ++byte) {
      out[done++] = static_cast<std::uint8_t>(value >> (8 * byte));
    }
  }
  return done;
}

std::size_t read_debugger_memory(Machine& machine, std::uint64_t address,
                                 std::span<std::uint8_t> out) {
  std::size_t done = read_linear_memory(machine, address, out);
  while (done < out.size()) {
    const auto physical = machine.cpu().translate_for_debugger({address + done});
    if (!physical) break;
    const std::uint64_t left = kPageBytes - ((address + done) & (kPageBytes - 1));
    const std::size_t chunk = std::min<std::size_t>(out.size() - done, left);
    const std::size_t got = read_physical_memory(machine, *physical, out.subspan(done, chunk));
    done += got;
    if (got < chunk) break;
  }
  return done;
}

}  // namespace chronovisor
