#include "vmm/cpu/interpret/sse/support.h"

#include "vmm/cpu/interpret/x87/error_report.h"

namespace chronovisor::sse {

void raise_sse_unavailable(Cpu& cpu) {
  if ((cpu.state.cr0 & kCr0Em) != 0 || (cpu.state.cr4 & kCr4Osfxsr) == 0) cpu.raise_ud();
  cpu.raise(kDeviceNotAvailable);
}

void check_mmx(Cpu& cpu) {
  constexpr std::uint16_t kErrorSummary = 0x80;
  if ((cpu.state.cr0 & (kCr0Em | kCr0Ts)) != 0) [[unlikely]] {
    if ((cpu.state.cr0 & kCr0Em) != 0) cpu.raise_ud();
    cpu.raise(kDeviceNotAvailable);
  }
  if ((cpu.state.x87.status & kErrorSummary) != 0) [[unlikely]] {
    x87::report_x87_error(cpu);
  }
}

}  // namespace chronovisor::sse
