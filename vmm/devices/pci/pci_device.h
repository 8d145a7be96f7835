// Owns what all PCI functions have in common: the configuration space of header
// type 0, base address registers that the guest sizes, moves and enables, INTx#
// with its status and disable bits, and the MSI and MSI-X capabilities. Knows no
// particular device and no host bridge: a device derives from this, and is
// plugged in by what it declares. One thread a machine.
//
// Whatever a guest writes is its own affair: a base address may be anything,
// and the bus has a rule for overlaps (core/window.h).
// Source: PCI Local Bus Specification 3.0, chapter 6.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/interrupt_line.h"
#include "vmm/devices/core/message_interrupt.h"
#include "vmm/devices/core/pci_function.h"
#include "vmm/devices/core/window.h"
#include "vmm/memory/paged_region.h"

namespace chronovisor {

/// Accesses to the registers below any BAR behave as in the specification: read-
/// only and reserved bits keep their value, status bits are cleared by ones.
/// While MSI or MSI-X is enabled INTx# is not driven. A message that is masked is
/// pending until it is unmasked; pending bits of MSI are shown only with MSI's
/// per-vector masking, which is always there.
class PciDevice : public Device, public PciFunction {
 public:
  struct Identity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint32_t class_code = 0;  ///< class, subclass, interface: 24 bits
    std::uint8_t revision = 0;
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
    bool multifunction = false;
  };
  enum class MemoryBar : std::uint8_t { bits32, bits64, bits64_prefetchable };

  /// A device that overrides these calls them.
  std::uint32_t read_config(std::uint8_t offset, unsigned width) override;
  void write_config(std::uint8_t offset, unsigned width, std::uint32_t value) override;
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void state_restored() override;

 protected:
  static constexpr unsigned kBars = 6;

  /// @param usual where it is plugged in unless the model says otherwise
  PciDevice(const Identity& identity, PciAddress usual, MessageInterrupts& messages);
  ~PciDevice() override;

  // In the constructor of a device. Sizes are powers of two; a 64-bit BAR takes
  // `index` and the one after it.
  void add_io_bar(unsigned index, std::uint32_t size, PortDevice& device);
  void add_memory_bar(unsigned index, std::uint64_t size, MemoryBar kind, MmioDevice& device);
  /// The device has ports that are in no BAR: its I/O bit can be set, and firmware takes it
  /// for switched off without.
  void add_legacy_ports();
  /// The expansion ROM: what is in `content`, a region of the machine, whose size is a
  /// power of two.
  void add_rom(const PagedRegion& content);
  /// @param pin 1 to 4: INTA# to INTD#
  void add_intx(std::uint8_t pin);
  /// @param vectors a power of two, at most 32
  void add_msi(unsigned vectors);
  /// Table and pending bits lie in a 32-bit memory BAR of their own.
  /// @param vectors at most 2048
  void add_msix(unsigned index, unsigned vectors);
  /// Registers of the device's own, from 40H on: what they are after a reset, and which
  /// of their bits the guest may change.
  void add_register(unsigned offset, unsigned width, std::uint64_t value, std::uint64_t writable);
  /// A capability of the device's own. One that only some state versions have is added before
  /// the first reset().
  /// @param body what follows the two bytes of ID and next pointer
  /// @param writable which of its bits the guest may change
  /// @return where it lies in configuration space
  std::uint8_t add_capability(std::uint8_t id, const std::vector<std::uint8_t>& body,
                              const std::vector<std::uint8_t>& writable);

  /// The device may use the DMA port.
  [[nodiscard]] bool is_bus_master() const;
  /// INTx#: asks for attention until it is taken back.
  void set_intx(bool level);
  /// MSI or MSI-X is what the driver chose; INTx# is quiet.
  [[nodiscard]] bool uses_messages() const { return msi_enabled() || msix_enabled(); }
  /// Sends message `vector`, modulo the vectors that the driver allows.
  void send_message(unsigned vector);
  /// The command register, or registers of the device's own, from 40H on, after a change
  /// by the guest.
  virtual void config_written(std::uint8_t /*offset*/) {}
  [[nodiscard]] std::uint8_t config_byte(std::uint8_t offset) const { return config_[offset]; }

 private:
  class MsixTable;
  class Rom final : public MmioDevice {
   public:
    explicit Rom(const PagedRegion& content) : content_(content), window(content.size()) {}
    std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
    void write_mmio(std::uint64_t /*offset*/, unsigned /*width*/, std::uint64_t /*v*/) override {}
    [[nodiscard]] std::optional<std::uint8_t> peek_mmio(std::uint64_t offset) const override {
      return *content_.host(offset);
    }

   private:
    const PagedRegion& content_;

   public:
    Window window;
  };
  struct Bar {
    std::unique_ptr<Window> window;
    std::uint64_t size = 0;
    PortDevice* ports = nullptr;
    MmioDevice* memory = nullptr;
    bool wide = false;
  };

  [[nodiscard]] std::uint16_t word(unsigned offset) const;
  [[nodiscard]] std::uint32_t dword(unsigned offset) const;
  void set_fixed(unsigned offset, unsigned width, std::uint64_t value);
  void allow(unsigned offset, unsigned width, std::uint64_t mask);
  void after_write(unsigned first, unsigned last);
  void place_windows();
  void update_intx();
  [[nodiscard]] bool msi_enabled() const;
  [[nodiscard]] bool msix_enabled() const;
  [[nodiscard]] unsigned msi_vectors() const;
  void send_msi(unsigned vector);
  void send_unmasked_msi();
  void sanitise();

  const PciAddress usual_;
  MessageInterrupts& messages_;
  std::array<std::uint8_t, 256> fixed_{};     ///< after reset
  std::array<std::uint8_t, 256> writable_{};  ///< bits that the guest may change
  std::array<Bar, kBars> bars_;
  unsigned next_capability_ = 0x40;
  unsigned last_pointer_ = 0x34;  ///< where the next capability's place is written
  unsigned msi_ = 0;              ///< where its capability is; 0: none
  unsigned msix_ = 0;
  std::unique_ptr<MsixTable> msix_table_;
  std::unique_ptr<Rom> rom_;

  std::array<std::uint8_t, 256> config_{};
  bool intx_asked_ = false;
  InterruptPin intx_;
};

}  // namespace chronovisor
