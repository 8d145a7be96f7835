#include "vmm/boot/multiboot.h"

#include <algorithm>
#include <optional>

#include "vmm/boot/elf.h"
#include "vmm/boot/entry_state.h"
#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

constexpr std::uint32_t kHeaderMagic = 0x1badb002;
constexpr std::uint32_t kHeader2Magic = 0xe85250d6;
constexpr std::uint32_t kLoaderMagic = 0x2badb002;
constexpr std::uint64_t kHeaderSearchEnd = 8192;
constexpr std::uint64_t kHeader2SearchEnd = 32768;
constexpr std::uint32_t kAddressFields = 1U << 16;
/// Bits 0 to 15 that must be understood: page-aligned modules, memory
/// information and video mode are.
constexpr std::uint32_t kUnknownRequirements = 0xfff8;

constexpr std::size_t kMaximumModules = 1024;
constexpr std::uint64_t kOneMiB = 0x100000;

// Flags of the information structure: which of its fields are valid.
constexpr std::uint32_t kInfoMemory = 1U << 0;
constexpr std::uint32_t kInfoCommandLine = 1U << 2;
constexpr std::uint32_t kInfoModules = 1U << 3;
constexpr std::uint32_t kInfoMemoryMap = 1U << 6;
constexpr std::uint32_t kInfoLoaderName = 1U << 9;

struct Header {
  std::uint64_t offset = 0;
  std::uint32_t flags = 0;
};

/// The header's place, or nothing.
std::optional<Header> find_header(const Image& image) {
  for (std::uint64_t at = 0; at + 12 <= kHeaderSearchEnd && image.contains(at, 12); at += 4) {
    if (image.peek32(at) != kHeaderMagic) continue;
    const std::uint32_t flags = *image.peek32(at + 4);
    if (kHeaderMagic + flags + *image.peek32(at + 8) == 0) return Header{at, flags};
  }
  return std::nullopt;
}

[[noreturn]] void fail_without_header(const Image& image) {
  for (std::uint64_t at = 0; at + 12 <= kHeaderSearchEnd && image.contains(at, 12); at += 4) {
    if (image.peek32(at) == kHeaderMagic) {
      image.fail("the multiboot header at " + hex_text(at) +
                 " has a wrong checksum; magic, flags and checksum must add up to 0");
    }
  }
  for (std::uint64_t at = 0; at < kHeader2SearchEnd && image.contains(at, 16); at += 8) {
    if (image.peek32(at) == kHeader2Magic) {
      image.fail("has a multiboot 2 header (at " + hex_text(at) +
                 "), which is not supported; build it with a multiboot 1 header");
    }
  }
  const auto mistake = is_elf(image) ? std::nullopt : describe_mistaken_file(image);
  if (mistake) image.fail(*mistake);
  image.fail(
      "has no multiboot header (0x1badb002) in its first 8192 bytes; link the header's "
      "section first, or give a Linux kernel with --kernel");
}

/// Loads by the address fields of the header.
/// @return the physical entry
std::uint64_t load_by_address_fields(MemoryPlan& plan, const Image& image, const Header& header) {
  const auto field = [&](std::uint64_t index) -> std::uint64_t {
    return image.at<std::uint32_t>(header.offset + 12 + 4 * index,
                                   "the multiboot header's address fields");
  };
  const std::uint64_t header_address = field(0);
  const std::uint64_t load_address = field(1);
  std::uint64_t load_end = field(2);
  const std::uint64_t bss_end = field(3);
  const std::uint64_t entry = field(4);
  const std::string where = " (multiboot header at " + hex_text(header.offset) + "); correct it";
  if (load_address > header_address || header_address - load_address > header.offset) {
    image.fail("load_addr " + hex_text(load_address) + " and header_addr " +
               hex_text(header_address) + " put the start of the image outside the file" + where);
  }
  const std::uint64_t file_offset = header.offset - (header_address - load_address);
  if (load_end == 0) load_end = load_address + (image.size() - file_offset);
  if (load_end < load_address || (bss_end != 0 && bss_end < load_end)) {
    image.fail("load_addr " + hex_text(load_address) + ", load_end_addr " + hex_text(load_end) +
               " and bss_end_addr " + hex_text(bss_end) + " are not in ascending order" + where);
  }
  const ByteView bytes = image.slice(file_offset, load_end - load_address, "the image to load");
  const std::uint64_t end = std::max(load_end, bss_end);
  if (entry < load_address || entry >= end) {
    image.fail("entry_addr " + hex_text(entry) + " is not in the loaded image" + where);
  }
  plan.claim(load_address, end - load_address, "the kernel");
  plan.write(load_address, bytes);
  plan.clear(load_end, end - load_end);
  return entry;
}

/// @return the physical entry
std::uint64_t load_by_elf(MemoryPlan& plan, const Image& image) {
  if (!is_elf(image)) {
    image.fail(
        "is no ELF file, and its multiboot header has no address fields (flag 16); link it "
        "as ELF or add them");
  }
  const ElfFile elf = parse_elf(image);
  const std::uint64_t entry = physical_entry(image, elf);
  load_elf_segments(plan, image, elf);
  if (entry > 0xffffffff) {
    image.fail("the entry point " + hex_text(entry) + " is past 4 GiB; link it below");
  }
  return entry;
}

