#include "vmm/boot/flat.h"

#include <array>

#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

constexpr std::uint64_t kBootSectorAddress = 0x7c00;
constexpr std::uint64_t kStackReserve = 0x400;
constexpr std::uint64_t kRealModeEnd = 0x100000;
constexpr std::uint64_t kFirstFreeByte = 0x500;  // past the vectors and the BIOS data area
constexpr std::uint8_t kFirstFixedDisk = 0x80;

BootSegment real_segment(std::uint16_t selector, std::uint8_t type) {
  BootSegment segment;
  segment.selector = selector;
  segment.base = std::uint64_t{selector} << 4;
  segment.limit_bytes = 0xffff;
  segment.type = type;
  segment.code_or_data = true;
  segment.present = true;
  return segment;
}

/// Where the stack goes: below the boot sector as BIOSes have it, unless the
/// image is there; then below the EBDA.
void place_stack(BootCpuState& state, std::uint64_t begin, std::uint64_t end) {
  constexpr std::uint16_t kHighStackSegment = 0x9000;
  const bool free_below_boot_sector =
      end <= kBootSectorAddress - kStackReserve || begin >= kBootSectorAddress;
  const std::uint16_t segment = free_below_boot_sector ? 0 : kHighStackSegment;
  state.ss = real_segment(segment, 0x3);
  state.gpr[kBootRsp] = free_below_boot_sector
                            ? kBootSectorAddress
                            : platform::kEbdaBegin - (std::uint64_t{kHighStackSegment} << 4);
}

void write_interrupt_vectors(MemoryPlan& plan) {
  constexpr std::uint8_t kIret = 0xcf;
  constexpr std::uint16_t kFirmwareSegment = 0xf000;
  ByteWriter vectors;
  for (int i = 0; i < 256; ++i) {
    vectors.integer(static_cast<std::uint16_t>(platform::kDummyInterruptHandler -
                                               (std::uint32_t{kFirmwareSegment} << 4)));
    vectors.integer(kFirmwareSegment);
  }
  plan.write(0, vectors.data());
  plan.write(platform::kDummyInterruptHandler, std::array<std::uint8_t, 1>{kIret});
}

}  // namespace

BootCpuState load_flat(MemoryPlan& plan, const Image& image, std::uint64_t address) {
  if (image.size() == 0) image.fail("is empty; give a file with code in it");
  if (address >= kRealModeEnd) {
    image.fail("cannot be entered in real mode at " + hex_text(address) +
               ", past 1 MiB; give an address from 0x500 to 0x9fbff (BIN@ADDR)");
  }
  const std::uint64_t room = address < platform::kEbdaBegin ? platform::kEbdaBegin - address : 0;
  if (address < kFirstFreeByte || image.size() > room) {
    image.fail(std::to_string(image.size()) + " bytes at " + hex_text(address) +
               " do not lie within 0x500 to 0x9fbff, the memory free for a flat binary; give "
               "another address (BIN@ADDR) or a smaller file");
  }
  write_interrupt_vectors(plan);
  plan.write(address, image.bytes());

  BootCpuState state;
  state.mode = BootMode::real16;
  const bool low = address < 0x10000;
  state.cs = real_segment(low ? std::uint16_t{0} : static_cast<std::uint16_t>(address >> 4), 0xb);
  state.rip = low ? address : address & 0xf;
  state.ds = state.es = state.fs = state.gs = real_segment(0, 0x3);
  place_stack(state, address, address + image.size());
  state.gpr[kBootRdx] = kFirstFixedDisk;
  state.cr0 = 0x10;  // ET, which is fixed
  state.idt = {0, 0x3ff};
  state.gdt = {0, 0xffff};
  state.ldtr.limit_bytes = 0xffff;
  state.ldtr.type = 0x2;
  state.ldtr.present = true;
  state.tr.limit_bytes = 0xffff;
  state.tr.type = 0xb;
  state.tr.present = true;
  return state;
}

}  // namespace chronovisor
