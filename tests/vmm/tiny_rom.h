// Owns a tiny ROM for tests of machines that start from firmware, and words of its
// programs. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "vmm/machine/machine.h"
#include "vmm/model/model.h"

namespace chronovisor::test {

inline constexpr std::size_t kRomBytes = 64 * 1024;

/// A ROM whose program lies at F000:0100, entered from the reset vector. Its last bytes
/// below FFF0 say that it is one.
class TinyRom {
 public:
  TinyRom() : bytes_(kRomBytes, 0x90) {
    put(0xfff0, {0xea, 0x00, 0x01, 0x00, 0xf0});  // JMP F000:0100
    put(0xe000, {0x11, 0x22, 0x33, 0x44});
  }
  void put(std::size_t at, std::initializer_list<unsigned> code) {
    for (const unsigned byte : code) bytes_[at++] = static_cast<std::uint8_t>(byte);
  }
  void program(std::initializer_list<unsigned> code) { put(0x100, code); }
  [[nodiscard]] ByteView bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

inline MachineConfig pc2_config() {
  MachineConfig config;
  config.memory_bytes = 4U << 20;
  config.model = pc2().name;
  return config;
}

inline void start(Machine& machine, ByteView rom) {
  BootRequest request;
  request.kind = BootKind::firmware;
  request.kernel_name = "rom";
  request.kernel = rom;
  machine.boot(request);
}

inline std::uint16_t word_at(Machine& machine, std::uint64_t address) {
  std::array<std::uint8_t, 2> bytes{};
  (void)machine.ram().read({address}, bytes);
  return static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8);
}

// Of the programs: a write to the host bridge's register `at` (a byte).
#define CONFIG_BYTE(at, value)                                                                  \
  0x66, 0xb8, (at)&0xfc, 0x00, 0x00, 0x80, 0xba, 0xf8, 0x0c, 0x66, 0xef, 0xba, 0xfc | ((at)&3), \
      0x0c, 0xb0, (value), 0xee
// MOV AX, [F000:E000] by way of ES; MOV [word `to` of segment 0], AX
#define KEEP_WORD(to) 0x26, 0xa1, 0x00, 0xe0, 0xa3, (to)&0xff, (to) >> 8
#define ES_IS_F000 0xb8, 0x00, 0xf0, 0x8e, 0xc0, 0x31, 0xc0, 0x8e, 0xd8
// MOV WORD [ES:E000], value
#define POKE(value) 0x26, 0xc7, 0x06, 0x00, 0xe0, (value)&0xff, (value) >> 8

}  // namespace chronovisor::test
