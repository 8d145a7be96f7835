#include "gdbstub/target.h"

#include "base/error.h"
#include "base/units.h"

namespace chronovisor::gdb {

MemoryRegion DebugTarget::memory_region(std::uint64_t address) const {
  // Without better knowledge: one page, mapped when its byte can be read.
  MemoryRegion region;
  region.start = address & kPageMask;
  region.last = region.start + (kPageSize - 1);
  std::uint8_t byte = 0;
  region.mapped = read_memory(address, {&byte, 1}) == 1;
  region.readable = region.writable = region.executable = region.mapped;
  return region;
}

std::vector<MemoryRegion> DebugTarget::memory_map() const {
  MemoryRegion all;
  all.last = ~std::uint64_t{0};
  all.mapped = all.readable = all.writable = all.executable = true;
  return {all};
}

void DebugTarget::set_physical_memory(bool physical) {
  if (physical) throw Error(ErrorCode::usage, "there are no physical addresses here");
}

void DebugTarget::set_steps_pass_over_interrupts(bool pass) {
  if (pass) throw Error(ErrorCode::usage, "a step stops in the handlers of interrupts here");
}

std::string DebugTarget::thread_description() const { return "CPU 0"; }

}  // namespace chronovisor::gdb
