#include "vmm/cpu/interpret/system/events.h"

#include "vmm/cpu/interpret/system/gates.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kDr7GeneralDetect = 1U << 13;

enum class FaultClass : std::uint8_t { benign, contributory, page_fault, double_fault };

FaultClass class_of(std::uint8_t vector) {
  switch (vector) {
    case kDivideError:
    case kInvalidTss:
    case kSegmentNotPresent:
    case kStackFault:
    case kGeneralProtection:
      return FaultClass::contributory;
    case kPageFault:
      return FaultClass::page_fault;
    case kDoubleFault:
      return FaultClass::double_fault;
    default:
      return FaultClass::benign;
  }
}

/// True when `second`, raised while `first` was delivered, cannot be handled
/// serially. Source: SDM vol. 3A, table "Conditions for Generating a Double Fault".
bool cannot_be_serial(FaultClass first, FaultClass second) {
  if (second == FaultClass::benign) return false;
  if (first == FaultClass::contributory) return second == FaultClass::contributory;
  return first == FaultClass::page_fault || first == FaultClass::double_fault;
}

/// Exceptions whose saved RIP is the faulting instruction and that set RF in the
/// saved flags. #DB is not among them: its handler sets RF itself.
bool fault_class_sets_rf(std::uint8_t vector) {
  switch (vector) {
    case kDebug:
    case kNmi:
    case kBreakpoint:
    case kOverflow:
    case kDoubleFault:
    case kMachineCheck:
      return false;
    default:
      return true;
  }
}

/// A #DB reports the debug conditions that are `pending`, whatever raised it. The
/// breakpoint conditions in DR6 that are not among them are cleared, the other bits
/// stay; and nothing is recorded or stepped by branches until the handler asks again.
/// Source: SDM vol. 3B, "Debug Status Register (DR6)", "Single-Stepping on Branches",
/// "Monitoring Branches, Exceptions, and Interrupts".
void note_debug_exception(CpuState& state, std::uint64_t pending) {
  constexpr std::uint64_t kBreakpointConditions = 0xf;
  constexpr std::uint64_t kLbrAndBtf = 3;
  state.dr6 = (state.dr6 & ~kBreakpointConditions) | pending;
  state.msr.debug_control &= ~kLbrAndBtf;
  state.pending_debug &= ~pending;
  state.dr7 &= ~kDr7GeneralDetect;
}

/// The side effects an exception has before its handler is looked for.
void note_exception(Cpu& cpu, const GuestFault& fault) {
  if (fault.vector == kPageFault) cpu.state.cr2 = fault.cr2;
  if (fault.vector == kDebug) note_debug_exception(cpu.state, cpu.state.pending_debug);
}

Event exception_event(const GuestFault& fault) {
  Event event{fault.vector, EventKind::exception, std::nullopt, fault_class_sets_rf(fault.vector)};
  if (fault.has_error_code) event.error_code = fault.error_code;
  return event;
}

/// Delivers until something sticks. `fault` is an exception raised while an
/// event of class `before` was being delivered (benign: none was).
void deliver_serially(Cpu& cpu, GuestFault fault, FaultClass before) {
  FaultClass first = before;
  for (;;) {
    const FaultClass present = class_of(fault.vector);
    note_exception(cpu, fault);
    if (cannot_be_serial(first, present)) {
      if (first == FaultClass::double_fault) {
        cpu.state.shutdown = true;
        return;
      }
      fault = GuestFault{kDoubleFault, true, 0, 0};
    }
    first = class_of(fault.vector);
    try {
      const std::optional<GuestFault> in_new_task = enter_handler(cpu, exception_event(fault));
      if (!in_new_task) return;
      fault = *in_new_task;
    } catch (const GuestFault& next) {
      fault = next;
    }
  }
}

void wake(Cpu& cpu) {
  cpu.state.halted = false;
  cpu.state.shadow = kNoShadow;
}

}  // namespace

void deliver_exception(Cpu& cpu, const GuestFault& fault) {
  wake(cpu);
  if (fault.vector == kWaitForInterrupt) {
    cpu.state.halted = true;
    return;
  }
  deliver_serially(cpu, fault, FaultClass::benign);
}

void deliver_external(Cpu& cpu, std::uint8_t vector) {
  wake(cpu);
  if (vector == kNmi) cpu.state.nmi_blocked = true;
  std::optional<GuestFault> fault;
  try {
    fault = enter_handler(cpu, {vector, EventKind::external});
  } catch (const GuestFault& raised) {
    fault = raised;
  }
  if (fault) deliver_serially(cpu, *fault, FaultClass::benign);
}

void software_interrupt(Cpu& cpu, std::uint8_t vector, EventKind kind) {
  if (kind == EventKind::software_interrupt && cpu.virtual8086() && cpu.flags.iopl() < 3) {
    cpu.raise_gp0();
  }
  const std::uint64_t pending = cpu.state.pending_debug;
  const std::optional<GuestFault> in_new_task = enter_handler(cpu, {vector, kind});
  if (kind == EventKind::privileged_trap) note_debug_exception(cpu.state, pending);
  if (in_new_task) deliver_exception(cpu, *in_new_task);
  cpu.suppress_single_step();
}

}  // namespace chronovisor
