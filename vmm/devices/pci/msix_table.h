// Owns the vector table and the pending bits of one function's MSI-X, as they lie
// in its BAR: the table at 0, the pending bits behind it. Knows no function; who
// owns it says whether messages may go out. One thread a machine.
// Source: PCI Local Bus Specification 3.0, 6.8.2.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/state.h"
#include "vmm/devices/core/device.h"
#include "vmm/devices/core/message_interrupt.h"
#include "vmm/devices/pci/pci_device.h"

namespace chronovisor {

/// Reads and writes of any width and alignment work byte by byte; pending bits
/// and reserved bits cannot be written.
class PciDevice::MsixTable final : public MmioDevice {
 public:
  static constexpr unsigned kEntryBytes = 16;

  /// @param enabled MSI-X is on and the function is not masked
  MsixTable(unsigned vectors, MessageInterrupts& messages, std::function<bool()> enabled);

  /// Where the pending bits begin, and how much there is of both.
  [[nodiscard]] std::uint32_t pending_offset() const { return pending_offset_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

  void send(unsigned vector);
  /// Messages that were pending and may go out now, do.
  void send_unmasked();
  void reset();
  void visit_state(StateVisitor& visitor);

  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
  void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

 private:
  [[nodiscard]] std::uint32_t dword(unsigned at) const;
  [[nodiscard]] bool masked(unsigned vector) const;
  void deliver(unsigned vector) const;

  const unsigned vectors_;
  const std::uint32_t pending_offset_;
  const std::uint64_t size_;
  MessageInterrupts& messages_;
  const std::function<bool()> enabled_;
  std::vector<std::uint8_t> table_;
  std::vector<std::uint8_t> pending_;  ///< a bit a vector, in whole quadwords
};

}  // namespace chronovisor
