#include "vmm/cpu/interpret/system/task_switch.h"

#include <array>

#include "vmm/cpu/interpret/system/events.h"
#include "vmm/cpu/interpret/system/stack_frame.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kDr6TaskSwitch = 1U << 15;  // BT
constexpr std::uint64_t kDr7LocalEnables = 0x155;   // L0-L3, LE
constexpr std::uint32_t kTss32Minimum = 0x67;
constexpr std::uint32_t kTss16Minimum = 0x2b;
constexpr std::uint32_t kFlagsMask = 0x3f7fd5;

/// What a TSS holds of a task, in either format.
struct TaskImage {
  std::uint32_t cr3 = 0;
  std::uint32_t eip = 0;
  std::uint32_t eflags = 0;
  std::array<std::uint32_t, 8> gpr{};
  std::array<std::uint16_t, kSegmentCount> selector{};  // by SegmentIndex
  std::uint16_t ldt = 0;
  bool trap = false;
};

bool is_tss32(unsigned type) { return type == kTss32Available || type == kTss32Busy; }

TaskImage read_image(Cpu& cpu, std::uint64_t base, bool tss32) {
  TaskImage image;
  if (tss32) {
    image.cr3 = cpu.load_system<std::uint32_t>(base + 0x1c);
    image.eip = cpu.load_system<std::uint32_t>(base + 0x20);
    image.eflags = cpu.load_system<std::uint32_t>(base + 0x24);
    for (unsigned n = 0; n < 8; ++n) {
      image.gpr[n] = cpu.load_system<std::uint32_t>(base + 0x28 + 4 * n);
    }
    for (unsigned n = 0; n < kSegmentCount; ++n) {
      image.selector[n] = cpu.load_system<std::uint16_t>(base + 0x48 + 4 * n);
    }
    image.ldt = cpu.load_system<std::uint16_t>(base + 0x60);
    image.trap = (cpu.load_system<std::uint16_t>(base + 0x64) & 1) != 0;
    return image;
  }
  image.eip = cpu.load_system<std::uint16_t>(base + 0x0e);
  image.eflags = cpu.load_system<std::uint16_t>(base + 0x10);
  for (unsigned n = 0; n < 8; ++n) {
    // The upper halves are undefined after a 16-bit task switch; they are set, as on the 386.
    image.gpr[n] = 0xffff0000U | cpu.load_system<std::uint16_t>(base + 0x12 + 2 * n);
  }
  for (const unsigned n : {kEs, kCs, kSs, kDs}) {
    image.selector[n] = cpu.load_system<std::uint16_t>(base + 0x22 + 2 * n);
  }
  image.ldt = cpu.load_system<std::uint16_t>(base + 0x2a);
  return image;
}

void save_old_task(Cpu& cpu, bool tss32, std::uint32_t eflags) {
  const std::uint64_t base = cpu.state.tr.base;
  if (tss32) {
    cpu.store_system<std::uint32_t>(base + 0x20, static_cast<std::uint32_t>(cpu.rip()));
    cpu.store_system<std::uint32_t>(base + 0x24, eflags);
    for (unsigned n = 0; n < 8; ++n) {
      cpu.store_system<std::uint32_t>(base + 0x28 + 4 * n, cpu.reg<std::uint32_t>(n));
    }
    for (unsigned n = 0; n < kSegmentCount; ++n) {
      cpu.store_system<std::uint16_t>(base + 0x48 + 4 * n, cpu.state.segment[n].selector);
    }
    return;
  }
  cpu.store_system<std::uint16_t>(base + 0x0e, static_cast<std::uint16_t>(cpu.rip()));
  cpu.store_system<std::uint16_t>(base + 0x10, static_cast<std::uint16_t>(eflags));
  for (unsigned n = 0; n < 8; ++n) {
    cpu.store_system<std::uint16_t>(base + 0x12 + 2 * n, cpu.reg<std::uint16_t>(n));
  }
  for (const unsigned n : {kEs, kCs, kSs, kDs}) {
    cpu.store_system<std::uint16_t>(base + 0x22 + 2 * n, cpu.state.segment[n].selector);
  }
}

/// Raises now what writing the old TSS and reading the new one would raise.
void probe_both(Cpu& cpu, const TaskSwitch& request, bool old32, bool new32) {
  const SegmentRegister& tr = cpu.state.tr;
  const std::uint32_t old_minimum = old32 ? kTss32Minimum : kTss16Minimum;
  const std::uint32_t new_minimum = new32 ? kTss32Minimum : kTss16Minimum;
  if (request.tss.limit() < new_minimum) {
    cpu.raise(kInvalidTss, selector_error(request.selector, request.ext));
  }
  if (tr.limit < old_minimum) cpu.raise(kInvalidTss, selector_error(tr.selector, request.ext));
  cpu.probe_system(tr.base, old_minimum + 1, Access::write);
  const bool links = request.kind == TaskSwitchKind::call || request.kind == TaskSwitchKind::event;
  cpu.probe_system(request.tss.base(), new_minimum + 1, Access::read);
  if (links) cpu.probe_system(request.tss.base(), 2, Access::write);
  cpu.probe_system(request.tss.address, 8, Access::write);
  if (!links && !null_selector(tr.selector)) {
    cpu.probe_system(cpu.state.gdtr.base + (tr.selector & 0xfff8U), 8, Access::write);
  }
}

void load_ldt(Cpu& cpu, std::uint16_t selector) {
  cpu.state.ldtr = null_segment(selector);
  if (null_selector(selector)) return;
  if ((selector & 4) != 0) cpu.raise(kInvalidTss, selector_error(selector));
  const Descriptor ldt = fetch_descriptor(cpu, selector, kInvalidTss);
  if (!ldt.is_system(kLdtType) || !ldt.present()) cpu.raise(kInvalidTss, selector_error(selector));
  cpu.state.ldtr = ldt.segment(selector);
}