std::uint32_t place_text(MemoryPlan& plan, const std::string& text, std::string_view what) {
  const std::string terminated = text + '\0';
  return static_cast<std::uint32_t>(plan.place_structure(as_bytes(terminated), what));
}

/// @return the address of the module list
std::uint32_t place_modules(MemoryPlan& plan, const Image& image, const BootRequest& request) {
  if (request.modules.size() > kMaximumModules) {
    image.fail("has " + std::to_string(request.modules.size()) +
               " modules, at most 1024 can be given; give fewer");
  }
  Bytes texts;
  std::vector<std::uint64_t> text_offsets;
  for (const BootModule& module : request.modules) {
    text_offsets.push_back(texts.size());
    const ByteView text = as_bytes(module.arguments);
    texts.insert(texts.end(), text.begin(), text.end());
    texts.push_back(0);
  }
  const std::uint64_t texts_at = plan.place_structure(texts, "the modules' strings");

  const std::uint64_t behind_kernel = std::max(kOneMiB, plan.highest_taken_end());
  ByteWriter list;
  for (std::size_t i = 0; i < request.modules.size(); ++i) {
    const BootModule& module = request.modules[i];
    std::uint64_t address = (behind_kernel + kPageSize - 1) & kPageMask;
    if (!module.bytes.empty()) {
      address = plan.allocate_lowest(module.bytes.size(), kPageSize, behind_kernel, Ram::kHighBase,
                                     "the module " + module.name);
      plan.write(address, module.bytes);
    }
    list.integer(static_cast<std::uint32_t>(address));
    list.integer(static_cast<std::uint32_t>(address + module.bytes.size()));
    list.integer(static_cast<std::uint32_t>(texts_at + text_offsets[i]));
    list.integer(std::uint32_t{0});
  }
  return static_cast<std::uint32_t>(plan.place_structure(list.data(), "the module list"));
}

Bytes encode_memory_map(const MemoryPlan& plan) {
  ByteWriter map;
  for (const E820Entry& entry : plan.map()) {
    map.integer(std::uint32_t{20});  // of the entry, without this field
    map.integer(entry.base);
    map.integer(entry.size);
    map.integer(entry.type);
  }
  return map.take();
}

/// @return the address of the information structure
std::uint64_t place_information(MemoryPlan& plan, const Image& image, const BootRequest& request) {
  std::uint32_t flags = kInfoMemory | kInfoCommandLine | kInfoMemoryMap | kInfoLoaderName;
  const std::uint32_t command_line = place_text(plan, request.command_line, "the command line");
  const std::uint32_t loader_name = place_text(plan, "Chronovisor", "the loader's name");
  std::uint32_t modules = 0;
  if (!request.modules.empty()) {
    modules = place_modules(plan, image, request);
    flags |= kInfoModules;
  }
  const Bytes map = encode_memory_map(plan);
  const std::uint64_t map_at = plan.place_structure(map, "the memory map");

  ByteWriter info;
  const auto put = [&](std::uint64_t value) { info.integer(static_cast<std::uint32_t>(value)); };
  const auto skip_to = [&](std::size_t offset) {
    while (info.size() < offset) info.integer(std::uint8_t{0});
  };
  put(flags);
  put(platform::kEbdaBegin / 1024);              // mem_lower, KiB
  put((plan.ram().low_end() - kOneMiB) / 1024);  // mem_upper, KiB
  put(0);                                        // boot_device: none
  put(command_line);
  put(request.modules.size());
  put(modules);
  skip_to(44);  // syms
  put(map.size());
  put(map_at);
  skip_to(64);  // drives, config_table
  put(loader_name);
  skip_to(116);  // apm, vbe, framebuffer
  return plan.place_structure(info.data(), "the multiboot information");
}

}  // namespace

bool has_multiboot_header(const Image& image) { return find_header(image).has_value(); }

BootCpuState load_multiboot(MemoryPlan& plan, const Image& image, const BootRequest& request) {
  if (image.size() == 0) image.fail("is empty; give a multiboot kernel");
  const auto header = find_header(image);
  if (!header) fail_without_header(image);
  if ((header->flags & kUnknownRequirements) != 0) {
    image.fail("the multiboot header at " + hex_text(header->offset) + " demands features " +
               hex_text(header->flags & kUnknownRequirements) +
               " (flags) that multiboot 1 does not have; build it without");
  }
  check_text(image, request.command_line, "the command line");
  for (const BootModule& module : request.modules) {
    check_text(image, module.arguments, "the string of module " + module.name);
  }
  const std::uint64_t entry = (header->flags & kAddressFields) != 0
                                  ? load_by_address_fields(plan, image, *header)
                                  : load_by_elf(plan, image);
  BootCpuState state = flat_protected_state(plan);
  state.rip = entry;
  state.gpr[kBootRax] = kLoaderMagic;
  state.gpr[kBootRbx] = place_information(plan, image, request);
  return state;
}

}  // namespace chronovisor
