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
constexpr std::uint64_t kModuleMinimum = 0x100000;

constexpr std::size_t kMaximumModules = 1024;

/// The modules to hand over: those asked for, or the initrd as the only one.
std::vector<BootModule> modules_of(const Image& image, const BootRequest& request) {
  if (request.modules.size() > kMaximumModules) {
    image.fail("has " + std::to_string(request.modules.size()) +
               " modules, at most 1024 can be given; give fewer");
  }
  if (request.initrd.empty()) return request.modules;
  return {{"the initrd " + request.initrd_name, request.initrd, ""}};
}

/// @return the address of the module list
std::uint64_t place_modules(MemoryPlan& plan, const std::vector<BootModule>& modules) {
  ByteWriter list;
  for (const BootModule& module : modules) {
    std::uint64_t address = kModuleMinimum;
    if (!module.bytes.empty()) {
      address = plan.allocate_highest(module.bytes.size(), kPageSize, kModuleMinimum,
                                      Ram::kHighBase, module.name);
      plan.write(address, module.bytes);
    }
    const std::string text = module.arguments + '\0';
    list.integer(address);
    list.integer(std::uint64_t{module.bytes.size()});
    list.integer(module.arguments.empty()
                     ? std::uint64_t{0}
                     : plan.place_structure(as_bytes(text), "the line of module " + module.name));
    list.integer(std::uint64_t{0});
  }
  return plan.place_structure(list.data(), "the PVH module list");
}

std::uint64_t place_memory_map(MemoryPlan& plan) {
  ByteWriter map;
  for (const E820Entry& entry : plan.map()) {
    map.integer(entry.base);
    map.integer(entry.size);
    map.integer(entry.type);
    map.integer(std::uint32_t{0});
  }
  return plan.place_structure(map.data(), "the PVH memory map");
}

}  // namespace

BootCpuState load_pvh(MemoryPlan& plan, const Image& image, const BootRequest& request) {
  const ElfFile elf = parse_elf(image);
  const auto entry = find_elf_note(image, elf, "Xen", kNotePhysicalEntry32);
  if (!entry && !request.modules.empty()) {
    image.fail(
        "has no PVH entry note, and modules go with a multiboot kernel or a PVH kernel only; give "
        "an initrd with --initrd");
  }
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
  check_text(image, request.command_line, "the command line");
  const std::vector<BootModule> modules = modules_of(image, request);
  for (const BootModule& module : modules) {
    check_text(image, module.arguments, "the line of module " + module.name);
  }
  load_elf_segments(plan, image, elf);

  BootCpuState state = flat_protected_state(plan);
  const std::string text = request.command_line + '\0';
  ByteWriter info;
  info.integer(kStartInfoMagic);
  info.integer(kStartInfoVersion);
  info.integer(std::uint32_t{0});  // flags
  info.integer(static_cast<std::uint32_t>(modules.size()));
  info.integer(modules.empty() ? std::uint64_t{0} : place_modules(plan, modules));
  info.integer(plan.place_structure(as_bytes(text), "the command line"));
  info.integer(std::uint64_t{platform::kRsdpAddress});
  info.integer(place_memory_map(plan));
  info.integer(static_cast<std::uint32_t>(plan.map().size()));
  info.integer(std::uint32_t{0});

  state.rip = *entry;
  state.gpr[kBootRbx] = plan.place_structure(info.data(), "the PVH start info");
  return state;
}

}  // namespace chronovisor
