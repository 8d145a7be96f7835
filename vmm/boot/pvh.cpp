#include "vmm/boot/pvh.h"

#include "vmm/boot/elf.h"
#include "vmm/boot/entry_state.h"
#include "vmm/boot/multiboot.h"
#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

constexpr std::uint32_t kNotePhysicalEntry32 = 18;
constexpr std::uint32_t kStartInfoMagic = 0x336ec578;
constexpr std::uint32_t kStartInfoVersion = 1;
constexpr std::uint64_t kInitrdMinimum = 0x100000;
/// A command line longer than any kernel's is refused before it is placed.
constexpr std::size_t kCommandLineMaximum = 0x10000;

/// @return the address of the module list, of one entry: the initrd
std::uint64_t place_initrd(MemoryPlan& plan, const BootRequest& request) {
  const std::uint64_t address =
      plan.allocate_highest(request.initrd.size(), kPageSize, kInitrdMinimum, Ram::kHighBase,
                            "the initrd " + request.initrd_name);
  plan.write(address, request.initrd);
  ByteWriter list;
  list.integer(address);
  list.integer(std::uint64_t{request.initrd.size()});
  list.integer(std::uint64_t{0});  // no command line of its own
  list.integer(std::uint64_t{0});
  return plan.place_low(list.data(), "the PVH module list");
}

std::uint64_t place_memory_map(MemoryPlan& plan) {
  ByteWriter map;
  for (const E820Entry& entry : plan.map()) {
    map.integer(entry.base);
    map.integer(entry.size);
    map.integer(entry.type);
    map.integer(std::uint32_t{0});
  }
  return plan.place_low(map.data(), "the PVH memory map");
}

}  // namespace

BootCpuState load_pvh(MemoryPlan& plan, const Image& image, const BootRequest& request) {
  const ElfFile elf = parse_elf(image);
  const auto entry = find_elf_note(image, elf, "Xen", kNotePhysicalEntry32);
  if (!entry) {
    image.fail(has_multiboot_header(image)
                   ? "has a multiboot header but no PVH entry note; give it with --multiboot"
                   : "has no PVH entry note (XEN_ELFNOTE_PHYS32_ENTRY); give the bzImage of the "
                     "same kernel (arch/x86/boot/bzImage, /boot/vmlinuz-*), or build it with "
                     "CONFIG_PVH=y");
  }
  if (*entry > 0xffffffff || !is_loaded_at(elf, *entry)) {
    image.fail("the PVH entry point " + hex_text(*entry) +
               " is in no loaded segment below 4 GiB; the file is corrupt: fetch or build it "
               "again");
  }
  if (request.command_line.size() > kCommandLineMaximum) {
    image.fail("the command line has " + std::to_string(request.command_line.size()) +
               " bytes, at most 65536 can be given; shorten it");
  }
  load_elf_segments(plan, image, elf);

  BootCpuState state = flat_protected_state(plan);
  const bool has_initrd = !request.initrd.empty();
  const std::string text = request.command_line + '\0';
  ByteWriter info;
  info.integer(kStartInfoMagic);
  info.integer(kStartInfoVersion);
  info.integer(std::uint32_t{0});  // flags
  info.integer(std::uint32_t{has_initrd ? 1U : 0U});
  info.integer(has_initrd ? place_initrd(plan, request) : std::uint64_t{0});
  info.integer(plan.place_low(as_bytes(text), "the command line"));
  info.integer(std::uint64_t{platform::kRsdpAddress});
  info.integer(place_memory_map(plan));
  info.integer(static_cast<std::uint32_t>(plan.map().size()));
  info.integer(std::uint32_t{0});

  state.rip = *entry;
  state.gpr[kBootRbx] = plan.place_low(info.data(), "the PVH start info");
  return state;
}

}  // namespace chronovisor
