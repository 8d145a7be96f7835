// Owns one soft processor and one vCPU that execute the same generated guests
// a step at a time, and the comparison of everything they leave behind. One
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/cpu/system_machine.h"
#include "tests/crosscheck/known_causes.h"
#include "tests/crosscheck/watchdog.h"
#include "tests/crosscheck/world.h"
#include "vmm/engine/kvm/lock_step.h"
#include "vmm/engine/kvm/stepper.h"

namespace chronovisor::crosscheck {

struct Disagreement {
  std::uint64_t seed = 0;
  unsigned step = 0;
  WorldMode mode = WorldMode::real;
  std::string name;  ///< of the instruction's row
  std::string kind;  ///< what differs, for grouping
  std::string text;  ///< the whole story
};

struct Tally {
  std::uint64_t cases = 0;
  std::uint64_t steps = 0;        ///< compared, deliveries of exceptions included
  std::uint64_t faults = 0;       ///< of them, exceptions delivered
  std::uint64_t shutdowns = 0;    ///< of them, triple faults
  std::uint64_t unsupported = 0;  ///< KVM could not emulate it: not compared
  std::uint64_t known = 0;        ///< differences written down in docs/KVM.md
  std::map<std::string, std::uint64_t> by_mode;
  std::map<std::string, std::uint64_t> known_by_cause;
  std::map<std::string, std::uint64_t> not_stepped;  ///< cases that end early, by the reason
  std::map<std::string, std::uint64_t> unsupported_by_name;
};

class Checker {
 public:
  explicit Checker(const kvm::Capabilities& capabilities);
  /// Runs case `seed` to its end, or to the first disagreement.
  std::optional<Disagreement> run_case(std::uint64_t seed, Tally& tally);
  /// Prints every step before it is taken: where a KVM hangs, this is its cause.
  void trace_steps(bool on) { trace_ = on; }
  [[nodiscard]] bool virtual8086() const { return virtual8086_; }

 private:
  enum class Verdict { goes_on, ends, disagrees };
  Verdict step(Tally& tally);
  [[nodiscard]] bool fetch(Instruction& instruction);
  [[nodiscard]] bool comparable(const Instruction& instruction) const;
  [[nodiscard]] std::vector<kvm::FieldValue> differences(const Instruction& instruction,
                                                         bool delivered);
  void compare_memory(bool delivered, std::vector<kvm::FieldValue>& fields);
  [[nodiscard]] bool probe_virtual8086();
  void take_other_registers();
  void follow_left();
  [[nodiscard]] bool at_handler() const;
  void clear_high_pages();
  [[nodiscard]] std::string cause_in_emulation();
  [[nodiscard]] std::vector<std::string> causes();
  [[nodiscard]] bool over();
  [[nodiscard]] bool entered_handler();
  struct FrameShape {
    unsigned word = 8;  ///< bytes
    unsigned words_below_flags = 2;
  };
  [[nodiscard]] std::vector<FrameShape> frame_shapes() const;
  [[nodiscard]] bool frame_flag(std::uint64_t at, std::uint8_t a, std::uint8_t b) const;
  [[nodiscard]] StackKind stack_kind() const;
  void print_step() const;
  [[nodiscard]] std::string describe(const std::vector<kvm::FieldValue>& fields) const;

  kvm::Capabilities capabilities_;
  test::SystemEnvironment environment_;
  Ram left_ram_, right_ram_;
  Cpu left_, right_;
  kvm::Stepper stepper_;
  bool virtual8086_ = false;  ///< such code runs: see probe_virtual8086
  CpuState before_;
  std::uint32_t flags_before_ = 0;
  unsigned cpl_before_ = 0;
  std::uint64_t operand_offset_ = 0;
  std::vector<std::uint8_t> bytes_;
  std::string name_;
  std::vector<kvm::FieldValue> fields_;
  Instruction instruction_;
  std::set<std::uint64_t> high_pages_;  ///< written in this case
  bool trace_ = false;
  bool laboratory_ = false;
  Watchdog watchdog_;
};

}  // namespace chronovisor::crosscheck
