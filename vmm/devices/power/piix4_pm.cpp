#include "vmm/devices/power/piix4_pm.h"

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kBase = 0x40;           // PMBA
constexpr std::uint8_t kActivityB = 0x58;      // DEVACTB
constexpr std::uint8_t kMiscellaneous = 0x80;  // PMREGMISC
constexpr std::uint8_t kBaseEnabled = 1;
constexpr std::uint32_t kApmcEnabled = 1U << 25;

constexpr PciDevice::Identity kIdentity{.vendor = 0x8086,
                                        .device = 0x7113,
                                        .class_code = 0x068000,
                                        .revision = 3,
                                        .subsystem_vendor = 0x1af4,
                                        .subsystem = 0x1100};

}  // namespace

Piix4Pm::Piix4Pm(PciAddress usual, MessageInterrupts& messages, const Clock& clock,
                 std::uint16_t base)
    : PciDevice(kIdentity, usual, messages), base_(base), pm_(clock, AcpiPm::TimerWidth::bits24) {
  add_intx(1);  // the register says so; the SCI goes to IRQ 9
  add_register(kBase, 4, 1, 0xffc0);
  add_register(kActivityB, 4, kApmcEnabled, 0xffffffff);
  add_register(kMiscellaneous, 1, 0, kBaseEnabled);
  add_register(0x90, 4, 1, 0xfff0);  // SMBus base
  add_register(0xd2, 1, 0, 0x0f);    // SMBus host configuration
}

void Piix4Pm::declare(Declaration& declaration) {
  PciDevice::declare(declaration);
  declaration.port_window(window_, block_);
  pm_.declare_registers(declaration, base_);
  const std::uint16_t smi = declaration.ports(0xb2, 2, smi_);
  declaration.firmware().fixed.smi_command_port = smi;
  declaration.receives(InputKind::power_button, *this);
  declaration.deadlines();
}

void Piix4Pm::receive(const Input& /*input*/) {
  pm_.press_power_button();
  deadline_changed();
}

void Piix4Pm::visit_state(StateVisitor& visitor) {
  PciDevice::visit_state(visitor);
  pm_.visit_state(visitor);
}

void Piix4Pm::reset() {
  PciDevice::reset();
  pm_.reset();
  place_block();
}

void Piix4Pm::set_up_by_firmware() {
  constexpr std::uint8_t kCommand = 0x04;
  write_config(kBase, 4, base_ | 1U);
  write_config(kMiscellaneous, 1, kBaseEnabled);
  write_config(kCommand, 2, 1);
}

void Piix4Pm::state_restored() {
  PciDevice::state_restored();
  place_block();
}

void Piix4Pm::advance(VirtualTime now) {
  pm_.advance(now);
  deadline_changed();
}

void Piix4Pm::config_written(std::uint8_t /*offset*/) { place_block(); }

void Piix4Pm::place_block() {
  if ((config_byte(kMiscellaneous) & kBaseEnabled) == 0) {
    window_.remove();
    return;
  }
  window_.place((config_byte(kBase) | std::uint64_t{config_byte(kBase + 1)} << 8) & 0xffc0);
}

std::uint32_t Piix4Pm::Ports::read_port(std::uint16_t offset, unsigned width) {
  if (offset + width > count_) return 0;
  const std::uint32_t value =
      owner_.pm_.read_port(static_cast<std::uint16_t>(base_ + offset), width);
  owner_.deadline_changed();
  return value;
}

void Piix4Pm::Ports::write_port(std::uint16_t offset, unsigned width, std::uint32_t value) {
  if (offset + width > count_) return;
  owner_.pm_.write_port(static_cast<std::uint16_t>(base_ + offset), width, value);
  owner_.deadline_changed();
}

}  // namespace chronovisor
