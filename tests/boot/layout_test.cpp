// Where loaders put what is theirs, and what PVH kernels are handed.
#include <doctest/doctest.h>

#include "tests/boot/boot_images.h"

using namespace chronovisor;
using namespace chronovisor::boot_test;

namespace {

ElfOptions multiboot_at(std::uint64_t physical, std::uint64_t memory_size) {
  ElfOptions options;
  options.physical = physical;
  options.entry = physical + 0x10;
  options.memory_size = memory_size;
  options.multiboot_header = true;
  options.pvh_note = false;
  return options;
}

bool all_zero(const Ram& ram, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t at = begin; at < end; at += 8) {
    if (peek<std::uint64_t>(ram, at) != 0) return false;
  }
  return true;
}

/// Pads notes as `name_pad` (header and name) and `note_pad` (whole notes) say.
void put_note(Bytes& notes, std::string_view owner, std::uint32_t type, std::uint64_t value,
              std::uint32_t value_size, std::size_t name_pad, std::size_t note_pad) {
  const auto pad = [&](std::size_t multiple) {
    while (notes.size() % multiple != 0) notes.push_back(0);
  };
  const std::size_t at = notes.size();
  put(notes, at, static_cast<std::uint32_t>(owner.size() + 1));
  put(notes, at + 4, value_size);
  put(notes, at + 8, type);
  put_text(notes, at + 12, owner);
  notes.push_back(0);
  pad(name_pad);
  for (std::uint32_t n = 0; n < value_size; ++n) {
    notes.push_back(n < 8 ? static_cast<std::uint8_t>(value >> (8 * n)) : 0);
  }
  pad(note_pad);
}

constexpr std::size_t kSecondNoteHeader = 64 + 56;

/// A PVH kernel whose notes are `notes`, in a segment of `alignment`.
Bytes with_notes(const Bytes& notes, std::uint64_t alignment) {
  Bytes image = make_elf();
  for (std::size_t n = 0; n < notes.size(); ++n) image[kElfNoteOffset + n] = notes[n];
  put_program_header(image, true, 1, 4, kElfNoteOffset, 0, 0, notes.size(), notes.size());
  put(image, kSecondNoteHeader + 48, alignment);
  return image;
}

std::uint64_t pvh_entry_of(const Bytes& image) {
  Ram ram(64 * kMiB);
  return load_guest(ram, request_of(BootKind::linux_kernel, image)).rip;
}

}  // namespace

TEST_CASE("boot structures begin at 0x9000, and nothing of the loader's lies below") {
  const Bytes elf = make_elf(multiboot_at(kMiB, 0x3000));
  const Bytes pvh = make_elf();
  const Bytes bzimage = make_bzimage();
  const Bytes module = pattern(100, 5);
  for (const auto& [kind, image] :
       {std::pair{BootKind::multiboot, &elf}, std::pair{BootKind::linux_kernel, &pvh},
        std::pair{BootKind::linux_kernel, &bzimage}}) {
    BootRequest request = request_of(kind, *image);
    request.command_line = "words";
    if (image == &elf) request.modules = {{"m", module, "m text"}};
    Ram ram(64 * kMiB);
    const BootCpuState state = load_guest(ram, request);
    CHECK(state.gdt.base == 0x9000);
    CHECK(all_zero(ram, 0x500, 0x9000));
    if (image == &elf) CHECK(state.gpr[kBootRbx] >= 0x9000);
  }
}

TEST_CASE("the layout of earlier recordings can be asked for") {
  const Bytes image = make_elf(multiboot_at(kMiB, 0x3000));
  BootRequest request = request_of(BootKind::multiboot, image);
  request.layout = BootLayout::from_page_1;
  Ram ram(64 * kMiB);
  CHECK(load_guest(ram, request).gdt.base == 0x1000);
}

TEST_CASE("boot structures move out of the way of the guest's own segments") {
  struct Case {
    std::uint64_t physical, memory_size, gdt;
  };
  for (const Case& c : {Case{0x9000, 0x3000, 0xc000},     // where they would have been
                        Case{0x9000, 0x96c00, 0x1000},    // all from there on
                        Case{0x1000, 0x9ec00, 0x100000},  // all of low memory
                        Case{0x1000, 0x4000, 0x9000}}) {
    CAPTURE(c.physical);
    CAPTURE(c.memory_size);
    const Bytes image = make_elf(multiboot_at(c.physical, c.memory_size));
    BootRequest request = request_of(BootKind::multiboot, image);
    request.command_line = "words";
    Ram ram(64 * kMiB);
    const BootCpuState state = load_guest(ram, request);
    CHECK(state.gdt.base == c.gdt);
    CHECK(peek_bytes(ram, c.physical, kElfSegmentSize) == pattern(kElfSegmentSize, 9));
    CHECK(all_zero(ram, c.physical + ((kElfSegmentSize + 7) & ~std::size_t{7}),
                   c.physical + c.memory_size));
    CHECK(peek_text(ram, peek<std::uint32_t>(ram, state.gpr[kBootRbx] + 16)) == "words");
  }
}