SegmentRegister checked_task_code(Cpu& cpu, std::uint16_t selector) {
  if (null_selector(selector)) cpu.raise(kInvalidTss, selector_error(selector));
  const Descriptor code = fetch_descriptor(cpu, selector, kInvalidTss);
  const unsigned rpl = requested_privilege(selector);
  const bool allowed = code.conforming() ? code.dpl() <= rpl : code.dpl() == rpl;
  if (!code.code() || !allowed) cpu.raise(kInvalidTss, selector_error(selector));
  if (!code.present()) cpu.raise(kSegmentNotPresent, selector_error(selector));
  mark_accessed(cpu, code);
  return code.segment(selector);
}

/// Loads LDTR and the segment registers of the task that is already current.
void load_task_segments(Cpu& cpu, const TaskImage& image) {
  load_ldt(cpu, image.ldt);
  if (cpu.flags.test(kVm)) {
    const Cpu::ModeChange change(cpu);
    for (unsigned n = 0; n < kSegmentCount; ++n) {
      cpu.set_segment(n, virtual8086_segment(image.selector[n]));
    }
    cpu.set_cpl(3);
  } else {
    cpu.set_segment(kCs, checked_task_code(cpu, image.selector[kCs]));
    const unsigned cpl = requested_privilege(image.selector[kCs]);
    cpu.set_cpl(cpl);
    const std::uint16_t ss = image.selector[kSs];
    if (null_selector(ss)) cpu.raise(kInvalidTss, selector_error(ss));
    cpu.set_segment(kSs, checked_stack_segment(cpu, ss, cpl, kInvalidTss));
    for (const unsigned n : {kEs, kDs, kFs, kGs}) {
      cpu.set_segment(n, checked_data_segment(cpu, image.selector[n], cpl, kInvalidTss));
    }
  }
  if (cpu.rip() > cpu.state.segment[kCs].limit) cpu.raise_gp0();
}

void push_error_code(Cpu& cpu, std::uint32_t error_code, bool tss32) {
  const StackTarget stack = current_stack(cpu);
  StackFrame frame(cpu, stack, 0);
  frame.push(error_code, tss32 ? 4 : 2);
  frame.write();
  cpu.set_stack_pointer(frame.pointer());
}

/// Makes the registers those of the image, with segments not loaded yet.
void install_image(Cpu& cpu, const TaskImage& image, std::uint32_t eflags, bool new32) {
  CpuState& state = cpu.state;
  const Cpu::ModeChange change(cpu);
  if (new32 && (state.cr0 & kCr0Pg) != 0) cpu.set_cr3(image.cr3);
  cpu.rip() = image.eip;
  cpu.set_flags(eflags & kFlagsMask);
  for (unsigned n = 0; n < 8; ++n) cpu.set_reg<std::uint32_t>(n, image.gpr[n]);
  for (unsigned n = 0; n < kSegmentCount; ++n) {
    cpu.set_segment(n, null_segment(image.selector[n]));
  }
  state.dr7 &= ~kDr7LocalEnables;
  cpu.set_cpl((eflags & kVm) != 0 ? 3 : requested_privilege(image.selector[kCs]));
}

}  // namespace

std::optional<GuestFault> switch_task(Cpu& cpu, const TaskSwitch& request) {
  CpuState& state = cpu.state;
  const bool old32 = is_tss32(state.tr.type());
  const bool new32 = is_tss32(request.tss.type());
  const bool links = request.kind == TaskSwitchKind::call || request.kind == TaskSwitchKind::event;
  probe_both(cpu, request, old32, new32);
  const TaskImage image = read_image(cpu, request.tss.base(), new32);

  const bool pae = (state.cr0 & kCr0Pg) != 0 && (state.cr4 & kCr4Pae) != 0;
  const auto new_pdpte = new32 && pae ? cpu.checked_pdptes(image.cr3) : state.pdpte;

  // Nothing below faults until the new task is current.
  std::uint32_t old_eflags = cpu.flags.value();
  if (request.kind == TaskSwitchKind::interrupt_return) old_eflags &= ~std::uint32_t{kNt};
  if (request.resume_flag) old_eflags |= kRf;
  save_old_task(cpu, old32, old_eflags);
  std::uint32_t new_eflags = image.eflags;
  if (links) {
    cpu.store_system<std::uint16_t>(request.tss.base(), state.tr.selector);
    new_eflags |= kNt;
  } else if (const auto left = null_selector(state.tr.selector)
                                   ? std::nullopt
                                   : find_descriptor(cpu, state.tr.selector)) {
    mark_busy(cpu, *left, false);
  }
  if (request.kind != TaskSwitchKind::interrupt_return) mark_busy(cpu, request.tss, true);

  state.tr = request.tss.segment(request.selector);
  state.tr.attributes |= kBusyBit;
  cpu.set_cr0(state.cr0 | kCr0Ts, state.msr.efer);
  state.pdpte = new_pdpte;
  install_image(cpu, image, new_eflags, new32);
  try {
    load_task_segments(cpu, image);
    if (request.error_code) push_error_code(cpu, *request.error_code, new32);
  } catch (const GuestFault& fault) {
    return fault;
  }
  if (image.trap) state.pending_debug |= kDr6TaskSwitch;
  return std::nullopt;
}

void switch_task_by_instruction(Cpu& cpu, const TaskSwitch& request) {
  if (const std::optional<GuestFault> fault = switch_task(cpu, request)) {
    deliver_exception(cpu, *fault);
  }
}

}  // namespace chronovisor
