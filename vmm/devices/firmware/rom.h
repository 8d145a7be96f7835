// Owns the firmware's ROM where it ends at 4 GiB, and in it, if the machine has any, the
// flash memory that keeps the firmware's variables. What is in it is a region of the
// machine, which is read and executed like RAM while the flash is in its array mode. Knows
// no CPU. One thread a machine.
//
// The flash takes Intel's command set: program (10H, 40H), erase a block (20H, D0H), clear
// and read status (50H, 70H), lock and unlock (60H; nothing is ever locked), identify (90H)
// and read the array (FFH). It is ready at once. A byte is programmed to what is written,
// as on QEMU's, whether or not it was erased before.
// Source: Intel 28F640 data sheet; QEMU's "cfi.pflash01" for widths and blocks.
#pragma once

#include <cstdint>
#include <memory>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/firmware_items.h"
#include "vmm/memory/paged_region.h"

namespace chronovisor {

/// Who shows the ROM to the processor.
class RomMapping {
 public:
  virtual ~RomMapping() = default;
  /// The first `size_bytes` of the ROM are read through the device from here on.
  virtual void hide_start(std::uint64_t size_bytes) = 0;
  /// Bytes within one page are about to change.
  virtual void before_change(std::uint64_t offset, std::uint64_t size_bytes) = 0;
};

class Rom final : public Device, public MmioDevice {
 public:
  static constexpr std::uint64_t kBlockBytes = 4096;

  Rom(PagedRegion& content, std::unique_ptr<RomMapping> mapping, const FlashConfig& flash = {});

  [[nodiscard]] std::string_view name() const override { return "rom"; }
  [[nodiscard]] StateVersions state_versions() const override { return {1, 2}; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void state_restored() override { show(); }

  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
  void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;
  [[nodiscard]] std::optional<std::uint8_t> peek_mmio(std::uint64_t offset) const override {
    return *content_.host(offset);
  }

 private:
  [[nodiscard]] bool in_flash(std::uint64_t offset) const {
    return offset >= flash_begin_ && offset < flash_end_;
  }
  void show();
  void begin(std::uint8_t command);
  void finish(std::uint64_t offset, unsigned width, std::uint64_t value);
  void change(std::uint64_t offset, ByteView bytes);

  PagedRegion& content_;
  std::unique_ptr<RomMapping> mapping_;
  std::uint64_t flash_begin_;  ///< offsets in the content; the same: there is none
  std::uint64_t flash_end_;
  std::uint8_t command_;    ///< what reads give
  bool expecting_ = false;  ///< the second cycle of the command
  std::uint8_t status_ = 0;
};

}  // namespace chronovisor
