// Owns what answers between 768 KiB and 1 MiB where a host bridge has a say in it: RAM or
// the firmware's ROM for reads, RAM or the bus for writes, in segments of 16 KiB. What is
// read lies in RAM's bytes, so that code and tables there are like all others; RAM's own
// content lies in a region meanwhile. It holds no state of the machine: the bridge's
// registers do, and the memory. Knows no device. One thread a machine.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/memory/paged_region.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

class UpperMemory {
 public:
  static constexpr std::uint64_t kBegin = 0xc0000;
  static constexpr std::uint64_t kEnd = 0x100000;
  static constexpr std::uint64_t kSegmentBytes = 0x4000;

  /// Which accesses RAM answers.
  struct Access {
    bool read = true;
    bool write = true;
    bool operator==(const Access&) const = default;
  };

  /// @param writes_changed called when a page may take writes otherwise than before
  UpperMemory(Ram& ram, std::function<void()> writes_changed)
      : ram_(ram), writes_changed_(std::move(writes_changed)) {}
  UpperMemory(const UpperMemory&) = delete;
  UpperMemory& operator=(const UpperMemory&) = delete;

  /// At machine construction, for a model whose bridge decides.
  /// @param hidden for RAM's content; as large as the range
  /// @param rom the firmware's, whose last 128 KiB lie at E0000H again
  void fit(PagedRegion& hidden, const PagedRegion& rom) {
    hidden_ = &hidden;
    rom_ = &rom;
  }

  /// Says who answers in the segment at `begin`, and changes no content: after a reset or
  /// a restore.
  void set_rules(std::uint64_t begin, Access access);
  /// The guest changed who answers there.
  void change(std::uint64_t begin, Access from, Access to);
  /// Fills the segment with what the ROM has there, before the guest runs.
  void show_rom(std::uint64_t begin);
  /// A write of the processor that came to the bus while RAM is written and not read.
  void write_hidden(std::uint64_t address, std::uint8_t value);

 private:
  static constexpr std::uint64_t kRomBegin = 0xe0000;

  Ram& ram_;
  std::function<void()> writes_changed_;
  PagedRegion* hidden_ = nullptr;
  const PagedRegion* rom_ = nullptr;
};

}  // namespace chronovisor
