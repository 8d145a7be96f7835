// Owns the firmware's ROM where it ends at 4 GiB: it is read, and takes no writes. What
// is in it is a region of the machine. Has no state. One thread a machine.
#pragma once

#include <cstdint>

#include "vmm/devices/core/device.h"
#include "vmm/memory/paged_region.h"

namespace chronovisor {

class Rom final : public Device, public MmioDevice {
 public:
  explicit Rom(const PagedRegion& content) : content_(content) {}

  [[nodiscard]] std::string_view name() const override { return "rom"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override {}

  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
  void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

 private:
  const PagedRegion& content_;
};

}  // namespace chronovisor
