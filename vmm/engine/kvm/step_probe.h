// Owns the finding out which kinds of instruction this host's KVM steps as the soft
// processor does: every row of the instruction table that an engine would give to
// KVM is stepped once, in each mode and privilege level, and both results are
// compared. Knows no machine. About a second; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/cpu/code/instruction.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor::kvm {

struct Capabilities;

/// Where an instruction executes: a mode, and whether it is user code.
enum class StepWorld : std::uint8_t {
  real = 0,
  protected16 = 1,
  protected32 = 2,
  compatibility16 = 3,
  compatibility32 = 4,
  long64 = 5,
  protected16_user = 6,
  protected32_user = 7,
  compatibility16_user = 8,
  compatibility32_user = 9,
  long64_user = 10,
};
inline constexpr std::size_t kStepWorlds = 11;

/// The world that the Cpu is in; none for virtual-8086 mode.
[[nodiscard]] std::optional<StepWorld> step_world(const Cpu& cpu);

/// Which rows were stepped exactly, by world and by whether ModRM names memory.
class ExactSteps {
 public:
  ExactSteps();
  [[nodiscard]] bool exact(StepWorld world, std::uint16_t row, bool memory) const {
    return bits_[index(world, row, memory)];
  }
  void set(StepWorld world, std::uint16_t row, bool memory, bool exact) {
    bits_[index(world, row, memory)] = exact;
  }
  /// How many rows were tried in `world`, and how many of them are exact.
  struct Count {
    std::size_t exact = 0;
    std::size_t tried = 0;
  };
  [[nodiscard]] Count count(StepWorld world) const {
    return counts_[static_cast<std::size_t>(world)];
  }
  void add_to_count(StepWorld world, bool exact) {
    Count& count = counts_[static_cast<std::size_t>(world)];
    ++count.tried;
    if (exact) ++count.exact;
  }

 private:
  [[nodiscard]] std::size_t index(StepWorld world, std::uint16_t row, bool memory) const {
    return (static_cast<std::size_t>(world) * rows_ + row) * 2 + (memory ? 1 : 0);
  }
  std::size_t rows_;
  std::vector<bool> bits_;
  std::array<Count, kStepWorlds> counts_{};
};

/// Steps every row that the engine would give to this KVM.
[[nodiscard]] ExactSteps probe_steps(const Capabilities& capabilities);

}  // namespace chronovisor::kvm
