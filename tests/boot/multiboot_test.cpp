#include <doctest/doctest.h>

#include "tests/boot/boot_images.h"

using namespace chronovisor;
using namespace chronovisor::boot_test;

namespace {

ElfOptions multiboot_options(bool wide = false) {
  ElfOptions options;
  options.is_64_bit = wide;
  options.physical = kMiB;
  options.entry = kMiB + 0x10;
  options.multiboot_header = true;
  options.pvh_note = false;
  return options;
}

std::string elf_failure(const ElfOptions& options) {
  const Bytes image = make_elf(options);
  return failure(request_of(BootKind::multiboot, image));
}

struct AddressFields {
  std::uint32_t header_address = 0x100020;
  std::uint32_t load_address = 0x100010;
  std::uint32_t load_end = 0x100200;
  std::uint32_t bss_end = 0x101000;
  std::uint32_t entry = 0x100040;
};

/// A raw image, its header at 0x40 with the address fields, 0x400 bytes long.
Bytes make_raw(const AddressFields& fields = {}) {
  Bytes image = pattern(0x400, 4);
  constexpr std::uint32_t kFlags = 0x10003;
  put(image, 0x40, std::uint32_t{0x1badb002});
  put(image, 0x44, kFlags);
  put(image, 0x48, 0U - (0x1badb002U + kFlags));
  put(image, 0x4c, fields.header_address);
  put(image, 0x50, fields.load_address);
  put(image, 0x54, fields.load_end);
  put(image, 0x58, fields.bss_end);
  put(image, 0x5c, fields.entry);
  return image;
}

std::string raw_failure(const AddressFields& fields) {
  const Bytes image = make_raw(fields);
  return failure(request_of(BootKind::multiboot, image));
}

}  // namespace

TEST_CASE("a multiboot ELF is entered as the specification says") {
  for (const bool wide : {false, true}) {
    CAPTURE(wide);
    const Bytes image = make_elf(multiboot_options(wide));
    Ram ram(64 * kMiB);
    const BootCpuState state = load_guest(ram, request_of(BootKind::multiboot, image));
    CHECK(state.mode == BootMode::protected32);
    CHECK(state.rip == kMiB + 0x10);
    CHECK(state.gpr[kBootRax] == 0x2badb002);
    CHECK(state.cr0 == 0x11);
    CHECK((state.rflags & 0x20200) == 0);
    CHECK(state.cs.limit_bytes == 0xffffffff);
    CHECK(peek_bytes(ram, kMiB, kElfSegmentSize) == pattern(kElfSegmentSize, 9));
  }
}

TEST_CASE("a virtual entry point is translated through its segment") {
  ElfOptions options = multiboot_options();
  options.virtual_offset = 0xc0000000;
  options.entry = 0xc0000000 + kMiB + 0x20;
  const Bytes image = make_elf(options);
  Ram ram(64 * kMiB);
  CHECK(load_guest(ram, request_of(BootKind::multiboot, image)).rip == kMiB + 0x20);
}

