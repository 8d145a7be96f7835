// Owns the device by which firmware is told of the machine: items that are selected by
// number and read byte by byte, or moved to memory by a descriptor. What the items are is
// a region of the machine (core/firmware_items.h). Knows no item. One thread a machine.
//
// Ports: selector and data, two, at offset 0; the descriptor's address, eight.
// Source: QEMU, docs/specs/fw_cfg.rst.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/devices/core/device.h"
#include "vmm/memory/dma_port.h"
#include "vmm/memory/paged_region.h"

namespace chronovisor {

/// Items are read only: writes, by either way, change nothing, and one by a descriptor
/// ends with an error. Past the end of an item there are zeros, and so there are in one
/// that is not there.
class FwCfg final : public Device {
 public:
  static constexpr std::uint64_t kItemsBytes = 256 * 1024;

  /// @param items of kItemsBytes, a region of the machine
  FwCfg(const PagedRegion& items, DmaBus& dma);

  [[nodiscard]] std::string_view name() const override { return "fw_cfg"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

 private:
  class Ports final : public PortDevice {
   public:
    explicit Ports(FwCfg& owner) : owner_(owner) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    FwCfg& owner_;
  };
  class Descriptor final : public PortDevice {
   public:
    explicit Descriptor(FwCfg& owner) : owner_(owner) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    FwCfg& owner_;
  };

  void select(std::uint16_t key);
  /// The next bytes of the selected item.
  void take(std::span<std::uint8_t> out);
  void run_descriptor(std::uint64_t address);
  [[nodiscard]] bool move_to_memory(std::uint64_t address, std::uint32_t length);

  const PagedRegion& items_;
  DmaPort dma_;
  Ports ports_{*this};
  Descriptor descriptor_{*this};
  std::uint16_t key_ = 0;
  std::uint32_t at_ = 0;                   ///< the next byte of the item
  std::array<std::uint8_t, 8> address_{};  ///< of the descriptor, as written: high byte first
};

}  // namespace chronovisor
