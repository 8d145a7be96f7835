#include <asm/bootparam.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "tests/boot/boot_images.h"
#include "vmm/boot/platform.h"

using namespace chronovisor;
using namespace chronovisor::boot_test;

namespace {

// The kernel's own description of the zero page, as another opinion on offsets.
boot_params zero_page(const Ram& ram, const BootCpuState& state) {
  boot_params page{};
  const Bytes raw = peek_bytes(ram, state.gpr[kBootRsi], sizeof page);
  std::memcpy(&page, raw.data(), sizeof page);
  return page;
}

/// What the protocol asks for at either entry point: the flags, flat segments, and a
/// GDT that says the same.
void check_flat_segments(const Ram& ram, const BootCpuState& state, std::uint64_t code_descriptor) {
  CHECK(state.rflags == 2);
  CHECK(state.cs.selector == 0x10);
  CHECK(state.ds.selector == 0x18);
  CHECK(state.es == state.ds);
  CHECK(state.ss == state.ds);
  CHECK(state.tr.type == 0xb);
  CHECK(peek<std::uint64_t>(ram, state.gdt.base + 0x10) == code_descriptor);
  CHECK(peek<std::uint64_t>(ram, state.gdt.base + 0x18) == 0x00cf93000000ffff);
  CHECK(state.gdt.limit_bytes == 0x2f);
}

bool is_free_of_overlap(std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges) {
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i - 1].first + ranges[i - 1].second > ranges[i].first) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a bzImage is entered at its 64-bit entry with the state the protocol asks for") {
  const Bytes image = make_bzimage();
  Ram ram(64 * kMiB);
  const BootCpuState state = load_guest(ram, request_of(BootKind::linux_kernel, image));
  CHECK(state.mode == BootMode::long64);
  CHECK(state.rip == 16 * kMiB + 0x200);
  CHECK(peek_bytes(ram, 16 * kMiB, 4096) == pattern(4096, 3));
  CHECK(state.cr0 == 0x80000011);
  CHECK(state.cr4 == 0x20);
  CHECK(state.efer == 0x500);
  CHECK(state.cs.long_code);
  CHECK_FALSE(state.cs.default_big);
  check_flat_segments(ram, state, 0x00af9b000000ffff);
}

TEST_CASE("a bzImage without a 64-bit entry is entered in protected mode without paging") {
  const auto check_entry = [](std::size_t offset, std::uint16_t value) {
    Bytes image = make_bzimage();
    put(image, offset, value);
    Ram ram(64 * kMiB);
    BootRequest request = request_of(BootKind::linux_kernel, image);
    request.command_line = "quiet";
    const BootCpuState state = load_guest(ram, request);
    CHECK(state.mode == BootMode::protected32);
    CHECK(state.rip == 16 * kMiB);
    CHECK(state.cr0 == 0x11);
    CHECK(state.cr4 == 0);
    CHECK(state.efer == 0);
    CHECK(state.cs.default_big);
    CHECK_FALSE(state.cs.long_code);
    check_flat_segments(ram, state, 0x00cf9b000000ffff);
    CHECK(state.gpr[kBootRbx] == 0);
    CHECK(state.gpr[kBootRbp] == 0);
    CHECK(state.gpr[kBootRdi] == 0);
    CHECK(peek_text(ram, zero_page(ram, state).hdr.cmd_line_ptr) == "quiet");
  };
  check_entry(0x236, 0x3e);    // an i386 kernel
  check_entry(0x206, 0x020a);  // what lies at xloadflags means nothing yet
  check_entry(0x206, 0x020b);
}

TEST_CASE("the page tables of a bzImage map 4 GiB one to one") {
  const Bytes image = make_bzimage();
  Ram ram(64 * kMiB);
  const BootCpuState state = load_guest(ram, request_of(BootKind::linux_kernel, image));
  constexpr std::uint64_t kAddressMask = 0x000ffffffffff000;
  for (std::uint64_t address = 0; address < 4ULL << 30; address += 2 * kMiB) {
    const auto pml4e = peek<std::uint64_t>(ram, state.cr3 + (address >> 39 & 511) * 8);
    const auto pdpte = peek<std::uint64_t>(ram, (pml4e & kAddressMask) + (address >> 30 & 511) * 8);
    const auto pde = peek<std::uint64_t>(ram, (pdpte & kAddressMask) + (address >> 21 & 511) * 8);
    REQUIRE((pml4e & 3) == 3);
    REQUIRE((pdpte & 0x83) == 3);
    REQUIRE((pde & 0x83) == 0x83);
    REQUIRE((pde & kAddressMask) == address);
  }
}

