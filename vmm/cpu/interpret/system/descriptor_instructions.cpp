// Instructions on the descriptor table registers, and those that ask about a
// descriptor without loading it.
#include "vmm/cpu/interpret/system/descriptors.h"
#include "vmm/cpu/interpret/system/system_handlers.h"

namespace chronovisor::system_handlers {
namespace {

/// A system descriptor for LLDT or LTR; raises what those raise.
Descriptor checked_system_descriptor(Cpu& cpu, std::uint16_t selector) {
  if ((selector & 4) != 0) cpu.raise(kGeneralProtection, selector_error(selector));
  const Descriptor descriptor = fetch_descriptor(cpu, selector);
  const bool bad_second_half = ((descriptor.high >> 40) & 0x1f) != 0;
  if (descriptor.code_or_data() || bad_second_half || !Cpu::canonical(descriptor.base())) {
    cpu.raise(kGeneralProtection, selector_error(selector));
  }
  return descriptor;
}

enum class Query : std::uint8_t { access_rights, limit, read, write };

bool system_type_visible(const Cpu& cpu, unsigned type, Query query) {
  if (query == Query::read || query == Query::write) return false;
  const bool long_mode = cpu.long_mode_active();
  switch (type) {
    case kLdtType:
    case kTss32Available:
    case kTss32Busy:
      return true;
    case kTss16Available:
    case kTss16Busy:
      return !long_mode;
    case kCallGate32:
      return query == Query::access_rights;
    case kCallGate16:
    case kTaskGate:
      return query == Query::access_rights && !long_mode;
    default:
      return false;
  }
}

/// The descriptor, if the present CPL and RPL may see it for this query.
std::optional<Descriptor> visible_descriptor(Cpu& cpu, std::uint16_t selector, Query query) {
  if (null_selector(selector)) return std::nullopt;
  const std::optional<Descriptor> found = find_descriptor(cpu, selector);
  if (!found) return std::nullopt;
  if (!found->code_or_data() && !system_type_visible(cpu, found->type(), query))
    return std::nullopt;
  if (!found->conforming() &&
      (found->dpl() < cpu.cpl() || found->dpl() < requested_privilege(selector))) {
    return std::nullopt;
  }
  if (query == Query::read && !found->readable()) return std::nullopt;
  if (query == Query::write && !found->writable()) return std::nullopt;
  return found;
}

void store_selector(Cpu& cpu, const Instruction& i, std::uint16_t selector) {
  if (i.memory) {
    cpu.store_operand<std::uint16_t>(i, selector);
  } else {
    set_reg_sized(cpu, i.rm, i.operand_size, selector);
  }
}

}  // namespace

template <bool Idt>
void load_table_register(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  const std::uint64_t address = cpu.effective_address(i);
  const std::uint64_t behind = Cpu::cut(address + 2, i.address_size);
  DescriptorTableRegister loaded;
  loaded.limit = cpu.load<std::uint16_t>(i.segment, address);
  if (cpu.long64()) {
    loaded.base = cpu.load<std::uint64_t>(i.segment, behind);
    if (!Cpu::canonical(loaded.base)) cpu.raise_gp0();
  } else {
    loaded.base = cpu.load<std::uint32_t>(i.segment, behind);
    if (i.operand_size == 2) loaded.base &= 0xffffff;
  }
  (Idt ? cpu.state.idtr : cpu.state.gdtr) = loaded;
}

template <bool Idt>
void store_table_register(Cpu& cpu, const Instruction& i) {
  require_no_umip(cpu);
  const DescriptorTableRegister& table = Idt ? cpu.state.idtr : cpu.state.gdtr;
  const std::uint64_t address = cpu.effective_address(i);
  const std::uint64_t behind = Cpu::cut(address + 2, i.address_size);
  cpu.probe(i.segment, address, 2, Access::write);
  if (cpu.long64()) {
    cpu.store<std::uint64_t>(i.segment, behind, table.base);
  } else {
    // All 32 bits whatever the operand size, as processors since the 386 do.
    cpu.store<std::uint32_t>(i.segment, behind, static_cast<std::uint32_t>(table.base));
  }
  cpu.store<std::uint16_t>(i.segment, address, table.limit);
}

template void load_table_register<false>(Cpu&, const Instruction&);
template void load_table_register<true>(Cpu&, const Instruction&);
template void store_table_register<false>(Cpu&, const Instruction&);
template void store_table_register<true>(Cpu&, const Instruction&);

void lldt(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  const std::uint16_t selector = selector_operand(cpu, i);
  if (null_selector(selector)) {
    cpu.state.ldtr = null_segment(selector);
    return;
  }
  const Descriptor descriptor = checked_system_descriptor(cpu, selector);
  if (descriptor.type() != kLdtType) cpu.raise(kGeneralProtection, selector_error(selector));
  if (!descriptor.present()) cpu.raise(kSegmentNotPresent, selector_error(selector));
  cpu.state.ldtr = descriptor.segment(selector);
}

void sldt(Cpu& cpu, const Instruction& i) {
  require_no_umip(cpu);
  store_selector(cpu, i, cpu.state.ldtr.selector);
}

void ltr(Cpu& cpu, const Instruction& i) {
  require_cpl0(cpu);
  const std::uint16_t selector = selector_operand(cpu, i);
  if (null_selector(selector)) cpu.raise_gp0();
  const Descriptor descriptor = checked_system_descriptor(cpu, selector);
  const bool available = descriptor.type() == kTss32Available ||
                         (!cpu.long_mode_active() && descriptor.type() == kTss16Available);
  if (!available) cpu.raise(kGeneralProtection, selector_error(selector));
  if (!descriptor.present()) cpu.raise(kSegmentNotPresent, selector_error(selector));
  mark_busy(cpu, descriptor, true);
  cpu.state.tr = descriptor.segment(selector);
  cpu.state.tr.attributes |= kBusyBit;
}

void str(Cpu& cpu, const Instruction& i) {
  require_no_umip(cpu);
  store_selector(cpu, i, cpu.state.tr.selector);
}

void lar(Cpu& cpu, const Instruction& i) {
  const std::uint16_t selector = selector_operand(cpu, i);
  const auto descriptor = visible_descriptor(cpu, selector, Query::access_rights);
  if (descriptor) {
    constexpr std::uint64_t kRights = 0x00f0ff00;
    set_reg_sized(cpu, i.reg, i.operand_size, (descriptor->low >> 32) & kRights);
  }
  cpu.flags.set_zf(descriptor.has_value());
}

void lsl(Cpu& cpu, const Instruction& i) {
  const std::uint16_t selector = selector_operand(cpu, i);
  const auto descriptor = visible_descriptor(cpu, selector, Query::limit);
  if (descriptor) set_reg_sized(cpu, i.reg, i.operand_size, descriptor->limit());
  cpu.flags.set_zf(descriptor.has_value());
}

void verr(Cpu& cpu, const Instruction& i) {
  cpu.flags.set_zf(visible_descriptor(cpu, selector_operand(cpu, i), Query::read).has_value());
}

void verw(Cpu& cpu, const Instruction& i) {
  cpu.flags.set_zf(visible_descriptor(cpu, selector_operand(cpu, i), Query::write).has_value());
}

void arpl(Cpu& cpu, const Instruction& i) {
  // Memory that may not be written is a fault only when it would be written: measured.
  const std::uint16_t destination =
      i.memory ? cpu.load_operand<std::uint16_t>(i) : cpu.reg<std::uint16_t>(i.rm);
  const unsigned wanted = cpu.reg<std::uint16_t>(i.reg) & 3U;
  const bool raised = (destination & 3U) < wanted;
  if (raised) {
    const auto value = static_cast<std::uint16_t>((destination & 0xfffcU) | wanted);
    if (i.memory) {
      cpu.store_operand<std::uint16_t>(i, value);
    } else {
      cpu.set_reg<std::uint16_t>(i.rm, value);
    }
  }
  cpu.flags.set_zf(raised);
}

}  // namespace chronovisor::system_handlers
