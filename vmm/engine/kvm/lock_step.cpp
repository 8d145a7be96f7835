#include "vmm/engine/kvm/lock_step.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace chronovisor::kvm {
namespace {

constexpr std::uint64_t kEventsBetweenFullComparisons = 20'000;

std::string hex(std::uint64_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text.data();
}

class Comparison {
 public:
  void number(const std::string& name, std::uint64_t left, std::uint64_t right) {
    if (left != right) fields_.push_back({name, hex(left), hex(right)});
  }
  void segment(const std::string& name, const SegmentRegister& left, const SegmentRegister& right) {
    number(name + ".selector", left.selector, right.selector);
    number(name + ".attributes", left.attributes, right.attributes);
    number(name + ".limit", left.limit, right.limit);
    number(name + ".base", left.base, right.base);
  }
  [[nodiscard]] std::vector<FieldValue> take() { return std::move(fields_); }

 private:
  std::vector<FieldValue> fields_;
};

void compare_general(Comparison& c, const Cpu& left, const Cpu& right) {
  static constexpr std::array<const char*, 16> kNames{"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                      "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                      "r12", "r13", "r14", "r15"};
  const CpuState &a = left.state, &b = right.state;
  for (std::size_t n = 0; n < kNames.size(); ++n) c.number(kNames[n], a.gpr[n], b.gpr[n]);
  c.number("rip", a.gpr[kGprRip], b.gpr[kGprRip]);
  c.number("rflags", left.flags.value(), right.flags.value());
  c.number("cpl", left.cpl(), right.cpl());
  static constexpr std::array<const char*, kSegmentCount> kSegments{"es", "cs", "ss",
                                                                    "ds", "fs", "gs"};
  for (std::size_t n = 0; n < kSegments.size(); ++n)
    c.segment(kSegments[n], a.segment[n], b.segment[n]);
  c.segment("ldtr", a.ldtr, b.ldtr);
  c.segment("tr", a.tr, b.tr);
  c.number("gdtr.base", a.gdtr.base, b.gdtr.base);
  c.number("gdtr.limit", a.gdtr.limit, b.gdtr.limit);
  c.number("idtr.base", a.idtr.base, b.idtr.base);
  c.number("idtr.limit", a.idtr.limit, b.idtr.limit);
}

void compare_control(Comparison& c, const CpuState& a, const CpuState& b) {
  c.number("cr0", a.cr0, b.cr0);
  c.number("cr2", a.cr2, b.cr2);
  c.number("cr3", a.cr3, b.cr3);
  c.number("cr4", a.cr4, b.cr4);
  c.number("xcr0", a.xcr0, b.xcr0);
  c.number("dr6", a.dr6, b.dr6);
  c.number("dr7", a.dr7, b.dr7);
  for (std::size_t n = 0; n < a.dr.size(); ++n)
    c.number("dr" + std::to_string(n), a.dr[n], b.dr[n]);
  c.number("efer", a.msr.efer, b.msr.efer);
  c.number("kernel_gs_base", a.msr.kernel_gs_base, b.msr.kernel_gs_base);
  c.number("star", a.msr.star, b.msr.star);
  c.number("lstar", a.msr.lstar, b.msr.lstar);
  c.number("shadow", a.shadow, b.shadow);
  c.number("halted", a.halted ? 1 : 0, b.halted ? 1 : 0);
  c.number("shutdown", a.shutdown ? 1 : 0, b.shutdown ? 1 : 0);
  c.number("nmi_blocked", a.nmi_blocked ? 1 : 0, b.nmi_blocked ? 1 : 0);
  c.number("nmi_pending", a.nmi_pending ? 1 : 0, b.nmi_pending ? 1 : 0);
  c.number("pending_debug", a.pending_debug, b.pending_debug);
}

void compare_floating_point(Comparison& c, const CpuState& a, const CpuState& b) {
  const bool equal = std::memcmp(&a.xmm, &b.xmm, sizeof(a.xmm)) == 0;
  for (std::size_t n = 0; n < a.xmm.size() && !equal; ++n) {
    c.number("xmm" + std::to_string(n) + ".low", a.xmm[n].low, b.xmm[n].low);
    c.number("xmm" + std::to_string(n) + ".high", a.xmm[n].high, b.xmm[n].high);
  }
  c.number("mxcsr", a.mxcsr, b.mxcsr);
  for (std::size_t n = 0; n < a.x87.st.size(); ++n) {
    if (a.x87.st[n].significand == b.x87.st[n].significand &&
        a.x87.st[n].sign_exponent == b.x87.st[n].sign_exponent) {
      continue;
    }
    c.number("x87.physical" + std::to_string(n), a.x87.st[n].significand, b.x87.st[n].significand);
    c.number("x87.exponent" + std::to_string(n), a.x87.st[n].sign_exponent,
             b.x87.st[n].sign_exponent);
  }
  c.number("x87.control", a.x87.control, b.x87.control);
  c.number("x87.status", a.x87.status, b.x87.status);
  c.number("x87.tag", a.x87.tag, b.x87.tag);
}

/// Bytes of the pages that either machine wrote since the last call.
void compare_memory(Machine& left, Machine& right, std::vector<FieldValue>& fields) {
  std::vector<std::uint32_t> pages = left.close_epoch();
  const std::vector<std::uint32_t> others = right.close_epoch();
  pages.insert(pages.end(), others.begin(), others.end());
  std::sort(pages.begin(), pages.end());
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  for (const std::uint32_t page : pages) {
    if (left.page_hash(page) == right.page_hash(page)) continue;
    const std::uint64_t first = std::uint64_t{page} * kPageSize;
    std::size_t shown = 0;
    for (std::uint64_t at = first; at < first + kPageSize && shown < 8; ++at) {
      const std::uint8_t a = *left.ram().host(at), b = *right.ram().host(at);
      if (a == b) continue;
      fields.push_back({"memory " + hex(left.ram().physical_of(at).value), hex(a), hex(b)});
      ++shown;
    }
  }
}

void describe_instruction(const Cpu& cpu, Ram& ram, StepDifference& difference) {
  difference.rip = cpu.state.gpr[kGprRip];
  difference.linear_rip = difference.rip + (cpu.long64() ? 0 : cpu.state.segment[kCs].base);
  if (!cpu.long64()) difference.linear_rip = static_cast<std::uint32_t>(difference.linear_rip);
  difference.code_bits = cpu.long64() ? 64 : 8 * cpu.code_width();
  difference.instruction.clear();
  for (unsigned n = 0; n < 15; ++n) {
    const auto physical = cpu.translate_for_debugger({difference.linear_rip + n});
    std::array<std::uint8_t, 1> byte{};
    if (!physical || ram.read(*physical, byte) != 1) break;
    difference.instruction.push_back(byte[0]);
  }
}

/// All state that is not RAM, devices included.
void compare_sections_of(Machine& left, Machine& right, std::vector<FieldValue>& fields) {
  const std::vector<Section> a = left.save_sections(), b = right.save_sections();
  for (std::size_t n = 0; n < a.size() && n < b.size(); ++n) {
    if (a[n] == b[n]) continue;
    for (const FieldDifference& d : compare_sections(a[n].bytes, b[n].bytes, a[n].name)) {
      const auto text = [](const Bytes& bytes) {
        std::uint64_t value = 0;
        std::memcpy(&value, bytes.data(), std::min<std::size_t>(bytes.size(), 8));
        return hex(value);
      };
      fields.push_back({a[n].name + "." + d.field, text(d.left), text(d.right)});
    }
  }
}

}  // namespace

