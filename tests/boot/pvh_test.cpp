#include <doctest/doctest.h>

#include "tests/boot/boot_images.h"
#include "vmm/boot/platform.h"

using namespace chronovisor;
using namespace chronovisor::boot_test;

namespace {

std::string elf_failure(const ElfOptions& options) {
  const Bytes image = make_elf(options);
  return failure(request_of(BootKind::linux_kernel, image));
}

template <class T>
std::string broken(std::size_t offset, T value, ElfOptions options = {}) {
  Bytes image = make_elf(options);
  put(image, offset, value);
  return failure(request_of(BootKind::linux_kernel, image));
}

}  // namespace

TEST_CASE("an ELF kernel is entered by its PVH note in flat protected mode") {
  for (const bool wide : {true, false}) {
    CAPTURE(wide);
    ElfOptions options;
    options.is_64_bit = wide;
    if (wide) options.virtual_offset = 0xffffffff80000000;
    const Bytes image = make_elf(options);
    Ram ram(64 * kMiB);
    const BootCpuState state = load_guest(ram, request_of(BootKind::linux_kernel, image));
    CHECK(state.mode == BootMode::protected32);
    CHECK(state.rip == options.pvh_entry);
    CHECK(state.cr0 == 0x11);
    CHECK(state.cr3 == 0);
    CHECK(state.cr4 == 0);
    CHECK(state.efer == 0);
    CHECK(state.rflags == 2);
    for (const BootSegment& data : {state.ds, state.es, state.ss}) {
      CHECK(data.base == 0);
      CHECK(data.limit_bytes == 0xffffffff);
      CHECK(data.type == 3);
      CHECK(data.default_big);
    }
    CHECK(state.cs.type == 0xb);
    CHECK(state.cs.default_big);
    CHECK_FALSE(state.cs.long_code);
    CHECK(state.tr.limit_bytes == 0x67);
    CHECK(peek<std::uint64_t>(ram, state.gdt.base + state.cs.selector) == 0x00cf9b000000ffff);
    CHECK(peek_bytes(ram, options.physical, kElfSegmentSize) == pattern(kElfSegmentSize, 9));
    CHECK(peek<std::uint64_t>(ram, options.physical + kElfSegmentSize) == 0);
  }
}

TEST_CASE("the PVH start info has command line, initrd, memory map and RSDP") {
  const Bytes image = make_elf();
  const Bytes initrd = pattern(5001, 8);
  BootRequest request = request_of(BootKind::linux_kernel, image);
  request.command_line = "quiet";
  request.initrd = initrd;
  Ram ram(64 * kMiB);
  const BootCpuState state = load_guest(ram, request);
  const std::uint64_t info = state.gpr[kBootRbx];
  CHECK(peek<std::uint32_t>(ram, info) == 0x336ec578);
  CHECK(peek<std::uint32_t>(ram, info + 4) == 1);
  CHECK(peek<std::uint32_t>(ram, info + 12) == 1);
  const auto modules = peek<std::uint64_t>(ram, info + 16);
  CHECK(peek_text(ram, peek<std::uint64_t>(ram, info + 24)) == "quiet");
  CHECK(peek<std::uint64_t>(ram, info + 32) == platform::kRsdpAddress);
  const auto map = peek<std::uint64_t>(ram, info + 40);
  REQUIRE(peek<std::uint32_t>(ram, info + 48) == 4);
  CHECK(peek<std::uint64_t>(ram, map + 3 * 24) == kMiB);
  CHECK(peek<std::uint64_t>(ram, map + 3 * 24 + 8) == 63 * kMiB);
  CHECK(peek<std::uint32_t>(ram, map + 3 * 24 + 16) == 1);
  CHECK(peek<std::uint32_t>(ram, map + 1 * 24 + 16) == 2);
  const auto start = peek<std::uint64_t>(ram, modules);
  CHECK(peek<std::uint64_t>(ram, modules + 8) == 5001);
  CHECK(start == 64 * kMiB - 8192);
  CHECK(peek_bytes(ram, start, 5001) == initrd);
}

TEST_CASE("an ELF kernel without a PVH note is refused with what to use instead") {
  ElfOptions options;
  options.pvh_note = false;
  CHECK(contains(elf_failure(options), "bzImage"));
  CHECK(contains(elf_failure(options), "CONFIG_PVH"));
  options.multiboot_header = true;
  CHECK(contains(elf_failure(options), "--multiboot"));
}

