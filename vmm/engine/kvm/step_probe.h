// Owns the finding out which kinds of instruction this host's KVM steps as the soft
// processor does: a row of the instruction table that an engine would give to KVM is
// stepped once, in the mode and privilege level where it is met first, and both results
// are compared. Knows no machine: a trial has processors and memory of its own. All
// rows take about a second, on an emulated host many. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
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

/// Which rows are stepped exactly, by world and by whether ModRM names memory: tried
/// when it is asked for first, and known from then on.
class ExactSteps {
 public:
  /// @return nothing where the row does not exist there, or is not KVM's to step
  using Trial = std::function<std::optional<bool>(StepWorld world, std::uint16_t row, bool memory)>;

  /// Without a trial nothing is exact but what was set.
  explicit ExactSteps(Trial trial = {});
  [[nodiscard]] bool exact(StepWorld world, std::uint16_t row, bool memory) const;
  void set(StepWorld world, std::uint16_t row, bool memory, bool exact);
  /// How many rows there are to try in `world`, and how many of them are exact: tries
  /// those that were not.
  struct Count {
    std::size_t exact = 0;
    std::size_t tried = 0;
  };
  [[nodiscard]] Count count(StepWorld world) const;

 private:
  enum class Known : std::uint8_t { untried, absent, inexact, exact };
  [[nodiscard]] std::size_t index(StepWorld world, std::uint16_t row, bool memory) const {
    return (static_cast<std::size_t>(world) * rows_ + row) * 2 + (memory ? 1 : 0);
  }
  [[nodiscard]] Known known(StepWorld world, std::uint16_t row, bool memory) const;

  std::size_t rows_;
  Trial trial_;
  mutable std::mutex mutex_;
  mutable std::vector<Known> known_;
};

/// What tries rows on the KVM that `capabilities` are of.
[[nodiscard]] ExactSteps::Trial step_trial(const Capabilities& capabilities);

}  // namespace chronovisor::kvm
