#include "inspect/page_walk.h"

#include <array>

#include "vmm/cpu/mmu/page_walk.h"

namespace chronovisor {
namespace {

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

std::string_view level_name(unsigned level) {
  static constexpr std::array<std::string_view, 5> kNames{"", "PT", "PD", "PDPT", "PML4"};
  return kNames[level];
}

}  // namespace

ShownPageWalk show_page_walk(Machine& machine, GuestLinear linear) {
  const Cpu& cpu = machine.cpu();
  const Paging paging = Paging::of(cpu.state);
  ShownPageWalk shown;
  shown.paging = paging.kind != PagingKind::off;
  const Walk walk = cpu.mmu().look(linear, [&](const PageTableEntry& entry) {
    shown.entries.push_back({level_name(entry.level), entry.slot, entry.place, entry.in_register,
                             entry.value, entry_flags(entry.value, paging.entry_width() == 8)});
  });
  switch (walk.end) {
    case WalkEnd::mapped:
      shown.physical = walk.physical.value;
      break;
    case WalkEnd::not_present:
      shown.trouble = "is not mapped";
      break;
    case WalkEnd::not_canonical:
      shown.trouble = "is not canonical";
      break;
    case WalkEnd::unreadable:
      shown.trouble = std::string("is not mapped: its ") + std::string(level_name(walk.level)) +
                      " lies outside memory";
      break;
    case WalkEnd::reserved:
      shown.trouble = std::string("is not mapped: its ") + std::string(level_name(walk.level)) +
                      " entry has a reserved bit set";
      break;
  }
  return shown;
}

}  // namespace chronovisor