TEST_CASE("an ELF kernel that does not fit says how much memory it needs") {
  ElfOptions options;
  options.memory_size = 100 * kMiB;
  CHECK(contains(elf_failure(options), "--memory 116M"));
}

TEST_CASE("the page of ELF headers that ld puts below 1 MiB is left out") {
  Bytes image = make_elf();
  put(image, 56, std::uint16_t{3});
  put_program_header(image, true, 2, 1, 0, 0xff000, 0xff000, 64, 64);
  CHECK(failure(request_of(BootKind::linux_kernel, image)) == "");
  put_program_header(image, true, 2, 1, 0x1000, 0xff000, 0xff000, 64, 64);
  CHECK(contains(failure(request_of(BootKind::linux_kernel, image)), "usable memory"));
}

TEST_CASE("an ELF kernel that is truncated anywhere is refused") {
  const Bytes image = make_elf();
  for (std::size_t size = 0; size < image.size(); size += size < 0x240 ? 1 : 61) {
    const Bytes cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size));
    INFO(size);
    REQUIRE(contains(failure(request_of(BootKind::linux_kernel, cut), 20 * kMiB), "image"));
  }
}

TEST_CASE("hostile ELF headers are refused by name") {
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  constexpr std::size_t kLoad = 64;
  CHECK(contains(broken(4, std::uint8_t{3}), "ELF class"));
  CHECK(contains(broken(5, std::uint8_t{2}), "big-endian"));
  CHECK(contains(broken(16, std::uint16_t{1}), "object file"));
  CHECK(contains(broken(16, std::uint16_t{4}), "core dump"));
  CHECK(contains(broken(16, std::uint16_t{9}), "e_type"));
  CHECK(contains(broken(18, std::uint16_t{183}), "another processor"));
  CHECK(contains(broken(32, kHuge), "program header table"));
  CHECK(contains(broken(54, std::uint16_t{55}), "e_phentsize"));
  CHECK(contains(broken(54, std::uint16_t{0xffff}), "program header table"));
  CHECK(contains(broken(56, std::uint16_t{0}), "no program headers"));
  CHECK(contains(broken(56, std::uint16_t{0xffff}), "program header table"));
  CHECK(contains(broken(kLoad, std::uint32_t{6}), "no segment to load"));
  CHECK(contains(broken(kLoad + 8, kHuge), "segment 0"));
  CHECK(contains(broken(kLoad + 24, kHuge - 0x1000), "wraps"));
  CHECK(contains(broken(kLoad + 24, std::uint64_t{0x1000000000}), "PVH entry point"));
  CHECK(contains(broken(kLoad + 24, std::uint64_t{0}), "PVH entry point"));
  CHECK(contains(broken(kLoad + 24, std::uint64_t{0x9f000}), "PVH entry point"));
  CHECK(contains(broken(kLoad + 32, kHuge), "segment 0"));
  CHECK(contains(broken(kLoad + 32, std::uint64_t{0}), "debug information"));
  CHECK(contains(broken(kLoad + 40, std::uint64_t{1}), "in memory"));
  CHECK(contains(broken(kLoad + 40, kHuge), "wraps"));
  CHECK(contains(broken(kElfNoteOffset + 36, std::uint32_t{0}), "PVH entry point"));
  CHECK(contains(broken(kElfNoteOffset + 20, std::uint32_t{0xffffffff}), "no PVH entry note"));
  CHECK(contains(broken(kElfNoteOffset + 24, std::uint32_t{0xffffffff}), "no PVH entry note"));
}

TEST_CASE("segments that overlap each other are refused") {
  Bytes image = make_elf();
  put(image, 56, std::uint16_t{3});
  put_program_header(image, true, 2, 1, 0x1000, 0x1001000, 0x1001000, 16, 16);
  CHECK(contains(failure(request_of(BootKind::linux_kernel, image)), "overlaps"));
}

TEST_CASE("segments in page 0 or the EBDA are refused") {
  for (const std::uint64_t physical : {0x0ULL, 0x9e000ULL, 0xa0000ULL, 0xfe000ULL}) {
    ElfOptions options;
    options.physical = physical;
    options.pvh_entry = static_cast<std::uint32_t>(physical);
    CAPTURE(physical);
    CHECK(contains(elf_failure(options), "a segment of the kernel takes"));
  }
}
