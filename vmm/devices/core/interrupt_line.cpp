#include "vmm/devices/core/interrupt_line.h"

#include <algorithm>

#include "base/error.h"

namespace chronovisor {

void InterruptPin::set(bool level) {
  if (level == level_) return;
  level_ = level;
  if (line_ != nullptr) line_->pin_changed();
}

void InterruptLine::add_pin(InterruptPin& pin) {
  CHECK_THAT(pin.line_ == nullptr, "an interrupt pin is tied to one line");
  pin.line_ = this;
  pins_.push_back(&pin);
  level_ = any_pin();
}

bool InterruptLine::any_pin() const {
  return std::any_of(pins_.begin(), pins_.end(),
                     [](const InterruptPin* pin) { return pin->level_; });
}

void InterruptLine::pin_changed() {
  const bool level = any_pin();
  if (level == level_) return;
  level_ = level;
  for (const Sink& sink : sinks_) sink.controller->set_line(sink.number, level);
}

}  // namespace chronovisor