std::vector<FieldValue> compare_processors(const Cpu& left, const Cpu& right) {
  Comparison c;
  compare_general(c, left, right);
  compare_control(c, left.state, right.state);
  compare_floating_point(c, left.state, right.state);
  return c.take();
}

LockStepOutcome run_in_lock_step(Machine& left, Machine& right, Position limit,
                                 const std::function<bool(Position)>& go_on) {
  LockStepOutcome outcome;
  StepDifference step;
  while (true) {
    outcome.end = left.moment();
    outcome.ending = left.ending();
    if (left.position() >= limit) break;
    if (outcome.events % kEventsBetweenFullComparisons == 0 && !go_on(left.position())) break;
    step.before = left.moment();
    describe_instruction(left.cpu(), left.ram(), step);
    const Moment next{step.before.position, step.before.deliveries + 1};
    const MachineStop a = left.run(next), b = right.run(next);
    ++outcome.events;
    std::vector<FieldValue> fields = compare_processors(left.cpu(), right.cpu());
    if (left.moment() != right.moment()) {
      fields.push_back({"position", std::to_string(left.position().steps),
                        std::to_string(right.position().steps)});
      fields.push_back({"deliveries", std::to_string(left.moment().deliveries),
                        std::to_string(right.moment().deliveries)});
    }
    if (a != b)
      fields.push_back(
          {"stop", std::to_string(static_cast<int>(a)), std::to_string(static_cast<int>(b))});
    compare_memory(left, right, fields);
    const bool over = a != MachineStop::reached;
    if (over || outcome.events % kEventsBetweenFullComparisons == 0)
      compare_sections_of(left, right, fields);
    if (!fields.empty()) {
      step.fields = std::move(fields);
      outcome.difference = std::move(step);
    }
    if (over || outcome.difference) {
      outcome.end = left.moment();
      outcome.ending = left.ending();
      break;
    }
  }
  return outcome;
}

}  // namespace chronovisor::kvm
