#include "vmm/devices/legacy/coprocessor_error.h"

#include "vmm/devices/core/declaration.h"

namespace chronovisor {

void CoprocessorError::declare(Declaration& declaration) {
  declaration.ports(0xf0, 1, *this);
  declaration.interrupt(request_, 13, Trigger::edge);
}

void CoprocessorError::visit_state(StateVisitor& visitor) {
  request_.visit_state(visitor, "requested");
  visitor.field("ignored", ignored_);
}

void CoprocessorError::reset() {
  ignored_ = false;
  request_.set(false);
}

bool CoprocessorError::error() {
  if (ignored_) return true;
  request_.set(true);
  return false;
}

std::uint8_t CoprocessorError::read_byte(std::uint16_t /*offset*/) { return 0xff; }

void CoprocessorError::write_byte(std::uint16_t /*offset*/, std::uint8_t /*value*/) {
  if (!request_.level()) return;
  request_.set(false);
  ignored_ = true;
}

}  // namespace chronovisor
