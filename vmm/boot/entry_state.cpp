#include "vmm/boot/entry_state.h"

#include "base/bytes.h"

namespace chronovisor {

namespace {

constexpr std::uint64_t kCr0ProtectionEnable = 1ULL << 0;
constexpr std::uint64_t kCr0ExtensionType = 1ULL << 4;
constexpr std::uint64_t kCr0Paging = 1ULL << 31;
constexpr std::uint64_t kCr4PhysicalAddressExtension = 1ULL << 5;
constexpr std::uint64_t kEferLongModeEnable = 1ULL << 8;
constexpr std::uint64_t kEferLongModeActive = 1ULL << 10;

constexpr std::uint8_t kTypeDataReadWriteAccessed = 0x3;
constexpr std::uint8_t kTypeCodeExecuteReadAccessed = 0xb;
constexpr std::uint8_t kTypeBusyTss = 0xb;
constexpr std::uint8_t kTypeLdt = 0x2;
constexpr std::uint32_t kTssLimit = 0x67;

BootSegment flat_segment(std::uint16_t selector, std::uint8_t type) {
  BootSegment segment;
  segment.selector = selector;
  segment.limit_bytes = 0xffffffff;
  segment.type = type;
  segment.code_or_data = true;
  segment.present = true;
  segment.default_big = true;
  segment.granularity = true;
  return segment;
}

BootSegment task_segment() {
  BootSegment segment;
  segment.selector = kBootTaskSelector;
  segment.limit_bytes = kTssLimit;
  segment.type = kTypeBusyTss;
  segment.present = true;
  return segment;
}

/// Segments of `state` and the GDT behind them.
void set_segments(MemoryPlan& plan, BootCpuState& state, BootMode mode) {
  state.mode = mode;
  state.cs = flat_segment(kBootCodeSelector, kTypeCodeExecuteReadAccessed);
  if (mode == BootMode::long64) {
    state.cs.long_code = true;
    state.cs.default_big = false;
  }
  const BootSegment data = flat_segment(kBootDataSelector, kTypeDataReadWriteAccessed);
  state.ds = state.es = state.ss = state.fs = state.gs = data;
  state.tr = task_segment();
  state.ldtr.type = kTypeLdt;

  ByteWriter gdt;
  gdt.integer(std::uint64_t{0});
  gdt.integer(std::uint64_t{0});
  gdt.integer(encode_descriptor(state.cs));
  gdt.integer(encode_descriptor(data));
  gdt.integer(encode_descriptor(state.tr));
  gdt.integer(std::uint64_t{0});  // upper half of the TSS descriptor in long mode
  state.gdt = {plan.place_structure(gdt.data(), "the boot GDT"),
               static_cast<std::uint16_t>(gdt.size() - 1)};
}

}  // namespace

std::uint64_t encode_descriptor(const BootSegment& segment) {
  const std::uint64_t limit = segment.granularity ? segment.limit_bytes >> 12 : segment.limit_bytes;
  std::uint64_t descriptor = limit & 0xffff;
  descriptor |= (segment.base & 0xffffff) << 16;
  descriptor |= std::uint64_t{segment.type} << 40;
  descriptor |= std::uint64_t{segment.code_or_data} << 44;
  descriptor |= std::uint64_t{segment.privilege} << 45;
  descriptor |= std::uint64_t{segment.present} << 47;
  descriptor |= ((limit >> 16) & 0xf) << 48;
  descriptor |= std::uint64_t{segment.available} << 52;
  descriptor |= std::uint64_t{segment.long_code} << 53;
  descriptor |= std::uint64_t{segment.default_big} << 54;
  descriptor |= std::uint64_t{segment.granularity} << 55;
  descriptor |= ((segment.base >> 24) & 0xff) << 56;
  return descriptor;
}

BootCpuState flat_protected_state(MemoryPlan& plan) {
  BootCpuState state;
  set_segments(plan, state, BootMode::protected32);
  state.cr0 = kCr0ProtectionEnable | kCr0ExtensionType;
  return state;
}

BootCpuState identity_long_state(MemoryPlan& plan) {
  constexpr std::uint64_t kPresentWritable = 0x3;
  constexpr std::uint64_t kLargePage = 0x80;
  constexpr std::uint64_t kDirectories = 4;  // of 1 GiB each
  constexpr std::uint64_t kEntries = 512;
  constexpr std::uint64_t kLargePageSize = 2ULL << 20;

  BootCpuState state;
  set_segments(plan, state, BootMode::long64);
  const std::uint64_t tables =
      plan.allocate_structure((2 + kDirectories) * kPageSize, "the boot page tables");
  const std::uint64_t pointers = tables + kPageSize;
  const std::uint64_t directories = pointers + kPageSize;
  ByteWriter bytes;
  for (std::uint64_t i = 0; i < kEntries; ++i) {
    bytes.integer(i == 0 ? pointers | kPresentWritable : std::uint64_t{0});
  }
  for (std::uint64_t i = 0; i < kEntries; ++i) {
    bytes.integer(i < kDirectories ? (directories + i * kPageSize) | kPresentWritable
                                   : std::uint64_t{0});
  }
  for (std::uint64_t i = 0; i < kDirectories * kEntries; ++i) {
    bytes.integer(i * kLargePageSize | kPresentWritable | kLargePage);
  }
  plan.write(tables, bytes.data());
  state.cr0 = kCr0ProtectionEnable | kCr0ExtensionType | kCr0Paging;
  state.cr3 = tables;
  state.cr4 = kCr4PhysicalAddressExtension;
  state.efer = kEferLongModeEnable | kEferLongModeActive;
  return state;
}

}  // namespace chronovisor
