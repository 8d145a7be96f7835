#include "vmm/devices/pci/piix3_isa.h"

#include <string>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr unsigned kRouteControl = 0x60;  // PIRQRCA to PIRQRCD
constexpr std::uint8_t kNotRouted = 0x80;
/// ISA interrupts that a line can be routed to: not 0, 1, 2, 8 and 13.
constexpr std::uint16_t kRoutable = 0xdef8;
/// What firmware routes to; the tables tell systems of these alone.
constexpr std::uint8_t kFirstUsual = 10;
constexpr std::uint8_t kSecondUsual = 11;

constexpr PciDevice::Identity kIdentity{.vendor = 0x8086,
                                        .device = 0x7000,
                                        .class_code = 0x060100,
                                        .subsystem_vendor = 0x1af4,
                                        .subsystem = 0x1100,
                                        .multifunction = true};

}  // namespace

Piix3Isa::Piix3Isa(PciAddress usual, MessageInterrupts& messages)
    : PciDevice(kIdentity, usual, messages) {
  add_register(0x4c, 1, 0x4d, 0xff);      // ISA recovery times
  add_register(0x4e, 2, 0x0003, 0xffff);  // what of the chip is selected
  add_register(kRouteControl, 4, 0x80808080, 0x8f8f8f8f);
  add_register(0x69, 1, 0x02, 0xfe);  // top of memory
  add_register(0x6a, 2, 0, 0xffff);
  add_register(0x70, 2, 0x8080, 0xffff);  // motherboard interrupts
  add_register(0x76, 2, 0x0c0c, 0xffff);  // motherboard DMA
  add_register(0x78, 2, 0x0002, 0xffff);
  add_register(0x80, 3, 0, 0xffffff);
  add_register(0xa0, 1, 0x08, 0x1f);  // system management: nobody is there
  add_register(0xa2, 8, 0x000000000f000000, 0xffffffffffffff);
  add_register(0xac, 1, 0, 0xff);
  add_register(0xae, 1, 0, 0xff);
}

void Piix3Isa::declare(Declaration& declaration) {
  PciDevice::declare(declaration);
  declaration.routes_pci_interrupts(*this);
  declaration.interrupt(pins_[kFirstUsual], kFirstUsual, Trigger::level);
  declaration.interrupt(pins_[kSecondUsual], kSecondUsual, Trigger::level);
  for (std::uint8_t irq = 0; irq < kIsaInterrupts; ++irq) {
    if (irq == kFirstUsual || irq == kSecondUsual || (kRoutable >> irq & 1) == 0) continue;
    declaration.routed_interrupt(pins_[irq], irq);
  }
}

void Piix3Isa::visit_state(StateVisitor& visitor) {
  PciDevice::visit_state(visitor);
  visitor.field("levels", levels_);
  for (unsigned irq = 0; irq < kIsaInterrupts; ++irq) {
    if ((kRoutable >> irq & 1) != 0) pins_[irq].visit_state(visitor, "irq" + std::to_string(irq));
  }
}

void Piix3Isa::reset() {
  PciDevice::reset();
  route();
}

void Piix3Isa::set_up_by_firmware() {
  for (unsigned line = 0; line < kLines; ++line) {
    write_config(static_cast<std::uint8_t>(kRouteControl + line), 1,
                 line < 2 ? kFirstUsual : kSecondUsual);
  }
}

void Piix3Isa::set_line(unsigned line, bool level) {
  levels_[(line + kLines - 1) % kLines] = level;
  route();
}

void Piix3Isa::config_written(std::uint8_t /*offset*/) { route(); }

void Piix3Isa::route() {
  std::uint16_t asked = 0;
  for (unsigned line = 0; line < kLines; ++line) {
    const std::uint8_t control = config_byte(static_cast<std::uint8_t>(kRouteControl + line));
    if (levels_[line] && (control & kNotRouted) == 0) {
      asked |= static_cast<std::uint16_t>(1U << (control & 15));
    }
  }
  for (unsigned irq = 0; irq < kIsaInterrupts; ++irq) {
    if ((kRoutable >> irq & 1) != 0) pins_[irq].set((asked >> irq & 1) != 0);
  }
}

}  // namespace chronovisor
