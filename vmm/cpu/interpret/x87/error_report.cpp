#include "vmm/cpu/interpret/x87/error_report.h"

#include "vmm/cpu/interpret/system/events.h"
#include "vmm/cpu/interpret/x87/bits.h"
#include "vmm/cpu/x87_error_line.h"

namespace chronovisor::x87 {
namespace {

/// Where FERR# leads, unless nowhere or CR0.NE keeps it from being used.
X87ErrorLine* error_line(Cpu& cpu) {
  if ((cpu.state.cr0 & kCr0Ne) != 0) return nullptr;
  return dynamic_cast<X87ErrorLine*>(&cpu.environment());
}

}  // namespace

void report_x87_error(Cpu& cpu) {
  X87ErrorLine* const line = error_line(cpu);
  if (line == nullptr) cpu.raise(kX87FloatingPoint);
  if (line->x87_error() == X87ErrorAnswer::wait) cpu.raise(kWaitForInterrupt);
}

void settle_error_line(Cpu& cpu) {
  if ((cpu.state.cr0 & kCr0Ne) != 0 || (cpu.state.x87.status & kSwSummary) != 0) return;
  if (X87ErrorLine* const line = error_line(cpu)) line->x87_error_cleared();
}

}  // namespace chronovisor::x87
