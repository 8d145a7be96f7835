#include "vmm/devices/legacy/coprocessor_error.h"

namespace chronovisor {

CoprocessorError::CoprocessorError(InterruptSink& sink, unsigned line) : sink_(sink), line_(line) {}

void CoprocessorError::visit_state(StateVisitor& visitor) {
  visitor.field("requested", requested_);
  visitor.field("ignored", ignored_);
}

void CoprocessorError::reset() {
  ignored_ = false;
  request(false);
}

void CoprocessorError::request(bool level) {
  if (level == requested_) return;
  requested_ = level;
  sink_.set_line(line_, level);
}

bool CoprocessorError::error() {
  if (ignored_) return true;
  request(true);
  return false;
}

std::uint8_t CoprocessorError::read_byte(std::uint16_t /*offset*/) { return 0xff; }

void CoprocessorError::write_byte(std::uint16_t /*offset*/, std::uint8_t /*value*/) {
  if (!requested_) return;
  request(false);
  ignored_ = true;
}

}  // namespace chronovisor
