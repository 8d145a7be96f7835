// Owns what a drive's contents are to its controller: sectors that are read and
// written. Knows no controller and no file. One thread a machine.
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace chronovisor {

inline constexpr std::uint32_t kSectorBytes = 512;

enum class [[nodiscard]] DiskStatus : std::uint8_t{
    done,
    error,  ///< the medium could not be read or written: the guest's I/O error
};

class Disk {
 public:
  virtual ~Disk() = default;
  [[nodiscard]] virtual std::uint64_t sectors() const = 0;
  [[nodiscard]] virtual bool read_only() const = 0;
  /// `out` and `data` are whole sectors within the disk.
  virtual DiskStatus read(std::uint64_t sector, std::span<std::uint8_t> out) = 0;
  virtual DiskStatus write(std::uint64_t sector, ByteView data) = 0;
};

}  // namespace chronovisor
