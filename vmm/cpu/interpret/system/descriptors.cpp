#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kAttributeMask = 0xf0ff;
constexpr std::uint16_t kRealDataAttributes = 0x93;  // present, read/write, accessed
constexpr std::uint16_t kVirtual8086Attributes = 0xf3;

}  // namespace

std::uint32_t Descriptor::limit() const {
  const auto raw = static_cast<std::uint32_t>((low & 0xffff) | ((low >> 32) & 0xf0000));
  return ((low >> 55) & 1) != 0 ? (raw << 12) | 0xfff : raw;
}

std::uint64_t Descriptor::base() const {
  return ((low >> 16) & 0xffffff) | ((low >> 32) & 0xff000000U) | (high << 32);
}

SegmentRegister Descriptor::segment(std::uint16_t selector) const {
  SegmentRegister result;
  result.selector = selector;
  result.attributes = static_cast<std::uint16_t>((low >> 40) & kAttributeMask);
  if (code_or_data()) result.attributes |= 1;
  result.limit = limit();
  result.base = base();
  return result;
}

std::optional<Descriptor> find_descriptor(Cpu& cpu, std::uint16_t selector) {
  std::uint64_t table = cpu.state.gdtr.base;
  std::uint64_t limit = cpu.state.gdtr.limit;
  if ((selector & 4) != 0) {
    if (!cpu.state.ldtr.present()) return std::nullopt;
    table = cpu.state.ldtr.base;
    limit = cpu.state.ldtr.limit;
  }
  const std::uint64_t offset = selector & 0xfff8U;
  if (offset + 7 > limit) return std::nullopt;
  Descriptor result;
  result.address = table + offset;
  if (!cpu.long_mode_active()) result.address = static_cast<std::uint32_t>(result.address);
  result.low = cpu.load_system<std::uint64_t>(result.address);
  if (cpu.long_mode_active() && !result.code_or_data()) {
    if (offset + 15 > limit) return std::nullopt;
    result.high = cpu.load_system<std::uint64_t>(result.address + 8);
  }
  return result;
}

Descriptor fetch_descriptor(Cpu& cpu, std::uint16_t selector, std::uint8_t vector,
                            std::uint32_t ext) {
  const std::optional<Descriptor> found = find_descriptor(cpu, selector);
  if (!found) cpu.raise(vector, selector_error(selector, ext));
  return *found;
}

void mark_accessed(Cpu& cpu, const Descriptor& descriptor) {
  if ((descriptor.type() & 1) != 0) return;
  const auto access_byte = static_cast<std::uint8_t>(descriptor.low >> 40);
  cpu.store_system<std::uint8_t>(descriptor.address + 5,
                                 static_cast<std::uint8_t>(access_byte | 1));
}

void mark_busy(Cpu& cpu, const Descriptor& descriptor, bool busy) {
  // Read again: the descriptor may be the one of the task that is left.
  const auto access_byte = cpu.load_system<std::uint8_t>(descriptor.address + 5);
  const unsigned changed = busy ? access_byte | kBusyBit : access_byte & ~kBusyBit;
  cpu.store_system<std::uint8_t>(descriptor.address + 5, static_cast<std::uint8_t>(changed));
}

bool within_segment(const SegmentRegister& segment, std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t last = offset + size - 1;
  const bool expand_down = segment.code_or_data() && (segment.type() & 0xcU) == 4;
  if (expand_down) {
    const std::uint64_t top = segment.big() ? 0xffffffffU : 0xffffU;
    return offset > segment.limit && last <= top;
  }
  return last <= segment.limit;
}

SegmentRegister real_segment(const Cpu& cpu, unsigned index, std::uint16_t selector) {
  SegmentRegister result = cpu.state.segment[index];
  result.selector = selector;
  result.base = std::uint64_t{selector} << 4;
  // A register that was null when protected mode was left becomes usable again.
  if (!result.present()) {
    result.attributes = kRealDataAttributes;
    result.limit = 0xffff;
  }
  return result;
}

SegmentRegister virtual8086_segment(std::uint16_t selector) {
  return {selector, kVirtual8086Attributes, 0xffff, std::uint64_t{selector} << 4};
}

SegmentRegister checked_stack_segment(Cpu& cpu, std::uint16_t selector, unsigned cpl,
                                      std::uint8_t vector, std::uint32_t ext) {
  const Descriptor descriptor = fetch_descriptor(cpu, selector, vector, ext);
  if (requested_privilege(selector) != cpl || descriptor.dpl() != cpl || !descriptor.writable()) {
    cpu.raise(vector, selector_error(selector, ext));
  }
  if (!descriptor.present()) cpu.raise(kStackFault, selector_error(selector, ext));
  mark_accessed(cpu, descriptor);
  return descriptor.segment(selector);
}

SegmentRegister checked_data_segment(Cpu& cpu, std::uint16_t selector, unsigned cpl,
                                     std::uint8_t vector) {
  if (null_selector(selector)) return null_segment(selector);
  const Descriptor descriptor = fetch_descriptor(cpu, selector, vector);
  if (!descriptor.readable()) cpu.raise(vector, selector_error(selector));
  if (!descriptor.conforming() &&
      (requested_privilege(selector) > descriptor.dpl() || cpl > descriptor.dpl())) {
    cpu.raise(vector, selector_error(selector));
  }
  if (!descriptor.present()) cpu.raise(kSegmentNotPresent, selector_error(selector));
  mark_accessed(cpu, descriptor);
  return descriptor.segment(selector);
}

void load_segment(Cpu& cpu, unsigned index, std::uint16_t selector) {
  SegmentRegister loaded;
  if (!cpu.protected_mode()) {
    loaded = real_segment(cpu, index, selector);
  } else if (cpu.virtual8086()) {
    loaded = virtual8086_segment(selector);
  } else if (index != kSs) {
    loaded = checked_data_segment(cpu, selector, cpu.cpl(), kGeneralProtection);
  } else if (null_selector(selector)) {
    if (!cpu.long64() || cpu.cpl() == 3 || requested_privilege(selector) != cpu.cpl()) {
      cpu.raise_gp0();
    }
    loaded = null_segment(selector);
  } else {
    loaded = checked_stack_segment(cpu, selector, cpu.cpl(), kGeneralProtection);
  }
  cpu.set_segment(index, loaded);
}

void drop_privileged_segments(Cpu& cpu, unsigned cpl) {
  for (const unsigned index : {kEs, kDs, kFs, kGs}) {
    SegmentRegister segment = cpu.state.segment[index];
    const bool conforming = (segment.type() & 0xcU) == 0xc;
    if (!segment.present()) {
      // Null selectors all become 0. The bases of FS and GS live on without one.
      if (null_selector(segment.selector)) segment.selector = 0;
    } else if (!conforming && segment.dpl() < cpl) {
      segment = null_segment(0);
    }
    cpu.set_segment(index, segment);
  }
}

SegmentRegister flat_code(std::uint16_t selector, unsigned dpl, bool long_mode) {
  const unsigned attributes = (long_mode ? 0xa09bU : 0xc09bU) | (dpl << 5);
  return {selector, static_cast<std::uint16_t>(attributes), 0xffffffff, 0};
}

SegmentRegister flat_stack(std::uint16_t selector, unsigned dpl) {
  return {selector, static_cast<std::uint16_t>(0xc093U | (dpl << 5)), 0xffffffff, 0};
}

}  // namespace chronovisor
