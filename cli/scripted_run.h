// Owns the script of a run from the command line: what --keys and --script say, and the
// look at the screen and the first serial line that it waits by. Main thread.
#pragma once

#include <string>
#include <vector>

#include "host/scripted_input.h"
#include "vmm/machine/machine.h"

namespace chronovisor::cli {

/// The steps that the options ask for: those of the file, then the keys. Throws
/// Error{usage}, Error{host}.
[[nodiscard]] std::vector<ScriptStep> script_of(const std::string& file, const std::string& keys);

class ScriptedRun final : private OutputObserver {
 public:
  ScriptedRun(std::vector<ScriptStep> steps, Machine& machine, InputSource& beside);
  ~ScriptedRun() override;
  ScriptedRun(const ScriptedRun&) = delete;
  ScriptedRun& operator=(const ScriptedRun&) = delete;

  [[nodiscard]] InputSource& source() { return input_; }
  [[nodiscard]] std::size_t left() const { return input_.left(); }

 private:
  void output(Position position, const Output& output) override;
  [[nodiscard]] bool seen(const ScriptStep& step);

  Machine& machine_;
  std::string said_;  ///< by the serial line, since what was last waited for
  ScriptedInput input_;
};

}  // namespace chronovisor::cli
