// Owns the PCI transport of a virtio device, both as drafts before 1.0 had it (I/O
// registers in BAR 0) and as 1.0 has it (capabilities that point into BAR 4): features,
// status, queues and interrupts. Knows no particular device. One thread a machine.
// Source: Virtual I/O Device (VIRTIO) 1.1, 4.1 "Virtio Over PCI Bus".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/devices/core/device.h"
#include "vmm/devices/pci/pci_device.h"
#include "vmm/devices/virtio/virtqueue.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

class VirtioDevice : public PciDevice {
 public:
  static constexpr std::uint64_t kIndirectDescriptors = 1ULL << 28;
  static constexpr std::uint64_t kVersion1 = 1ULL << 32;

  /// Version 2 has the capability by which registers are reached through configuration space.
  [[nodiscard]] StateVersions state_versions() const override { return {1, 2}; }
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  std::uint32_t read_config(std::uint8_t offset, unsigned width) override;
  void write_config(std::uint8_t offset, unsigned width, std::uint32_t value) override;

 protected:
  /// @param kind the virtio device's number
  /// @param transitional_id its PCI device; from 1040H on one that has no drafts' registers
  /// @param features beside those of the transport
  VirtioDevice(std::uint16_t kind, std::uint16_t transitional_id, std::uint32_t class_code,
               std::uint64_t features, unsigned queues, std::string name, PciAddress usual,
               MessageInterrupts& messages, DmaBus& dma);
  ~VirtioDevice() override;

  // ---- for a device ----------------------------------------------------------------
  /// The device's configuration; reads past its end are zeros.
  [[nodiscard]] virtual std::vector<std::uint8_t> configuration() const = 0;
  /// The driver writes one byte of it.
  virtual void configuration_written(unsigned /*offset*/, std::uint8_t /*value*/) {}
  /// The driver says that queue `number` has something.
  virtual void notified(unsigned number) = 0;
  /// The driver has reset the device.
  virtual void device_reset() = 0;

  [[nodiscard]] Virtqueue& queue(unsigned number) { return queues_[number]; }
  [[nodiscard]] const Virtqueue& queue(unsigned number) const { return queues_[number]; }
  [[nodiscard]] DmaPort& dma() { return dma_; }
  [[nodiscard]] const DmaPort& dma() const { return dma_; }
  [[nodiscard]] bool has(std::uint64_t feature) const { return (driver_features_ & feature) != 0; }
  /// The driver is there, and the device may use memory.
  [[nodiscard]] bool running() const;
  /// The driver has broken a rule: nothing happens until it resets the device.
  void broken();
  /// A buffer of queue `number` was given back and the driver wants to know.
  void interrupt(unsigned number);

 private:
  class Legacy final : public PortDevice {
   public:
    explicit Legacy(VirtioDevice& device) : device_(device) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    [[nodiscard]] unsigned header_bytes() const;
    VirtioDevice& device_;
  };
  class Modern final : public MmioDevice {
   public:
    explicit Modern(VirtioDevice& device) : device_(device) {}
    std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
    void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

   private:
    VirtioDevice& device_;
  };

  void add_virtio_capability(std::uint8_t type, std::uint32_t offset, std::uint32_t length,
                             std::uint32_t multiplier = 0);
  void add_access_capability();
  /// What the driver has written there.
  struct Access {
    std::uint64_t offset = 0;
    unsigned width = 0;  ///< 0: there is no such register
  };
  [[nodiscard]] Access access_asked(std::uint8_t config_offset) const;
  [[nodiscard]] std::vector<std::uint8_t> common() const;
  void write_common(unsigned field, std::uint64_t value);
  [[nodiscard]] std::uint8_t take_isr();
  void set_status(std::uint8_t status);
  void reset_by_driver();
  void notify(std::uint32_t number);
  void place_legacy_queue(std::uint32_t page);
  [[nodiscard]] Virtqueue* selected();
  [[nodiscard]] const Virtqueue* selected() const;

  const std::uint64_t features_;
  const std::string name_;
  DmaPort dma_;
  std::vector<Virtqueue> queues_;
  Legacy legacy_{*this};
  Modern modern_{*this};
  unsigned access_ = 0;  ///< where that capability is; 0: none
  std::uint64_t driver_features_ = 0;
  std::uint32_t device_feature_select_ = 0;
  std::uint32_t driver_feature_select_ = 0;
  std::uint16_t queue_select_ = 0;
  std::uint16_t config_vector_ = 0xffff;
  std::uint8_t status_ = 0;
  std::uint8_t isr_ = 0;
};

}  // namespace chronovisor
