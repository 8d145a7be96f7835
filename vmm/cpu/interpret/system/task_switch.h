// Owns hardware task switching through 16-bit and 32-bit TSSs. Must not know
// what asked for the switch beyond its kind. Absent while long mode is active;
// the callers see to that. One thread a machine.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/cpu/cpu.h"
#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor {

enum class TaskSwitchKind : std::uint8_t { jump, call, interrupt_return, event };

struct TaskSwitch {
  std::uint16_t selector = 0;
  Descriptor tss;  ///< of the new task; type already checked
  TaskSwitchKind kind = TaskSwitchKind::jump;
  std::uint32_t ext = 0;
  bool resume_flag = false;  ///< save RF = 1 in the old task (an event of the fault class)
  std::optional<std::uint32_t> error_code{};  ///< pushed on the new task's stack
};

/// Switches to the task. Faults found while the old task is still current are
/// raised; the ones found in the new task (its segments, its stack) are returned:
/// the caller delivers them with the new RIP.
/// Source: SDM vol. 3A, "Task Management".
[[nodiscard]] std::optional<GuestFault> switch_task(Cpu& cpu, const TaskSwitch& request);

/// For instructions: switches, and delivers a fault of the new task at once.
void switch_task_by_instruction(Cpu& cpu, const TaskSwitch& request);

}  // namespace chronovisor
