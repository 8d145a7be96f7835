#include "vmm/cpu/counted_place.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor {

std::uint64_t registers_hash(const Cpu& cpu) {
  ByteWriter out;
  for (unsigned n = 0; n < 16; ++n) out.integer(cpu.state.gpr[n]);
  out.integer(static_cast<std::uint64_t>(cpu.flags.value() & ~(kAf | kRf | kTf)));
  return hash64(out.data());
}

CountedPlace place_of(const Cpu& cpu, const RetiredCounts& counts) {
  return {counts.branches, counts.instructions, cpu.state.gpr[kGprRip], cpu.state.gpr[kRcx],
          registers_hash(cpu)};
}

}  // namespace chronovisor
