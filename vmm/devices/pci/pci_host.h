// Owns PCI configuration mechanism #1, the host bridge at 00:00.0 and the reset
// control register 0xcf9 that shares its ports. Other functions register
// themselves and own their configuration space and its state. One thread a
// machine.
//
// Ports: eight, at offset 0.
// Source: PCI Local Bus Specification 3.0, 3.2.2.3.2; Intel 82441FX (PMC) data
// sheet for the host bridge; Intel 82371SB data sheet for 0xcf9.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/pci_function.h"

namespace chronovisor {

/// CONFIG_ADDRESS takes dword accesses only; a byte at 0xcf9 is the reset
/// control register, other narrow accesses there read ones and are dropped.
/// The host bridge stores what is written to its memory attribute registers;
/// they change nothing (all RAM is always RAM).
class PciHost final : public Device, public PortDevice, public PciBus {
 public:
  /// A full reset, written to the reset control register.
  static constexpr std::uint8_t kResetValue = 0x06;
  /// The addresses below 4 GiB that the bridge forwards, beside the VGA window.
  static constexpr std::uint32_t kMemoryWindowFirst = 0xc0000000;
  static constexpr std::uint32_t kMemoryWindowLast = 0xfebfffff;

  PciHost();
  void on_reset_request(std::function<void()> callback);
  void add(PciAddress address, PciFunction& function) override;

  [[nodiscard]] std::string_view name() const override { return "pci_host"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

  std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

 private:
  class HostBridge final : public PciFunction {
   public:
    HostBridge();
    void reset();
    void visit(StateVisitor& visitor);
    std::uint32_t read_config(std::uint8_t offset, unsigned width) override;
    void write_config(std::uint8_t offset, unsigned width, std::uint32_t value) override;

   private:
    std::array<std::uint8_t, 256> config_{};
  };

  [[nodiscard]] PciFunction* selected() const;
  void write_reset_control(std::uint8_t value);

  HostBridge bridge_;
  std::map<PciAddress, PciFunction*> functions_;
  std::uint32_t address_ = 0;
  std::uint8_t reset_control_ = 0;
  std::function<void()> reset_request_;
};

}  // namespace chronovisor