TEST_CASE("the multiboot information has memory, command line, modules and loader name") {
  const Bytes image = make_elf(multiboot_options());
  const Bytes first = pattern(5000, 1);
  const Bytes second = pattern(10, 2);
  BootRequest request = request_of(BootKind::multiboot, image);
  request.command_line = "kernel words";
  request.modules = {{"a.bin", first, "one two"}, {"b.bin", second, ""}, {"empty", {}, "nothing"}};
  Ram ram(64 * kMiB);
  const std::uint64_t info = load_guest(ram, request).gpr[kBootRbx];
  const auto field = [&](std::uint64_t offset) { return peek<std::uint32_t>(ram, info + offset); };

  CHECK(field(0) == 0x24d);
  CHECK(field(4) == 639);
  CHECK(field(8) == 63 * 1024);
  CHECK(peek_text(ram, field(16)) == "kernel words");
  CHECK(peek_text(ram, field(64)) == "Chronovisor");
  REQUIRE(field(20) == 3);
  const std::uint32_t list = field(24);
  const auto module = [&](std::uint32_t i, std::uint32_t offset) {
    return peek<std::uint32_t>(ram, list + 16 * i + offset);
  };
  CHECK(module(0, 0) == kMiB + 0x3000);  // the first page behind the kernel
  CHECK(module(0, 4) == module(0, 0) + 5000);
  CHECK(peek_bytes(ram, module(0, 0), 5000) == first);
  CHECK(peek_text(ram, module(0, 8)) == "one two");
  CHECK(module(1, 0) == kMiB + 0x5000);
  CHECK(peek_bytes(ram, module(1, 0), 10) == second);
  CHECK(peek_text(ram, module(1, 8)).empty());
  CHECK(module(2, 0) == module(2, 4));
  CHECK(peek_text(ram, module(2, 8)) == "nothing");

  REQUIRE(field(44) == 4 * 24);
  const std::uint32_t map = field(48);
  CHECK(peek<std::uint32_t>(ram, map) == 20);
  CHECK(peek<std::uint64_t>(ram, map + 12) == 0x9fc00);
  CHECK(peek<std::uint64_t>(ram, map + 3 * 24 + 4) == kMiB);
  CHECK(peek<std::uint64_t>(ram, map + 3 * 24 + 12) == 63 * kMiB);
  CHECK(peek<std::uint32_t>(ram, map + 3 * 24 + 20) == 1);
}

TEST_CASE("no modules: no module flag") {
  const Bytes image = make_elf(multiboot_options());
  Ram ram(64 * kMiB);
  const BootCpuState state = load_guest(ram, request_of(BootKind::multiboot, image));
  CHECK((peek<std::uint32_t>(ram, state.gpr[kBootRbx]) & 8) == 0);
}

TEST_CASE("a kernel in low memory keeps its place and the information goes around it") {
  ElfOptions options = multiboot_options();
  options.physical = 0x1000;
  options.entry = 0x1000;
  options.memory_size = 0x80000;
  const Bytes image = make_elf(options);
  Ram ram(4 * kMiB);
  const BootCpuState state = load_guest(ram, request_of(BootKind::multiboot, image));
  CHECK(state.gdt.base >= 0x81000);
  CHECK(state.gpr[kBootRbx] >= 0x81000);
}

TEST_CASE("the header's address fields load any file") {
  const Bytes image = make_raw();
  Ram ram(4 * kMiB);
  ram.write({0x100300}, pattern(64, 1));  // to be cleared as bss
  const BootCpuState state = load_guest(ram, request_of(BootKind::multiboot, image));
  CHECK(state.rip == 0x100040);
  const Bytes expected(image.begin() + 0x30, image.begin() + 0x30 + 0x1f0);
  CHECK(peek_bytes(ram, 0x100010, 0x1f0) == expected);
  CHECK(peek_bytes(ram, 0x100200, 0xe00) == Bytes(0xe00, 0));
}

TEST_CASE("load_end_addr 0 loads up to the end of the file") {
  AddressFields fields;
  fields.load_end = 0;
  fields.bss_end = 0;
  const Bytes image = make_raw(fields);
  Ram ram(4 * kMiB);
  load_guest(ram, request_of(BootKind::multiboot, image));
  CHECK(peek<std::uint8_t>(ram, 0x100010 + 0x3cf) == image.back());
}

TEST_CASE("hostile address fields are refused") {
  const auto with = [](auto set) {
    AddressFields fields;
    set(fields);
    return raw_failure(fields);
  };
  CHECK(raw_failure({}) == "");
  CHECK(contains(with([](auto& f) { f.load_address = 0x100021; }), "outside the file"));
  CHECK(contains(with([](auto& f) { f.header_address = 0xfffffff0; }), "outside the file"));
  CHECK(contains(with([](auto& f) { f.load_end = 0x100000; }), "ascending"));
  CHECK(contains(with([](auto& f) { f.load_end = 0xfffffff0, f.bss_end = 0; }), "truncated"));
  CHECK(contains(with([](auto& f) { f.bss_end = 0x100100; }), "ascending"));
  CHECK(contains(with([](auto& f) { f.bss_end = 0xfffffff0; }), "usable memory"));
  CHECK(contains(with([](auto& f) { f.bss_end = 0x10000000; }), "--memory 256M"));
  CHECK(contains(with([](auto& f) { f.entry = 0; }), "entry_addr"));
  CHECK(contains(with([](auto& f) { f.entry = 0x101000; }), "entry_addr"));
}

