// Owns the decision what lies where in the guest's RAM before it starts: the
// firmware's memory map, and which ranges the loader has given away. Knows no
// image format. One thread a machine; used only while loading.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

/// One range of the firmware's memory map, as INT 15h AX=E820h reports it.
struct E820Entry {
  static constexpr std::uint32_t kUsable = 1;
  static constexpr std::uint32_t kReserved = 2;

  std::uint64_t base = 0;
  std::uint64_t size = 0;
  std::uint32_t type = kUsable;
};

/// The map of this machine, in ascending order, without overlaps.
std::vector<E820Entry> e820_map(const Ram& ram);

/// Where the loader's own structures go (command line, GDT, page tables, lists).
/// A recording replays only with the layout that it was made with.
enum class BootLayout : std::uint8_t {
  /// From 0x1000 upward. Behaviour versions 1 and 2.
  from_page_1 = 0,
  /// From 0x9000 upward, where QEMU has its multiboot information: kernels clear
  /// what lies below, or put page tables there. What has no room there goes below,
  /// and then above 1 MiB.
  conventional = 1,
};

/// Gives ranges of usable RAM away, each once. Page 0 is never given away.
/// Errors are Error{bad_input} that begin with `subject` and say how much
/// memory would do.
class MemoryPlan {
 public:
  /// @param subject the image's name, for messages
  MemoryPlan(Ram& ram, std::string subject, BootLayout layout);

  /// Takes [begin, begin + size_bytes), which must be free usable RAM.
  void claim(std::uint64_t begin, std::uint64_t size_bytes, std::string_view what);

  /// Takes the lowest (highest) free range within [begin, end) whose address is
  /// a multiple of `alignment`, a power of two.
  /// @return its address
  std::uint64_t allocate_lowest(std::uint64_t size_bytes, std::uint64_t alignment,
                                std::uint64_t begin, std::uint64_t end, std::string_view what);
  std::uint64_t allocate_highest(std::uint64_t size_bytes, std::uint64_t alignment,
                                 std::uint64_t begin, std::uint64_t end, std::string_view what);

  /// Takes whole pages for a structure of the loader's, where the layout has them.
  /// Call it when everything of the guest's own is claimed.
  std::uint64_t allocate_structure(std::uint64_t size_bytes, std::string_view what);
  /// allocate_structure, and writes `bytes` there.
  std::uint64_t place_structure(ByteView bytes, std::string_view what);

  /// Writes into RAM that was claimed or allocated before.
  void write(std::uint64_t address, ByteView bytes);
  /// Makes [address, address + size_bytes) zero; leaves pages alone that are.
  void clear(std::uint64_t address, std::uint64_t size_bytes);

  [[nodiscard]] const std::vector<E820Entry>& map() const { return map_; }
  [[nodiscard]] const Ram& ram() const { return ram_; }
  /// First byte past the highest range taken below 4 GiB.
  [[nodiscard]] std::uint64_t highest_taken_end() const;

 private:
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
    std::string what;
  };
  [[nodiscard]] bool usable(std::uint64_t begin, std::uint64_t end) const;
  [[nodiscard]] std::optional<std::uint64_t> find_lowest(std::uint64_t size_bytes,
                                                         std::uint64_t alignment,
                                                         std::uint64_t begin,
                                                         std::uint64_t end) const;
  [[nodiscard]] const Range* overlap(std::uint64_t begin, std::uint64_t end) const;
  [[noreturn]] void fail_allocation(std::uint64_t size_bytes, std::uint64_t end,
                                    std::string_view what) const;

  Ram& ram_;
  std::string subject_;
  BootLayout layout_;
  std::vector<E820Entry> map_;
  std::vector<Range> taken_;
};

}  // namespace chronovisor