TEST_CASE("the zero page tells a bzImage its command line, initrd, memory and ACPI") {
  const Bytes image = make_bzimage();
  const Bytes initrd = pattern(10000, 77);
  const Bytes seed = pattern(32, 5);
  BootRequest request = request_of(BootKind::linux_kernel, image);
  request.command_line = "console=ttyS0 quiet";
  request.initrd = initrd;
  request.initrd_name = "initrd";
  request.rng_seed = seed;
  Ram ram(64 * kMiB);
  const BootCpuState state = load_guest(ram, request);
  const boot_params page = zero_page(ram, state);

  CHECK(page.hdr.type_of_loader == 0xff);
  CHECK(page.hdr.header == 0x53726448);
  CHECK(page.hdr.version == 0x020f);
  CHECK(page.sentinel == 0);
  CHECK(peek_text(ram, page.hdr.cmd_line_ptr) == "console=ttyS0 quiet");
  CHECK(page.acpi_rsdp_addr == platform::kRsdpAddress);
  CHECK(page.hdr.ramdisk_size == 10000);
  CHECK(page.hdr.ramdisk_image == 64 * kMiB - 12288);
  CHECK(peek_bytes(ram, page.hdr.ramdisk_image, 10000) == initrd);
  CHECK(page.alt_mem_k == 63 * 1024);

  REQUIRE(page.e820_entries == 4);
  CHECK(page.e820_table[0].addr == 0);
  CHECK(page.e820_table[0].size == 0x9fc00);
  CHECK(page.e820_table[0].type == 1);
  CHECK(page.e820_table[1].addr == 0x9fc00);
  CHECK(page.e820_table[1].type == 2);
  CHECK(page.e820_table[2].addr == 0xf0000);
  CHECK(page.e820_table[2].size == 0x10000);
  CHECK(page.e820_table[3].addr == kMiB);
  CHECK(page.e820_table[3].size == 63 * kMiB);

  CHECK(peek<std::uint64_t>(ram, page.hdr.setup_data) == 0);
  CHECK(peek<std::uint32_t>(ram, page.hdr.setup_data + 8) == 9);
  CHECK(peek<std::uint32_t>(ram, page.hdr.setup_data + 12) == 32);
  CHECK(peek_bytes(ram, page.hdr.setup_data + 16, 32) == seed);

  CHECK(is_free_of_overlap({{state.gdt.base, 0x30},
                            {state.cr3, 6 * 4096},
                            {state.gpr[kBootRsi], 4096},
                            {state.rsp() - 4096, 4096},
                            {page.hdr.cmd_line_ptr, 20},
                            {page.hdr.setup_data, 48}}));
}

TEST_CASE("without initrd and seed the zero page has none, whatever the file says") {
  Bytes image = make_bzimage();
  put(image, 0x218, std::uint32_t{0xdead0000});
  put(image, 0x21c, std::uint32_t{0x1000});
  put(image, 0x250, std::uint64_t{0xdead0000});
  Ram ram(64 * kMiB);
  const boot_params page =
      zero_page(ram, load_guest(ram, request_of(BootKind::linux_kernel, image)));
  CHECK(page.hdr.ramdisk_image == 0);
  CHECK(page.hdr.ramdisk_size == 0);
  CHECK(page.hdr.setup_data == 0);
}

TEST_CASE("memory above 4 GiB appears in the map and the initrd stays below 3 GiB") {
  const Bytes image = make_bzimage();
  const Bytes initrd = pattern(4096, 1);
  BootRequest request = request_of(BootKind::linux_kernel, image);
  request.initrd = initrd;
  Ram ram(4096 * kMiB);
  const boot_params page = zero_page(ram, load_guest(ram, request));
  REQUIRE(page.e820_entries == 5);
  CHECK(page.e820_table[3].size == 3071 * kMiB);
  CHECK(page.e820_table[4].addr == 4096 * kMiB);
  CHECK(page.e820_table[4].size == 1024 * kMiB);
  CHECK(page.hdr.ramdisk_image == 0x7ffff000);  // initrd_addr_max binds first
}

TEST_CASE("the command line may fill cmdline_size and not one byte more") {
  const Bytes image = make_bzimage();
  BootRequest request = request_of(BootKind::linux_kernel, image);
  request.command_line = std::string(2047, 'x');
  CHECK(failure(request) == "");
  request.command_line += 'x';
  CHECK(contains(failure(request), "image: the command line has 2048 bytes"));
  request.command_line = std::string("a\0b", 3);
  CHECK(contains(failure(request), "zero byte"));
}

