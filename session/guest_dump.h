// Owns what QEMU's monitor shows of a machine, as values and in its words: kernel
// debugging scripts read those. Reading changes nothing. Any thread; the functions
// that take a machine, its thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inspect/guest_memory_map.h"
#include "vmm/machine/machine.h"

namespace chronovisor::session {

/// `info registers`
struct CpuDump {
  CpuState state;
  std::uint32_t rflags = 0;
  unsigned cpl = 0;
  bool code64 = false;
  bool long_mode = false;
  bool protected_mode = false;
};
[[nodiscard]] CpuDump dump_cpu(Machine& machine);

/// `info mem`: ranges that have the same rights.
struct MappedRange {
  std::uint64_t first = 0;
  std::uint64_t size = 0;
  bool user = false;
  bool writable = false;
};
[[nodiscard]] std::vector<MappedRange> mapped_ranges(Machine& machine);

/// `info tlb`: the pages.
[[nodiscard]] std::vector<MappedPage> mapped_pages(Machine& machine);

/// `info lapic`: the local APIC's registers by their number, offset / 16.
struct LapicDump {
  bool enabled = false;
  bool x2apic = false;
  std::vector<std::uint32_t> registers;  ///< 64 of them
};
[[nodiscard]] LapicDump dump_lapic(Machine& machine);

/// `info pic`: the two 8259A, the master first.
struct PicDump {
  struct Chip {
    unsigned irr = 0, imr = 0, isr = 0, priority_add = 0, vector_base = 0, elcr = 0;
    bool read_isr = false, special_fully_nested = false;
  };
  std::vector<Chip> chips;
};
[[nodiscard]] PicDump dump_pic(Machine& machine);

[[nodiscard]] std::string text_of(const CpuDump& dump);
[[nodiscard]] std::string text_of(const std::vector<MappedRange>& ranges);
[[nodiscard]] std::string text_of(const std::vector<MappedPage>& pages);
[[nodiscard]] std::string text_of(const LapicDump& dump);
[[nodiscard]] std::string text_of(const PicDump& dump);

}  // namespace chronovisor::session