TEST_CASE("a PVH kernel gets its modules in order, each with its line") {
  const Bytes image = make_elf();
  const Bytes first = pattern(5001, 8);
  const Bytes second = pattern(17, 3);
  BootRequest request = request_of(BootKind::linux_kernel, image);
  request.command_line = "console=com1";
  request.modules = {{"dom0", first, "root=/dev/ram0 rw"}, {"initrd", second, ""}};
  Ram ram(64 * kMiB);
  const std::uint64_t info = load_guest(ram, request).gpr[kBootRbx];
  REQUIRE(peek<std::uint32_t>(ram, info + 12) == 2);
  const auto list = peek<std::uint64_t>(ram, info + 16);
  const auto field = [&](std::uint64_t module, std::uint64_t offset) {
    return peek<std::uint64_t>(ram, list + 32 * module + offset);
  };
  CHECK(peek_bytes(ram, field(0, 0), field(0, 8)) == first);
  CHECK(peek_text(ram, field(0, 16)) == "root=/dev/ram0 rw");
  CHECK(peek_bytes(ram, field(1, 0), field(1, 8)) == second);
  CHECK(field(1, 16) == 0);
  CHECK(peek_text(ram, peek<std::uint64_t>(ram, info + 24)) == "console=com1");
}

TEST_CASE("modules of a PVH kernel are refused where they cannot be handed over") {
  const Bytes bzimage = make_bzimage();
  const Bytes pvh = make_elf();
  const Bytes module = pattern(10, 1);
  BootRequest request = request_of(BootKind::linux_kernel, bzimage);
  request.modules = {{"m", module, ""}};
  CHECK(contains(failure(request), "--initrd"));
  request = request_of(BootKind::linux_kernel, pvh);
  request.modules = {{"m", module, ""}};
  request.initrd = module;
  CHECK(contains(failure(request), "modules or an initrd"));
  request.initrd = {};
  request.modules[0].arguments = std::string(70000, 'x');
  CHECK(contains(failure(request), "65536"));
}

TEST_CASE("the PVH note is found in every form that linkers give it") {
  constexpr std::uint64_t kEntry = 0x1000100;
  for (const std::uint64_t alignment : {0, 1, 4, 8}) {
    for (const auto& [name_pad, note_pad] : {std::pair{4, 4}, std::pair{8, 8}, std::pair{4, 8}}) {
      for (const std::uint32_t size : {4U, 8U}) {
        CAPTURE(alignment);
        CAPTURE(name_pad);
        CAPTURE(note_pad);
        CAPTURE(size);
        Bytes notes;
        const auto name = static_cast<std::size_t>(name_pad);
        const auto note = static_cast<std::size_t>(note_pad);
        put_note(notes, "Linux", 0x101, 0, 1, name, note);
        put_note(notes, "GNU", 18, 0x1234, 4, name, note);
        put_note(notes, "Xen", 5, 0x11223344, 4, name, note);
        put_note(notes, "Xen", 18, 0, 12, name, note);  // not of a size to be an address
        put_note(notes, "Xen", 18, kEntry, size, name, note);
        CHECK(pvh_entry_of(with_notes(notes, alignment)) == kEntry);
      }
    }
  }
}

TEST_CASE("notes padded in two ways within one segment are found by their section") {
  Bytes notes;
  put_note(notes, "GNU", 5, 0, 12, 8, 8);  // a property note, padded to 8
  notes.resize(notes.size() + 4);          // what aligns the next section in no padding's way
  const std::size_t xen = notes.size();
  put_note(notes, "Xen", 18, 0x1000200, 4, 4, 4);
  Bytes image = with_notes(notes, 8);
  const std::size_t sections = image.size();
  put(image, 40, std::uint64_t{sections});
  put(image, 58, std::uint16_t{64});
  put(image, 60, std::uint16_t{2});
  put(image, sections + 64 + 4, std::uint32_t{7});
  put(image, sections + 64 + 24, std::uint64_t{kElfNoteOffset + xen});
  put(image, sections + 64 + 32, std::uint64_t{notes.size() - xen});
  put(image, sections + 64 + 48, std::uint64_t{4});
  put(image, sections + 127, std::uint8_t{0});
  CHECK(pvh_entry_of(image) == 0x1000200);
}