TEST_CASE("too little memory for a bzImage or its initrd says how much is needed") {
  const Bytes image = make_bzimage();
  BootRequest request = request_of(BootKind::linux_kernel, image);
  CHECK(contains(failure(request, 16 * kMiB), "--memory 24M"));
  CHECK(failure(request, 24 * kMiB) == "");
  const Bytes initrd(15 * kMiB + 1, 1);  // just too long for the room below the kernel
  request.initrd = initrd;
  CHECK(contains(failure(request, 24 * kMiB), "--memory 40M"));
  CHECK(contains(failure(request, 1 * kMiB), "--memory 24M"));
  CHECK(failure(request, 40 * kMiB) == "");
}

TEST_CASE("a bzImage that is truncated anywhere is refused") {
  const Bytes image = make_bzimage();
  // The last paragraph may be cut short: syssize counts whole ones.
  for (std::size_t size = 0; size + 16 <= image.size(); ++size) {
    const Bytes cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size));
    INFO(size);
    if (size % 64 < 2 || (size > 0x1e0 && size < 0x2a0)) {
      REQUIRE(contains(failure(request_of(BootKind::linux_kernel, cut), 32 * kMiB), "image: "));
    }
  }
}

TEST_CASE("a bzImage whose last paragraph is not filled up is loaded") {
  const Bytes image = make_bzimage();
  for (const std::ptrdiff_t missing : {1, 8, 15}) {
    const Bytes cut(image.begin(), image.end() - missing);
    CHECK(failure(request_of(BootKind::linux_kernel, cut), 32 * kMiB) == "");
  }
  const Bytes cut(image.begin(), image.end() - 16);
  CHECK(contains(failure(request_of(BootKind::linux_kernel, cut), 32 * kMiB), "truncated"));
}

TEST_CASE("hostile bzImage headers are refused by name") {
  const auto broken = [](std::size_t offset, auto value) {
    Bytes image = make_bzimage();
    put(image, offset, value);
    return failure(request_of(BootKind::linux_kernel, image));
  };
  CHECK(contains(broken(0x1fe, std::uint16_t{0}), "boot flag"));
  CHECK(contains(broken(0x206, std::uint16_t{0x0209}), "protocol 2.9"));
  CHECK(contains(broken(0x211, std::uint8_t{0}), "zImage"));
  CHECK(contains(broken(0x201, std::uint8_t{0x10}), "setup header ends"));
  CHECK(contains(broken(0x1f1, std::uint8_t{255}), "truncated"));
  CHECK(contains(broken(0x1f4, std::uint32_t{0xffffffff}), "truncated"));
  CHECK(contains(broken(0x1f4, std::uint32_t{0}), "syssize"));
  CHECK(contains(broken(0x230, std::uint32_t{0}), "kernel_alignment"));
  CHECK(contains(broken(0x230, std::uint32_t{3}), "kernel_alignment"));
  CHECK(contains(broken(0x258, ~std::uint64_t{0} - 0x1fffff), "usable memory"));
  CHECK(contains(broken(0x258, std::uint64_t{0}), "usable memory"));
  CHECK(contains(broken(0x258, std::uint64_t{0x100200000}), "usable memory"));
  CHECK(contains(broken(0x260, std::uint32_t{0xffffffff}), "usable memory"));
}

TEST_CASE("files given as a Linux kernel by mistake are recognised") {
  const auto given = [](Bytes bytes) { return failure(request_of(BootKind::linux_kernel, bytes)); };
  const auto text = [&](std::string_view start) {
    Bytes bytes(2048, 0);
    put_text(bytes, 0, start);
    return given(bytes);
  };
  using namespace std::string_view_literals;
  CHECK(given({}) == "image: is empty");
  CHECK(contains(text("\x1f\x8b\x08"), "gunzip"));
  CHECK(contains(text("\xfd\x37zXZ\0"sv), "unxz"));
  CHECK(contains(text("\x28\xb5\x2f\xfd"), "unzstd"));
  CHECK(contains(text("070701"), "--initrd"));
  CHECK(contains(text("MZ"), "EFI"));
  CHECK(contains(text("hello"), "neither a bzImage"));
  Bytes multiboot(64, 0);
  put(multiboot, 0, std::uint32_t{0x1badb002});
  put(multiboot, 8, 0U - 0x1badb002U);
  CHECK(contains(given(multiboot), "--multiboot"));
}

TEST_CASE("loading is a pure function of the request") {
  const Bytes image = make_bzimage();
  const Bytes initrd = pattern(5000, 2);
  BootRequest request = request_of(BootKind::linux_kernel, image);
  request.initrd = initrd;
  request.command_line = "quiet";
  Ram first(32 * kMiB);
  Ram second(32 * kMiB);
  const BootCpuState first_state = load_guest(first, request);
  request.kernel_name = "another/name";
  request.initrd_name = "and another";
  CHECK(load_guest(second, request) == first_state);
  CHECK(std::memcmp(first.host(0), second.host(0), first.size()) == 0);
  CHECK(first.dirty_pages() == second.dirty_pages());
}
