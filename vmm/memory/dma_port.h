// Owns the one way by which a device touches memory: reads and writes of
// guest-physical ranges that keep dirty tracking, decoded code and translations
// right, tell whoever watches that a device wrote, and may be made to fail. It
// reaches RAM and nothing else, so a transfer can never lead into a device: an
// address that is not RAM (a device's registers, video memory, a hole) reads as
// all ones and takes no writes. That is the guest's mistake, and no error.
// Knows no CPU and no device. One thread a machine.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

enum class DmaDirection : std::uint8_t {
  from_memory,  ///< the device reads
  to_memory,    ///< the device writes
};

/// How a transfer ended. The device tells the guest, as its kind does.
enum class [[nodiscard]] DmaStatus : std::uint8_t{done, failed};

/// One transfer that a device asks for.
struct DmaTransfer {
  std::string_view device;  ///< name of the device's state section
  DmaDirection direction = DmaDirection::from_memory;
  GuestPhysical address;
  std::uint64_t size_bytes = 0;
};

/// What a device is about when it transfers, for people who ask who wrote.
class DmaCause {
 public:
  virtual ~DmaCause() = default;
  /// "READ DMA, LBA 2048, 8 sectors"
  [[nodiscard]] virtual std::string request() const = 0;
  /// The same for one byte of the transfer that is under way: "frame 812, byte 54".
  [[nodiscard]] virtual std::string request_at(std::uint64_t /*byte*/) const { return request(); }
  /// Where the access was made that began it.
  [[nodiscard]] virtual Position started() const = 0;
};

/// Who writes by DMA.
struct DmaWriter {
  std::string_view device;          ///< name of the device's state section
  const DmaCause* cause = nullptr;  ///< null: the device does not say
  GuestPhysical into;               ///< where the whole transfer begins
};

/// Told of what devices wrote, after it was written.
class DmaObserver {
 public:
  virtual ~DmaObserver() = default;
  /// The bytes are RAM. A transfer of several pages may be told in pieces.
  virtual void device_wrote(const DmaWriter& writer, GuestPhysical address,
                            std::uint64_t size_bytes) = 0;
};

/// Decides which transfers fail. What it decides must be a function of the run
/// (its position and what came before), or a replay would differ.
class DmaFaults {
 public:
  virtual ~DmaFaults() = default;
  /// @return whether the transfer fails before its first byte
  [[nodiscard]] virtual bool fails(const DmaTransfer& transfer) = 0;
};

/// What all ports of a machine share.
class DmaBus {
 public:
  explicit DmaBus(Ram& ram) : ram_(ram) {}
  DmaBus(const DmaBus&) = delete;
  DmaBus& operator=(const DmaBus&) = delete;

  /// Both must outlive the bus or be replaced; null: nobody.
  void set_observer(DmaObserver* observer) { observer_ = observer; }
  void set_faults(DmaFaults* faults) { faults_ = faults; }

 private:
  friend class DmaPort;
  Ram& ram_;
  DmaObserver* observer_ = nullptr;
  DmaFaults* faults_ = nullptr;
};

/// A device's connection to memory. It holds no state of the machine.
class DmaPort {
 public:
  /// @param device name of the device's state section; the bus must outlive this
  DmaPort(DmaBus& bus, std::string_view device) : bus_(bus), device_(device) {}

  /// As long as it lives, transfers of a port are for `cause`.
  class Doing {
   public:
    Doing(DmaPort& port, const DmaCause& cause) : port_(port) { port_.cause_ = &cause; }
    ~Doing() { port_.cause_ = nullptr; }
    Doing(const Doing&) = delete;
    Doing& operator=(const Doing&) = delete;

   private:
    DmaPort& port_;
  };

  /// Fills `out` from memory; with all ones where the address is not RAM, and
  /// everywhere when the transfer fails.
  DmaStatus read(GuestPhysical address, std::span<std::uint8_t> out) const;
  /// Writes `data` to memory, dropping what is not RAM. A transfer that fails
  /// writes nothing.
  DmaStatus write(GuestPhysical address, ByteView data);

  /// The same for one little-endian integer.
  template <std::unsigned_integral T>
  DmaStatus read(GuestPhysical address, T& value) const {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    const DmaStatus status = read(address, std::span<std::uint8_t>(bytes));
    std::memcpy(&value, bytes.data(), sizeof(T));
    return status;
  }
  template <std::unsigned_integral T>
  DmaStatus write(GuestPhysical address, T value) {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    std::memcpy(bytes.data(), &value, sizeof(T));
    return write(address, ByteView(bytes));
  }

 private:
  [[nodiscard]] bool fails(DmaDirection direction, GuestPhysical address,
                           std::uint64_t size_bytes) const;

  DmaBus& bus_;
  std::string device_;
  const DmaCause* cause_ = nullptr;
};

}  // namespace chronovisor
