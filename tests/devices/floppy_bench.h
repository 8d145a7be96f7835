// Owns the bench of the floppy controller: a disk whose sectors say which they are, and a
// driver that does what it likes.
#pragma once

#include <array>
#include <memory>
#include <utility>

#include "tests/devices/disk_test_support.h"
#include "vmm/devices/storage/floppy_controller.h"

namespace chronovisor::test {

struct FloppyBench : PortsBench {
  static constexpr std::uint16_t kOutput = 0x3f2;
  static constexpr std::uint16_t kStatus = 0x3f4;
  static constexpr std::uint16_t kFifo = 0x3f5;
  static constexpr std::uint64_t kMemoryBytes = 64 << 10;

  Ram ram{1 << 20};
  DmaBus bus{ram};
  FloppyController floppy{clock, bus};
  NumberedDisk* disk;

  explicit FloppyBench(std::uint64_t sectors = 2880) {
    auto made = std::make_unique<NumberedDisk>(sectors);
    disk = made.get();
    floppy.attach(0, std::move(made));
    lines.wire(floppy);
    place(floppy);
    floppy.reset();
    floppy.set_up_by_firmware();
  }
  Device& device() override { return floppy; }

  void out(std::uint16_t port, std::uint32_t value) {
    const Declaration::Ports& there = *at(port);
    there.device->write_port(static_cast<std::uint16_t>(port - there.first + there.first_offset), 1,
                             value);
  }
  std::uint8_t in(std::uint16_t port) {
    const Declaration::Ports& there = *at(port);
    return static_cast<std::uint8_t>(there.device->read_port(
        static_cast<std::uint16_t>(port - there.first + there.first_offset), 1));
  }
  void command(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) out(kFifo, byte);
  }
  /// Lets it finish, and reads what it says.
  std::vector<std::uint8_t> result() {
    finish();
    std::vector<std::uint8_t> bytes;
    while ((in(kStatus)&0xd0) == 0xd0 && bytes.size() < 100) bytes.push_back(in(kFifo));
    return bytes;
  }
  void finish() {
    for (unsigned n = 0; n < 1000 && floppy.next_deadline_ns() != kNever; ++n) {
      clock.ns = floppy.next_deadline_ns();
      floppy.advance({clock.ns});
    }
  }
  /// Out of reset, the motor on, and the reset's four answers taken.
  void start() {
    out(kOutput, 0x1c);
    for (unsigned n = 0; n < 4; ++n) {
      command({0x08});
      (void)result();
    }
    out(0x3f7, 0);  // 500 kbit/s
  }
  /// Channel 2: `mode` 46H into memory, 4AH out of it.
  void channel(std::uint32_t address, std::uint32_t bytes, unsigned mode) {
    out(0x0a, 0x06);
    out(0x0c, 0);
    for (unsigned shift = 0; shift < 16; shift += 8) out(0x04, address >> shift & 0xff);
    for (unsigned shift = 0; shift < 16; shift += 8) out(0x05, (bytes - 1) >> shift & 0xff);
    out(0x81, address >> 16);
    out(0x0b, mode);
    out(0x0a, 0x02);
  }
  template <class T>
  [[nodiscard]] T get(std::uint64_t address) const {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    (void)ram.read({address}, bytes);
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  std::uint64_t any_port(Random& random) {
    const Declaration::Ports& range = ports[below(random, ports.size())];
    const auto port = static_cast<std::uint16_t>(range.first + below(random, range.count));
    // Too many resets, and nothing else would be seen.
    if (port == kOutput || below(random, 2) == 0) return in(port);
    out(port, static_cast<std::uint8_t>(random()));
    return 0;
  }
  std::uint64_t any_command(Random& random) {
    constexpr std::array<unsigned, 16> kCommands{0x46, 0xe6, 0xc5, 0x07, 0x08, 0x4a, 0x4d, 0x0e,
                                                 0x0f, 0x94, 0x14, 0x12, 0x13, 0x56, 0x42, 0x03};
    out(kFifo, kCommands[below(random, kCommands.size())]);
    const std::uint64_t drive = below(random, 4) == 0 ? below(random, 8) : below(random, 2) * 4;
    out(kFifo, static_cast<std::uint32_t>(drive));
    for (unsigned n = 0; n < 7; ++n) {
      const bool size = n == 3;
      out(kFifo, static_cast<std::uint32_t>(size                    ? 2
                                            : below(random, 3) == 0 ? random() & 0xff
                                                                    : below(random, 4)));
    }
    return in(kStatus);
  }
  /// One that works, up to where it begins.
  void whole_transfer(Random& random) {
    out(kOutput, 0x1c);
    out(0x3f7, 0);
    for (unsigned n = 0; n < 16; ++n) (void)in(kFifo);
    command({0x13, 0, 0x50, 0});  // implied seeks
    command({0x03, 0xdf, static_cast<unsigned>(2 + below(random, 2))});
    const bool writes = below(random, 2) != 0;
    channel(static_cast<std::uint32_t>(below(random, kMemoryBytes)),
            static_cast<std::uint32_t>(1 + below(random, 2000)), writes ? 0x4a : 0x46);
    out(0xd4, 0);
    command({writes ? 0x45U : 0x46U, 0, static_cast<unsigned>(below(random, 80)), 0,
             static_cast<unsigned>(1 + below(random, 18)), 2, 18, 0x1b, 0xff});
  }
  std::uint64_t step(Random& random) override {
    constexpr std::array<std::uint8_t, 8> kOutputs{0x1c, 0x1c, 0x1c, 0x3d, 0x14, 0x00, 0x0c, 0x2d};
    switch (below(random, 10)) {
      case 0:
      case 1: {
        // What was read into memory must not matter: it is no state of the device.
        (void)ram.write({0}, Bytes(kMemoryBytes, static_cast<std::uint8_t>(random())));
        random_pass(*this, random);
        return 0;
      }
      case 2:
        out(kOutput, kOutputs[below(random, kOutputs.size())]);
        return 0;
      case 3:
      case 4:
        return any_command(random);
      case 5: {
        constexpr std::array<unsigned, 6> kModes{0x46, 0x4a, 0x42, 0x56, 0x66, 0x5a};
        channel(static_cast<std::uint32_t>(below(random, kMemoryBytes)),
                static_cast<std::uint32_t>(1 + below(random, 3000)),
                kModes[below(random, kModes.size())]);
        out(0xd4, 0);
        return 0;
      }
      case 6: {
        std::uint64_t seen = 0;
        for (unsigned n = 0; n < 40; ++n) seen = seen * 31 + in(kFifo);
        return seen;
      }
      case 7:
        out(0x3f7, static_cast<std::uint32_t>(below(random, 4) * 2 / 4));
        command({0x0f, static_cast<unsigned>(below(random, 4)),
                 static_cast<unsigned>(below(random, 80))});
        return 0;
      case 8:
        whole_transfer(random);
        return 0;
      default:
        return any_port(random);
    }
  }
};

}  // namespace chronovisor::test
