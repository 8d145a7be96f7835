#include "vmm/machine/board.h"

#include "vmm/boot/platform.h"
#include "vmm/cpu/state/msr.h"

namespace chronovisor {
namespace {

/// SplitMix64: value `index` of the stream that begins at `seed`.
std::uint64_t stream_value(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

void Machine::Board::IsaLines::set_line(unsigned line, bool level) {
  board_.pic_.set_line(line, level);
  board_.io_apic_.set_line(line == platform::kTimerIrq ? platform::kTimerGsi : line, level);
}

void Machine::Board::SerialOut::write_byte(std::uint8_t byte) {
  if (board_.observer_ != nullptr)
    board_.observer_->serial_output(board_.machine_.position(), byte);
}

void Machine::Board::DebugOut::write_byte(std::uint8_t byte) {
  if (board_.observer_ != nullptr) board_.observer_->debug_output(board_.machine_.position(), byte);
}

Machine::Board::Board(Machine& machine)
    : machine_(machine),
      local_apic_(*this, *this, kPhysicalAddressBits, platform::kLocalApicId),
      pit_(*this, isa_lines_, platform::kTimerIrq),
      rtc_(*this, isa_lines_, platform::kRtcIrq,
           {machine.ram_.low_end(), machine.ram_.size() - machine.ram_.low_end()},
           machine.config_.rtc_start_unix_seconds),
      acpi_pm_(*this, isa_lines_, platform::kSciIrq, AcpiPm::TimerWidth::bits24),
      uart_("uart0", *this, isa_lines_, platform::kCom1Irq, serial_out_),
      i8042_(isa_lines_, 1),
      debug_exit_([this](std::uint32_t value) { request_end(EndReason::debug_exit, value); }) {
  devices_ = {&pic_,       &io_apic_,       &local_apic_, &pit_,      &rtc_,
              &acpi_pm_,   &uart_,          &i8042_,      &pci_host_, &system_control_,
              &post_port_, &debug_console_, &debug_exit_};
  connect();
}

void Machine::Board::connect() {
  ports_.map(0x20, 2, pic_, 0);
  ports_.map(0xa0, 2, pic_, 2);
  ports_.map(0x4d0, 2, pic_, 4);
  ports_.map(platform::kPitPort, 4, pit_, 0);
  ports_.map(0x61, 1, pit_, 4);
  ports_.map(platform::kRtcPort, 2, rtc_);
  ports_.map(platform::kPm1aEventPort, AcpiPm::kBlockPorts, acpi_pm_);
  ports_.map(platform::kGpe0Port, platform::kGpe0Length, acpi_pm_, AcpiPm::kGpe0Offset);
  ports_.map(platform::kSmiCommandPort, 2, acpi_pm_, AcpiPm::kSmiCommandOffset);
  ports_.map(platform::kCom1Port, 8, uart_);
  ports_.map(0x60, 1, i8042_, 0);
  ports_.map(0x64, 1, i8042_, 4);
  ports_.map(platform::kPciConfigPort, 8, pci_host_);
  ports_.map(0x92, 1, system_control_);
  ports_.map(0x80, 1, post_port_);
  ports_.map(0xe9, 1, debug_console_);
  ports_.map(0xf4, 4, debug_exit_);
  mmio_.map({platform::kLocalApicBase}, kPageSize, local_apic_);
  mmio_.map({platform::kIoApicBase}, kPageSize, io_apic_);

  pic_.on_output_changed([this](bool level) {
    local_apic_.set_lint0(level);
    update_interrupt_request();
  });
  local_apic_.on_output_changed([this] { update_interrupt_request(); });
  local_apic_.on_nmi([this] {
    if (cpu_ != nullptr) cpu_->request_nmi();
  });
  acpi_pm_.on_power_off([this] { request_end(EndReason::poweroff, 0); });
  const auto reset_asked = [this] { request_end(EndReason::reset, 0); };
  i8042_.on_reset_request(reset_asked);
  pci_host_.on_reset_request(reset_asked);
  system_control_.on_reset_request(reset_asked);
}

void Machine::Board::reset() {
  for (Device* device : devices_) device->reset();
  local_apic_.set_virtual_wire();
  ending_request_ = {};
  update_interrupt_request();
}

void Machine::Board::state_restored() {
  ending_request_ = {};
  update_interrupt_request();
}

void Machine::Board::request_end(EndReason reason, std::uint32_t code) {
  if (ending_request_.reason == EndReason::none) ending_request_ = {reason, code};
}

void Machine::Board::update_interrupt_request() {
  if (cpu_ == nullptr) return;
  cpu_->set_interrupt_request(local_apic_.pending() ||
                              (pic_.output() && local_apic_.accepts_external()));
}

std::uint8_t Machine::Board::acknowledge_interrupt() {
  const std::uint8_t vector =
      local_apic_.pending() ? local_apic_.acknowledge() : pic_.acknowledge();
  update_interrupt_request();
  return vector;
}

std::uint32_t Machine::Board::port_read(std::uint16_t port, unsigned width) {
  if (port_observer_ != nullptr) port_observer_->port_was_read(machine_.position(), port);
  return ports_.read(port, width);
}
void Machine::Board::port_write(std::uint16_t port, unsigned width, std::uint32_t value) {
  if (port_observer_ != nullptr) {
    port_observer_->port_was_written(machine_.position(), port, width, value);
  }
  ports_.write(port, width, value);
}
std::uint64_t Machine::Board::mmio_read(GuestPhysical address, unsigned width) {
  return mmio_.read(address, width);
}
void Machine::Board::mmio_write(GuestPhysical address, unsigned width, std::uint64_t value) {
  mmio_.write(address, width, value);
}

bool Machine::Board::read_apic_msr(std::uint32_t index, std::uint64_t& value) {
  return LocalApic::owns_msr(index) && local_apic_.read_msr(index, value);
}
bool Machine::Board::write_apic_msr(std::uint32_t index, std::uint64_t value) {
  return LocalApic::owns_msr(index) && local_apic_.write_msr(index, value);
}

bool Machine::Board::apic_enabled() const { return local_apic_.hardware_enabled(); }

std::uint32_t Machine::Board::platform_apic_id() { return platform::kLocalApicId; }

std::uint64_t Machine::Board::entropy(std::uint64_t index) const {
  return stream_value(machine_.config_.entropy_seed, index);
}

}  // namespace chronovisor
