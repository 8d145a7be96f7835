// Owns the ACPI fixed hardware: PM1a event and control blocks, PM timer, a
// GPE0 block and the SMI command port. One thread a machine.
//
// Ports: the block of kBlockPorts at offset 0, GPE0 once more at a place of its
// own, SMI command and status at offset kSmiCommandOffset. The reset register
// lies within the PCI configuration ports and is in pci_host.
// Source: ACPI specification 6.4, section 4.8 "ACPI Register Model".
#pragma once

#include <cstdint>
#include <functional>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/input_output.h"
#include "vmm/devices/core/interrupt_line.h"

namespace chronovisor {

/// Registers are accessed at any width, byte by byte. The SCI is level and
/// raised in ACPI mode only (SCI_EN); legacy mode would send SMIs, which nobody
/// receives.
class AcpiPm final : public Device, public PortDevice, public InputReceiver {
 public:
  static constexpr std::uint16_t kPm1EventOffset = 0x00;    ///< length 4: status, enable
  static constexpr std::uint16_t kPm1ControlOffset = 0x04;  ///< length 2
  static constexpr std::uint16_t kPmTimerOffset = 0x08;     ///< length 4
  static constexpr std::uint16_t kGpe0Offset = 0x0c;        ///< length 4: status, enable
  static constexpr std::uint16_t kBlockPorts = 0x10;
  static constexpr std::uint16_t kSmiCommandOffset = 0x10;  ///< length 2
  static constexpr std::uint8_t kSmiAcpiEnable = 0xf1;
  static constexpr std::uint8_t kSmiAcpiDisable = 0xf0;
  /// SLP_TYPa of \_S5 (soft off). Other types wake up at once.
  static constexpr std::uint8_t kSleepTypeS5 = 5;
  /// Soft off as well: small guests write QEMU's number (2000H to port 604H) without
  /// reading \_S5.
  static constexpr std::uint8_t kSleepTypeUnread = 0;

  enum class TimerWidth : std::uint8_t { bits24 = 24, bits32 = 32 };

  AcpiPm(const Clock& clock, TimerWidth timer_width);
  void on_power_off(std::function<void()> callback);
  /// Called when the guest writes what powers off a machine whose sleep control
  /// register is where the PM1 status is here.
  void on_sleep_register_write(std::function<void(std::uint16_t port)> callback);

  void press_power_button();
  /// @param event 0-15
  void raise_gpe(unsigned event);

  [[nodiscard]] std::string_view name() const override { return "acpi_pm"; }
  void declare(Declaration& declaration) override;
  /// For a device that this is a part of: interrupt and facts, with GPE0 within the block
  /// at `block`; the ports are the owner's to declare.
  void declare_registers(Declaration& declaration, std::uint16_t block);
  void receive(const Input& input) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

  std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

 private:
  [[nodiscard]] std::uint64_t next_overflow_ns() const;
  void settle(std::uint64_t now_ns);
  void update_line();
  [[nodiscard]] std::uint8_t read_byte(std::uint16_t offset, std::uint32_t timer) const;
  void write_byte(std::uint16_t offset, std::uint8_t value);
  void write_control_high(std::uint8_t value);

  const Clock& clock_;
  const unsigned timer_bits_;

  std::uint16_t pm1_status_ = 0;
  std::uint16_t pm1_enable_ = 0;
  std::uint16_t pm1_control_ = 0;
  std::uint16_t gpe_status_ = 0;
  std::uint16_t gpe_enable_ = 0;
  std::uint8_t smi_command_ = 0;
  std::uint8_t smi_status_ = 0;
  std::uint64_t settled_tick_ = 0;  ///< TMR_STS accounts for overflows up to here
  InterruptPin sci_;

  std::function<void()> power_off_;
  std::function<void(std::uint16_t)> sleep_register_write_;
  std::uint16_t block_ = 0;  ///< where its ports were placed
};

}  // namespace chronovisor
