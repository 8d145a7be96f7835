// Owns what the tests of disk controllers share: a disk whose sectors say which they are,
// and memory that devices reach.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "tests/devices/device_test_support.h"
#include "vmm/devices/core/message_interrupt.h"
#include "vmm/devices/storage/disk.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor::test {

struct CountedMessages final : MessageInterrupts {
  void send_message_interrupt(std::uint64_t address, std::uint32_t data) override {
    sent.emplace_back(address, data);
  }
  std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
};

/// Sector n begins with n, four bytes little-endian, whatever is written: so that a
/// device's state holds all there is.
class NumberedDisk final : public Disk {
 public:
  explicit NumberedDisk(std::uint64_t sectors) : sectors_(sectors) {}
  [[nodiscard]] std::uint64_t sectors() const override { return sectors_; }
  [[nodiscard]] bool read_only() const override { return read_only_disk; }
  DiskStatus read(std::uint64_t sector, std::span<std::uint8_t> out) override {
    if (sector + out.size() / kSectorBytes > sectors_) outside = true;
    if (bad_sector >= sector && bad_sector < sector + out.size() / kSectorBytes) {
      return DiskStatus::error;
    }
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    for (std::size_t at = 0; at + kSectorBytes <= out.size(); at += kSectorBytes) {
      const auto number = static_cast<std::uint32_t>(sector + at / kSectorBytes);
      std::memcpy(out.data() + at, &number, sizeof number);
    }
    return DiskStatus::done;
  }
  DiskStatus write(std::uint64_t sector, ByteView data) override {
    if (sector + data.size() / kSectorBytes > sectors_) outside = true;
    last_write.assign(data.begin(), data.end());
    last_sector = sector;
    return DiskStatus::done;
  }
  std::uint64_t bad_sector = ~std::uint64_t{0};
  bool read_only_disk = false;
  bool outside = false;  ///< it was asked for what is not on it
  std::uint64_t last_sector = 0;
  Bytes last_write;

 private:
  std::uint64_t sectors_;
};

/// A bench of a device that reaches memory, where the test's driver puts what it wants done.
struct DiskBench : Bench {
  Ram ram{2 << 20};
  DmaBus bus{ram};
  CountedMessages messages;

  template <class T>
  void put(std::uint64_t address, T value) {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    std::memcpy(bytes.data(), &value, sizeof value);
    (void)ram.write({address}, bytes);
  }
  template <class T>
  [[nodiscard]] T get(std::uint64_t address) const {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    (void)ram.read({address}, bytes);
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
};

}  // namespace chronovisor::test
