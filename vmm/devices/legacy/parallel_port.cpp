#include "vmm/devices/legacy/parallel_port.h"

#include <utility>

#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/input_output.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kStrobe = 0x01;
constexpr std::uint8_t kSelect = 0x08;
constexpr std::uint8_t kInterrupt = 0x10;
constexpr std::uint8_t kWritable = 0x3f;
constexpr std::uint8_t kInitialised = 0x04;  // control: the printer is not being reset
/// Not busy, no acknowledge under way, selected, no error.
constexpr std::uint8_t kReady = 0xd8;

}  // namespace

void ParallelPort::declare(Declaration& declaration) {
  const std::uint16_t base = declaration.ports(0x378, 3, *this);
  const std::uint8_t irq = declaration.interrupt(irq_, 7, Trigger::edge);
  declaration.acpi_device(
      "LPT0",
      aml::sequence({aml::name("_HID", aml::eisa_id("PNP0400")),
                     aml::name("_CRS", aml::resources({aml::io_ports(base, 3), aml::irq(irq)}))}));
}

void ParallelPort::visit_state(StateVisitor& visitor) {
  visitor.field("data", data_);
  visitor.field("control", control_);
  irq_.visit_state(visitor, "irq");
}

void ParallelPort::reset() {
  data_ = 0;
  control_ = kInitialised | kSelect;
  irq_.set(false);
}

std::uint8_t ParallelPort::read_byte(std::uint16_t offset) {
  switch (offset) {
    case 0:
      return data_;
    case 1:
      return kReady | 0x07;
    case 2:
      return control_ | 0xc0;
    default:
      return 0xff;
  }
}

void ParallelPort::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset == 0) data_ = value;
  if (offset != 2) return;
  const std::uint8_t before = std::exchange(control_, static_cast<std::uint8_t>(value & kWritable));
  if ((before & kStrobe) == 0 || (control_ & kStrobe) != 0) return;
  outputs_.put({OutputKind::parallel, 0, {&data_, 1}});
  if ((control_ & kInterrupt) == 0) return;
  irq_.set(true);
  irq_.set(false);
}

}  // namespace chronovisor