TEST_CASE("multiboot headers that cannot be served are refused by name") {
  ElfOptions options = multiboot_options();
  options.multiboot_flags = 0x10;
  CHECK(contains(elf_failure(options), "demands features 0x10"));
  options = multiboot_options();
  options.multiboot_header = false;
  CHECK(contains(elf_failure(options), "no multiboot header"));
  options = multiboot_options();
  options.entry = 0x5000000;
  CHECK(contains(elf_failure(options), "entry point"));

  Bytes image = make_elf(multiboot_options());
  put(image, kMultibootHeaderOffset + 8, std::uint32_t{0});
  CHECK(contains(failure(request_of(BootKind::multiboot, image)), "wrong checksum"));
  Bytes second(128, 0);
  put(second, 64, std::uint32_t{0xe85250d6});
  CHECK(contains(failure(request_of(BootKind::multiboot, second)), "multiboot 2"));
  CHECK(contains(failure(request_of(BootKind::multiboot, {})), "empty"));
  CHECK(contains(failure(request_of(BootKind::multiboot, make_bzimage())), "--kernel"));

  Bytes late(16384, 0);
  put(late, 8192, std::uint32_t{0x1badb002});
  put(late, 8200, 0U - 0x1badb002U);
  CHECK(contains(failure(request_of(BootKind::multiboot, late)), "no multiboot header"));
  Bytes bare(64, 0);
  put(bare, 0, std::uint32_t{0x1badb002});
  put(bare, 8, 0U - 0x1badb002U);
  CHECK(contains(failure(request_of(BootKind::multiboot, bare)), "no ELF file"));
}

TEST_CASE("multiboot images that are truncated anywhere are refused") {
  for (const Bytes& image : {make_elf(multiboot_options()), make_raw()}) {
    const std::size_t needed = image.size() < 0x1000 ? 0x30 + 0x1f0 : image.size();
    for (std::size_t size = 0; size < needed; size += size < 0x340 ? 1 : 67) {
      const Bytes cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size));
      INFO(size);
      REQUIRE(contains(failure(request_of(BootKind::multiboot, cut), 4 * kMiB), "image"));
    }
  }
}

TEST_CASE("modules and words that do not fit are refused") {
  const Bytes image = make_elf(multiboot_options());
  const Bytes large(4 * kMiB, 1);
  BootRequest request = request_of(BootKind::multiboot, image);
  request.modules = {{"big.bin", large, ""}};
  CHECK(contains(failure(request, 4 * kMiB), "the module big.bin"));
  CHECK(contains(failure(request, 4 * kMiB), "--memory 6M"));
  request.modules.assign(1025, BootModule{"m", {}, ""});
  CHECK(contains(failure(request), "1025 modules"));
  request.modules.assign(100, BootModule{"m", {}, std::string(65536, 'x')});
  CHECK(contains(failure(request), "the modules' strings"));
  request.modules.assign(1, BootModule{"m", {}, std::string(65537, 'x')});
  CHECK(contains(failure(request), "65537 bytes"));
  request.modules.clear();
  request.command_line = std::string(65537, 'x');
  CHECK(contains(failure(request), "65537 bytes"));
}

TEST_CASE("what a kind of boot cannot hand over is refused") {
  const Bytes image = make_elf(multiboot_options());
  const Bytes extra(16, 1);
  BootRequest request = request_of(BootKind::multiboot, image);
  request.initrd = extra;
  CHECK(contains(failure(request), "--module"));
  request = request_of(BootKind::linux_kernel, image);
  request.modules = {{"m", extra, ""}};
  CHECK(contains(failure(request), "--initrd"));
  request = request_of(BootKind::flat, image);
  request.command_line = std::string(1, 'x');
  CHECK(contains(failure(request), "--append"));
}
