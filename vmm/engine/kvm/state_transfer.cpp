#include "vmm/engine/kvm/state_transfer.h"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "vmm/cpu/interpret/system/cpuid.h"

namespace chronovisor::kvm {
namespace {

/// kvm_regs holds the registers by name; this is encoding order.
constexpr std::array<__u64 kvm_regs::*, 16> kRegisters{
    &kvm_regs::rax, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rbx, &kvm_regs::rsp, &kvm_regs::rbp,
    &kvm_regs::rsi, &kvm_regs::rdi, &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
    &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};
constexpr std::array<kvm_segment kvm_sregs::*, kSegmentCount> kSegments{
    &kvm_sregs::es, &kvm_sregs::cs, &kvm_sregs::ss, &kvm_sregs::ds, &kvm_sregs::fs, &kvm_sregs::gs};

constexpr std::size_t kMxcsrOffset = 24, kStackOffset = 32, kXmmOffset = 160, kHeaderOffset = 512;

bool same_register(const kvm_segment& a, const SegmentRegister& known) {
  const kvm_segment b = to_kvm_segment(known);
  if (a.selector != b.selector) return false;
  if (a.unusable != 0 || a.present == 0) return b.unusable != 0 || b.present == 0;
  return a.base == b.base && a.limit == b.limit && a.type == b.type && a.s == b.s &&
         a.dpl == b.dpl && a.present == b.present && a.db == b.db && a.l == b.l;
}

constexpr std::string_view kNoName = {};
/// Names of CPUID.1:ECX, CPUID.1:EDX and CPUID.7:EBX bits that the model has.
std::string_view feature_name(std::uint32_t leaf, char reg, unsigned bit) {
  struct Feature {
    std::uint32_t leaf;
    char reg;
    unsigned bit;
    std::string_view name;
  };
  static constexpr Feature kFeatures[] = {
      {1, 'c', 0, "SSE3"},        {1, 'c', 1, "PCLMULQDQ"}, {1, 'c', 9, "SSSE3"},
      {1, 'c', 13, "CMPXCHG16B"}, {1, 'c', 17, "PCID"},     {1, 'c', 19, "SSE4.1"},
      {1, 'c', 20, "SSE4.2"},     {1, 'c', 22, "MOVBE"},    {1, 'c', 23, "POPCNT"},
      {1, 'c', 25, "AES"},        {1, 'c', 26, "XSAVE"},    {1, 'c', 30, "RDRAND"},
      {7, 'b', 0, "FSGSBASE"},    {7, 'b', 7, "SMEP"},      {7, 'b', 10, "INVPCID"},
      {7, 'b', 18, "RDSEED"},     {7, 'b', 20, "SMAP"},     {7, 'c', 2, "UMIP"},
  };
  for (const Feature& f : kFeatures) {
    if (f.leaf == leaf && f.reg == reg && f.bit == bit) return f.name;
  }
  return kNoName;
}

const kvm_cpuid_entry2* find(const std::vector<kvm_cpuid_entry2>& entries, std::uint32_t leaf) {
  for (const kvm_cpuid_entry2& e : entries) {
    if (e.function == leaf && e.index == 0) return &e;
  }
  return nullptr;
}

}  // namespace

kvm_regs to_kvm_regs(const Cpu& cpu) {
  kvm_regs regs{};
  for (std::size_t n = 0; n < kRegisters.size(); ++n) regs.*kRegisters[n] = cpu.state.gpr[n];
  regs.rip = cpu.state.gpr[kGprRip];
  regs.rflags = cpu.flags.value() & ~(kTf | kRf);
  return regs;
}

void from_kvm_regs(Cpu& cpu, const kvm_regs& regs) {
  for (std::size_t n = 0; n < kRegisters.size(); ++n) cpu.state.gpr[n] = regs.*kRegisters[n];
  cpu.state.gpr[kGprRip] = regs.rip;
  const std::uint32_t stepper = kTf | kRf;
  cpu.set_flags((static_cast<std::uint32_t>(regs.rflags) & ~stepper) |
                (cpu.flags.value() & stepper));
}

kvm_segment to_kvm_segment(const SegmentRegister& s) {
  kvm_segment out{};
  out.base = s.base;
  out.limit = s.limit;
  out.selector = s.selector;
  out.type = static_cast<__u8>(s.type());
  out.s = s.code_or_data() ? 1 : 0;
  out.dpl = static_cast<__u8>(s.dpl());
  out.present = s.present() ? 1 : 0;
  out.avl = static_cast<__u8>((s.attributes >> 12) & 1);
  out.l = s.long_mode() ? 1 : 0;
  out.db = s.big() ? 1 : 0;
  out.g = static_cast<__u8>((s.attributes >> 15) & 1);
  out.unusable = s.present() ? 0 : 1;
  return out;
}

SegmentRegister from_kvm_segment(const kvm_segment& s, const SegmentRegister& known,
                                 bool keeps_base, const SegmentQuirks& quirks) {
  if (same_register(s, known)) {
    SegmentRegister kept = known;
    if (keeps_base) kept.base = s.base;
    return kept;
  }
  if (s.unusable != 0 || s.present == 0) return {s.selector, 0, 0, keeps_base ? s.base : 0};
  unsigned attributes =
      s.type | (static_cast<unsigned>(s.s) << 4) | (static_cast<unsigned>(s.dpl) << 5) |
      (static_cast<unsigned>(s.present) << 7) | (static_cast<unsigned>(s.avl) << 12) |
      (static_cast<unsigned>(s.l) << 13) | (static_cast<unsigned>(s.db) << 14);
  const bool large = s.limit > 0xfffff;
  if (quirks.keeps_granularity ? s.g != 0 : large) attributes |= 0x8000U;
  return {s.selector, static_cast<std::uint16_t>(attributes), s.limit, s.base};
}

kvm_sregs to_kvm_sregs(const Cpu& cpu, const kvm_sregs& template_sregs) {
  const CpuState& state = cpu.state;
  kvm_sregs out = template_sregs;
  for (std::size_t n = 0; n < kSegments.size(); ++n)
    out.*kSegments[n] = to_kvm_segment(state.segment[n]);
  // KVM takes CPL from SS, whatever SS holds.
  if (cpu.protected_mode() && !cpu.virtual8086()) out.ss.dpl = static_cast<__u8>(cpu.cpl());
  if (cpu.virtual8086()) {
    // The hidden parts that virtual-8086 mode always has; entry checks insist.
    for (std::size_t n = 0; n < kSegments.size(); ++n) {
      kvm_segment& s = out.*kSegments[n];
      s.type = 3;
      s.s = s.present = 1;
      s.dpl = 3;
      s.db = s.l = s.g = s.unusable = 0;
    }
  }
  out.tr = to_kvm_segment(state.tr);
  out.ldt = to_kvm_segment(state.ldtr);
  out.gdt.base = state.gdtr.base;
  out.gdt.limit = state.gdtr.limit;
  out.idt.base = state.idtr.base;
  out.idt.limit = state.idtr.limit;
  out.cr0 = state.cr0;
  out.cr2 = state.cr2;
  out.cr3 = state.cr3;
  out.cr4 = state.cr4;
  out.cr8 = 0;
  out.efer = state.msr.efer;
  std::memset(out.interrupt_bitmap, 0, sizeof(out.interrupt_bitmap));
  return out;
}

bool from_kvm_sregs(Cpu& cpu, const kvm_sregs& sregs, const SegmentQuirks& quirks) {
  CpuState& state = cpu.state;
  const Cpu::ModeChange change(cpu);
  bool changed = false;
  const auto take = [&](auto& place, const auto& value) {
    if (std::memcmp(&place, &value, sizeof(place)) == 0) return;
    place = value;
    changed = true;
  };
  const bool long_active = (sregs.efer & kEferLma) != 0;
  for (std::size_t n = 0; n < kSegments.size(); ++n) {
    const kvm_segment& s = sregs.*kSegments[n];
    const bool keeps_base = long_active && (n == kFs || n == kGs) &&
                            s.base != state.segment[n].base &&
                            s.selector == state.segment[n].selector;
    SegmentRegister taken = from_kvm_segment(s, state.segment[n], keeps_base, quirks);
    // SS.DPL carries CPL in KVM; under a null SS it is not part of the register.
    if (n == kSs && (s.selector & 0xfffcU) == 0 && s.selector == state.segment[n].selector &&
        !state.segment[n].present()) {
      taken = state.segment[n];
    } else if (n == kSs && long_active && (s.selector & 0xfffcU) == 0 &&
               s.selector != state.segment[n].selector) {
      taken = {s.selector, 0, 0, 0};  // KVM invents a data segment here, to hold CPL
    }
    take(state.segment[n], taken);
  }
  take(state.tr, from_kvm_segment(sregs.tr, state.tr, false, quirks));
  take(state.ldtr, from_kvm_segment(sregs.ldt, state.ldtr, false, quirks));
  const auto take_number = [&](auto& place, auto value) {
    if (place == value) return;
    place = value;
    changed = true;
  };
  take_number(state.gdtr.base, std::uint64_t{sregs.gdt.base});
  take_number(state.gdtr.limit, static_cast<std::uint16_t>(sregs.gdt.limit));
  const std::uint64_t cr0 = state.cr0, cr3 = state.cr3, cr4 = state.cr4, efer = state.msr.efer;
  take_number(state.cr0, std::uint64_t{sregs.cr0});
  take_number(state.cr3, std::uint64_t{sregs.cr3});
  take_number(state.cr4, std::uint64_t{sregs.cr4});
  take_number(state.msr.efer, std::uint64_t{sregs.efer});
  state.cr2 = sregs.cr2;
  const bool typed = (sregs.cr0 & kCr0Pe) != 0 && !cpu.flags.test(kVm);
  const unsigned cpl = !typed ? ((sregs.cr0 & kCr0Pe) != 0 ? 3U : 0U) : (sregs.ss.dpl & 3U);
  if (cr0 != state.cr0 || cr3 != state.cr3 || cr4 != state.cr4 || efer != state.msr.efer)
    cpu.flush_tlb();
  changed = changed || cpl != cpu.cpl();
  cpu.set_cpl(cpl);
  return changed;
}

Vm::FloatingPointImage to_kvm_floating_point(const CpuState& state) {
  Vm::FloatingPointImage image{};
  constexpr std::uint16_t kInitialControl = 0x37f;
  constexpr std::uint32_t kMxcsrMask = 0xffff;
  constexpr std::uint64_t kX87AndSse = 3;
  std::memcpy(&image[0], &kInitialControl, 2);
  std::memcpy(&image[kMxcsrOffset], &state.mxcsr, 4);
  std::memcpy(&image[kMxcsrOffset + 4], &kMxcsrMask, 4);
  std::memcpy(&image[kXmmOffset], state.xmm.data(), sizeof(state.xmm));
  std::memcpy(&image[kHeaderOffset], &kX87AndSse, 8);
  return image;
}

void from_kvm_floating_point(CpuState& state, const Vm::FloatingPointImage& image) {
  std::uint64_t present = 0;
  std::memcpy(&present, &image[kHeaderOffset], 8);
  std::memcpy(&state.mxcsr, &image[kMxcsrOffset], 4);
  // Registers in their initial state may be left out of the image.
  if ((present & 2) == 0) {
    state.xmm = {};
  } else {
    std::memcpy(state.xmm.data(), &image[kXmmOffset], sizeof(state.xmm));
  }
}

void put_x87(Vm::FloatingPointImage& image, const X87State& x87) {
  const auto put = [&](std::size_t at, auto value) {
    std::memcpy(&image[at], &value, sizeof(value));
  };
  put(0, x87.control);
  put(2, x87.status);
  std::uint8_t valid = 0;
  for (unsigned n = 0; n < x87.st.size(); ++n)
    valid |= static_cast<std::uint8_t>((x87.tag >> (2 * n) & 3) != 3 ? 1U << n : 0U);
  put(4, valid);
  put(6, x87.last_opcode);
  put(8, x87.last_ip);
  put(16, x87.last_dp);
  const unsigned top = x87.status >> 11 & 7U;
  for (unsigned n = 0; n < x87.st.size(); ++n) {
    const X87Register& st = x87.st[(top + n) & 7];
    put(kStackOffset + 16 * n, st.significand);
    put(kStackOffset + 16 * n + 8, st.sign_exponent);
  }
}

X87State x87_of(const Vm::FloatingPointImage& image) {
  const auto get = [&](std::size_t at, auto value) {
    std::memcpy(&value, &image[at], sizeof(value));
    return value;
  };
  X87State x87;
  std::uint64_t present = 0;
  std::memcpy(&present, &image[kHeaderOffset], 8);
  if ((present & 1) == 0) return x87;  // the initial state is left out
  x87.control = get(0, std::uint16_t{});
  x87.status = get(2, std::uint16_t{});
  x87.last_opcode = get(6, std::uint16_t{});
  x87.last_ip = get(8, std::uint64_t{});
  x87.last_dp = get(16, std::uint64_t{});
  const unsigned valid = image[4];
  const unsigned top = x87.status >> 11 & 7U;
  for (unsigned n = 0; n < x87.st.size(); ++n) {
    const unsigned physical = (top + n) & 7;
    X87Register& st = x87.st[physical];
    st.significand = get(kStackOffset + 16 * n, std::uint64_t{});
    st.sign_exponent = get(kStackOffset + 16 * n + 8, std::uint16_t{});
    if ((valid >> physical & 1) == 0) continue;
    const unsigned exponent = st.sign_exponent & 0x7fffU;
    const bool zero = exponent == 0 && st.significand == 0;
    const bool special = exponent == 0 || exponent == 0x7fff || (st.significand >> 63) == 0;
    const unsigned tag = zero ? 1 : special ? 2 : 0;
    x87.tag =
        static_cast<std::uint16_t>((x87.tag & ~(3U << (2 * physical))) | tag << (2 * physical));
  }
  return x87;
}

std::vector<kvm_msr_entry> to_kvm_msrs(const CpuState& state) {
  const CpuMsrs& m = state.msr;
  const auto entry = [](std::uint32_t index, std::uint64_t value) {
    kvm_msr_entry e{};
    e.index = index;
    e.data = value;
    return e;
  };
  return {entry(0x174, m.sysenter_cs),        entry(0x175, m.sysenter_esp),
          entry(0x176, m.sysenter_eip),       entry(0x277, m.pat),
          entry(0xc0000081, m.star),          entry(0xc0000082, m.lstar),
          entry(0xc0000083, m.cstar),         entry(0xc0000084, m.fmask),
          entry(0xc0000102, m.kernel_gs_base)};
}

std::vector<kvm_cpuid_entry2> guest_cpuid(const std::vector<kvm_cpuid_entry2>& supported) {
  std::vector<kvm_cpuid_entry2> out;
  const auto add = [&](std::uint32_t leaf) {
    const CpuidResult wanted = cpuid(leaf, 0, {});
    kvm_cpuid_entry2 entry{};
    entry.function = leaf;
    entry.eax = wanted.eax;
    entry.ebx = wanted.ebx;
    entry.ecx = wanted.ecx;
    entry.edx = wanted.edx;
    if (const kvm_cpuid_entry2* host = find(supported, leaf);
        host != nullptr && (leaf == 1 || leaf == 7 || leaf == 0x80000001)) {
      entry.ecx &= host->ecx;
      entry.edx &= host->edx;
      if (leaf == 7) entry.ebx &= host->ebx;
    }
    if (leaf == 7) entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    out.push_back(entry);
  };
  for (const std::uint32_t leaf : {0x0U, 0x1U, 0x7U, 0x80000000U, 0x80000001U, 0x80000008U})
    add(leaf);
  return out;
}

std::vector<std::string> missing_features(const std::vector<kvm_cpuid_entry2>& supported) {
  std::vector<std::string> names;
  const auto look = [&](std::uint32_t leaf, char reg, std::uint32_t wanted, std::uint32_t host) {
    for (unsigned bit = 0; bit < 32; ++bit) {
      if (((wanted & ~host) >> bit & 1) == 0) continue;
      const std::string_view name = feature_name(leaf, reg, bit);
      if (!name.empty()) names.emplace_back(name);
    }
  };
  for (const std::uint32_t leaf : {1U, 7U}) {
    const CpuidResult wanted = cpuid(leaf, 0, {});
    const kvm_cpuid_entry2* host = find(supported, leaf);
    look(leaf, 'b', leaf == 1 ? 0 : wanted.ebx, host == nullptr ? 0 : host->ebx);
    look(leaf, 'c', wanted.ecx, host == nullptr ? 0 : host->ecx);
    look(leaf, 'd', wanted.edx, host == nullptr ? 0 : host->edx);
  }
  return names;
}

}  // namespace chronovisor::kvm
