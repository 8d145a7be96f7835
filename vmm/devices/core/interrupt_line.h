// Owns interrupt wires: a pin is one output of a device, a line is the wire
// that pins are tied to, and its level is the OR of theirs. Knows no controller
// type. A pin's level is state of its device; a line's is worked out from its
// pins and is no state. One thread a machine.
#pragma once

#include <string_view>
#include <vector>

#include "base/state.h"

namespace chronovisor {

/// Where a line arrives: pin `line` of an interrupt controller.
class InterruptSink {
 public:
  virtual ~InterruptSink() = default;
  virtual void set_line(unsigned line, bool level) = 0;
};

class InterruptLine;

/// Belongs to its device, which shows it in visit_state().
class InterruptPin {
 public:
  InterruptPin() = default;
  InterruptPin(const InterruptPin&) = delete;
  InterruptPin& operator=(const InterruptPin&) = delete;

  /// Drives the pin. Driving the level it has changes nothing.
  void set(bool level);
  [[nodiscard]] bool level() const { return level_; }
  void visit_state(StateVisitor& visitor, std::string_view name) { visitor.field(name, level_); }

 private:
  friend class InterruptLine;
  InterruptLine* line_ = nullptr;
  bool level_ = false;
};

/// Wired OR. Its sinks hear of changes of the OR alone, in the order in which
/// they were added. Pins and sinks must outlive the line.
class InterruptLine {
 public:
  InterruptLine() = default;
  InterruptLine(const InterruptLine&) = delete;
  InterruptLine& operator=(const InterruptLine&) = delete;

  void add_sink(InterruptSink& sink, unsigned number) { sinks_.push_back({&sink, number}); }
  void add_pin(InterruptPin& pin);
  [[nodiscard]] bool level() const { return level_; }
  /// The pins were restored: works out the level again, and drives nothing, since
  /// the controllers restored what they saw.
  void state_restored() { level_ = any_pin(); }

 private:
  friend class InterruptPin;
  struct Sink {
    InterruptSink* controller;
    unsigned number;
  };
  void pin_changed();
  [[nodiscard]] bool any_pin() const;
  std::vector<InterruptPin*> pins_;
  std::vector<Sink> sinks_;
  bool level_ = false;
};

}  // namespace chronovisor
