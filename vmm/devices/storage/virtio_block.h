// Owns a virtio block device: requests of one queue, served one after the other. Knows
// no transport but the one it is built on. One thread a machine.
// Source: Virtual I/O Device (VIRTIO) 1.1, 5.2 "Block Device".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/devices/storage/disk.h"
#include "vmm/devices/virtio/virtio_device.h"

namespace chronovisor {

/// A request is done kCommandNs and kNsPerByte for each of its bytes after it became the
/// first in line, whatever the host does. A request of more than kMostBytes is an error.
class VirtioBlock final : public VirtioDevice, private DmaCause {
 public:
  static constexpr std::uint64_t kCommandNs = 20'000;
  static constexpr std::uint64_t kNsPerByte = 2;
  static constexpr std::uint64_t kMostBytes = 64ULL << 20;

  /// @param name of its state section, "virtio_disk0"; @param serial up to 20 characters
  VirtioBlock(std::unique_ptr<Disk> disk, std::string name, std::string serial, PciAddress usual,
              MessageInterrupts& messages, const Clock& clock, DmaBus& dma);

  [[nodiscard]] std::string_view name() const override { return section_; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override { return due_ns_; }
  void advance(VirtualTime now) override;

 protected:
  [[nodiscard]] std::vector<std::uint8_t> configuration() const override;
  void notified(unsigned number) override;
  void device_reset() override;

 private:
  struct Header {
    std::uint32_t type = 0;
    std::uint64_t sector = 0;
  };
  [[nodiscard]] std::string request() const override;
  [[nodiscard]] Position started() const override { return {started_}; }

  void begin_next();
  /// @return bytes that were written to the driver's memory
  std::uint32_t serve(const Virtqueue::Chain& chain);
  [[nodiscard]] bool read_header(const Virtqueue::Chain& chain, Header& header);
  [[nodiscard]] bool transfer(const Virtqueue::Chain& chain, const Header& header);
  [[nodiscard]] bool identify(const Virtqueue::Chain& chain);

  std::unique_ptr<Disk> disk_;
  std::string section_;
  std::string serial_;
  const Clock& clock_;
  bool busy_ = false;  ///< head_ is being served
  std::uint16_t head_ = 0;
  std::uint64_t due_ns_ = kNever;
  std::uint64_t started_ = 0;  ///< position of the notification that began it
  // Of the request that is being served, during serve().
  std::uint32_t type_ = 0;
  std::uint64_t sector_ = 0;
  std::uint64_t sectors_ = 0;
};

}  // namespace chronovisor
