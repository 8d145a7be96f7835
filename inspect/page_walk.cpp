#include "inspect/page_walk.h"

#include <array>
#include <cstring>

namespace chronovisor {
namespace {

constexpr std::uint64_t kAddressBits = 0x000ffffffffff000ULL;
constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kLargePage = 1ULL << 7;

struct Level {
  std::string_view name;
  unsigned shift = 0;
  unsigned index_bits = 0;
  bool can_be_page = false;
};

std::string entry_flags(std::uint64_t entry, bool wide) {
  static constexpr std::array<std::pair<unsigned, const char*>, 9> kFlags{{{0, "present"},
                                                                           {1, "writable"},
                                                                           {2, "user"},
                                                                           {3, "write-through"},
                                                                           {4, "uncached"},
                                                                           {5, "accessed"},
                                                                           {6, "dirty"},
                                                                           {7, "large"},
                                                                           {8, "global"}}};
  std::string out;
  for (const auto& [bit, name] : kFlags) {
    if ((entry >> bit & 1) != 0) out += std::string(" ") + name;
  }
  if (wide && (entry >> 63) != 0) out += " no-execute";
  return out;
}

/// The levels that the CPU's paging mode walks, topmost first.
std::vector<Level> levels_of(const Cpu& cpu) {
  if (cpu.long_mode_active()) {
    return {
        {"PML4", 39, 9, false}, {"PDPT", 30, 9, true}, {"PD", 21, 9, true}, {"PT", 12, 9, false}};
  }
  if ((cpu.state.cr4 & kCr4Pae) != 0)
    return {{"PDPT", 30, 2, false}, {"PD", 21, 9, true}, {"PT", 12, 9, false}};
  return {{"PD", 22, 10, (cpu.state.cr4 & kCr4Pse) != 0}, {"PT", 12, 10, false}};
}

}  // namespace

PageWalk walk_pages(Machine& machine, std::uint64_t linear) {
  const Cpu& cpu = machine.cpu();
  PageWalk walk;
  if (const auto physical = cpu.translate_for_debugger(linear)) walk.physical = physical->value;
  walk.paging = (cpu.state.cr0 & kCr0Pg) != 0;
  if (!walk.paging) return walk;
  const bool wide = cpu.long_mode_active() || (cpu.state.cr4 & kCr4Pae) != 0;
  const bool held = wide && !cpu.long_mode_active();
  const std::size_t entry_size = wide ? 8 : 4;
  const std::uint64_t mask = wide ? kAddressBits : 0xfffff000ULL;
  // With PAE the topmost table is 32 bytes long and aligned to that.
  std::uint64_t table = cpu.state.cr3 & (held ? 0xffffffe0ULL : mask);
  for (const Level& level : levels_of(cpu)) {
    PageWalkEntry& entry = walk.entries.emplace_back();
    entry.level = level.name;
    entry.index = linear >> level.shift & ((1ULL << level.index_bits) - 1);
    entry.place = table + entry.index * entry_size;
    if (held && walk.entries.size() == 1) {
      entry.value = cpu.state.pdpte[entry.index];
    } else {
      std::array<std::uint8_t, 8> raw{};
      if (machine.ram().read({entry.place}, std::span(raw).first(entry_size)) < entry_size) break;
      std::uint64_t value = 0;
      std::memcpy(&value, raw.data(), sizeof(value));
      entry.value = value;
    }
    entry.flags = entry_flags(*entry.value, wide);
    if ((*entry.value & kPresent) == 0) break;
    if (level.can_be_page && (*entry.value & kLargePage) != 0) break;
    table = *entry.value & mask;
  }
  return walk;
}

}  // namespace chronovisor
