#include "inspect/physical_memory.h"

#include <algorithm>
#include <array>

#include "timetravel/linear_memory.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
/// Where the board has devices whose registers can be read without anything
/// happening: the I/O APIC (its index and window) and the local APIC.
constexpr std::array<std::uint64_t, 2> kHarmlessPages{0xfec00000, 0xfee00000};

bool harmless(std::uint64_t address) {
  return std::find(kHarmlessPages.begin(), kHarmlessPages.end(), address & ~(kPageBytes - 1)) !=
         kHarmlessPages.end();
}

}  // namespace

std::size_t read_physical_memory(Machine& machine, GuestPhysical address,
                                 std::span<std::uint8_t> out) {
  std::size_t done = machine.ram().read(address, out);
  while (done < out.size() && harmless(address.value + done)) {
    // By whole registers of 32 bits, as a guest would read them.
    const std::uint64_t at = address.value + done;
    const std::uint64_t value = machine.cpu().environment().mmio_read({at & ~std::uint64_t{3}}, 4);
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
