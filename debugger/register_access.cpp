#include "debugger/register_access.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "vmm/cpu/state/msr.h"

namespace chronovisor::debugger {
namespace {

using gdb::X86Register;

constexpr std::size_t number(X86Register r) { return static_cast<std::size_t>(r); }
constexpr bool between(std::size_t index, X86Register first, X86Register last) {
  return index >= number(first) && index <= number(last);
}

/// gdb's order of the general registers, as encoding numbers.
constexpr std::array<GprIndex, 8> kGeneral{kRax, kRbx, kRcx, kRdx, kRsi, kRdi, kRbp, kRsp};

GprIndex general(std::size_t index) {
  return index < kGeneral.size() ? kGeneral[index] : static_cast<GprIndex>(index);
}

constexpr std::array<SegmentIndex, 6> kSegments{kCs, kSs, kDs, kEs, kFs, kGs};

/// An opcode is held without the five bits that all of the x87 have in common.
constexpr std::uint16_t kX87OpcodeBits = 0x7ff;

/// The physical number of ST(n).
unsigned physical(const X87State& x87, unsigned n) { return (((x87.status >> 11) & 7U) + n) & 7U; }

std::uint64_t read_x87_control(const X87State& x87, std::size_t index) {
  switch (static_cast<X86Register>(index)) {
    case X86Register::fctrl:
      return x87.control;
    case X86Register::fstat:
      return x87.status;
    case X86Register::ftag:
      return x87.tag;
    case X86Register::fiseg:
      return x87.last_cs;
    case X86Register::fioff:
      return static_cast<std::uint32_t>(x87.last_ip);
    case X86Register::foseg:
      return x87.last_ds;
    case X86Register::fooff:
      return static_cast<std::uint32_t>(x87.last_dp);
    default:
      return x87.last_opcode;
  }
}

void write_x87_control(X87State& x87, std::size_t index, std::uint64_t value) {
  // The pointers are shown by their low halves; the high ones stay.
  const auto low_half = [value](std::uint64_t pointer) {
    return (pointer & ~std::uint64_t{0xffffffff}) | static_cast<std::uint32_t>(value);
  };
  const auto word = static_cast<std::uint16_t>(value);
  switch (static_cast<X86Register>(index)) {
    case X86Register::fctrl:
      x87.control = word;
      break;
    case X86Register::fstat:
      x87.status = word;
      break;
    case X86Register::ftag:
      x87.tag = word;
      break;
    case X86Register::fiseg:
      x87.last_cs = word;
      break;
    case X86Register::fioff:
      x87.last_ip = low_half(x87.last_ip);
      break;
    case X86Register::foseg:
      x87.last_ds = word;
      break;
    case X86Register::fooff:
      x87.last_dp = low_half(x87.last_dp);
      break;
    case X86Register::fop:
      x87.last_opcode = word & kX87OpcodeBits;
      break;
    default:
      break;
  }
}

std::uint64_t apic_base(Machine& machine) {
  std::uint64_t value = 0;
  machine.cpu().environment().read_apic_msr(kMsrApicBase, value);
  return value;
}

/// A system register as the state holds it, or null for those that are derived.
const std::uint64_t* system_storage(const CpuState& s, X86Register r) {
  switch (r) {
    case X86Register::fs_base:
      return &s.segment[kFs].base;
    case X86Register::gs_base:
      return &s.segment[kGs].base;
    case X86Register::cr0:
      return &s.cr0;
    case X86Register::cr2:
      return &s.cr2;
    case X86Register::cr3:
      return &s.cr3;
    case X86Register::cr4:
      return &s.cr4;
    case X86Register::efer:
      return &s.msr.efer;
    case X86Register::k_gs_base:
      return &s.msr.kernel_gs_base;
    case X86Register::gdtr_base:
      return &s.gdtr.base;
    case X86Register::idtr_base:
      return &s.idtr.base;
    case X86Register::ldtr_base:
      return &s.ldtr.base;
    case X86Register::tr_base:
      return &s.tr.base;
    case X86Register::cs_base:
      return &s.segment[kCs].base;
    case X86Register::ss_base:
      return &s.segment[kSs].base;
    case X86Register::ds_base:
      return &s.segment[kDs].base;
    case X86Register::es_base:
      return &s.segment[kEs].base;
    case X86Register::dr0:
      return &s.dr[0];
    case X86Register::dr1:
      return &s.dr[1];
    case X86Register::dr2:
      return &s.dr[2];
    case X86Register::dr3:
      return &s.dr[3];
    case X86Register::dr6:
      return &s.dr6;
    case X86Register::dr7:
      return &s.dr7;
    case X86Register::star:
      return &s.msr.star;
    case X86Register::lstar:
      return &s.msr.lstar;
    case X86Register::cstar:
      return &s.msr.cstar;
    case X86Register::sfmask:
      return &s.msr.fmask;
    case X86Register::sysenter_cs:
      return &s.msr.sysenter_cs;
    case X86Register::sysenter_esp:
      return &s.msr.sysenter_esp;
    case X86Register::sysenter_eip:
      return &s.msr.sysenter_eip;
    case X86Register::pat:
      return &s.msr.pat;
    case X86Register::tsc_aux:
      return &s.msr.tsc_aux;
    default:
      return nullptr;
  }
}

std::uint64_t read_system(Machine& machine, X86Register r) {
  const CpuState& s = machine.cpu().state;
  if (const std::uint64_t* storage = system_storage(s, r); storage != nullptr) return *storage;
  switch (r) {
    case X86Register::mxcsr:
      return s.mxcsr;
    case X86Register::cr8:
      return machine.cpu().environment().task_priority();
    case X86Register::gdtr_limit:
      return s.gdtr.limit;
    case X86Register::idtr_limit:
      return s.idtr.limit;
    case X86Register::ldtr:
      return s.ldtr.selector;
    case X86Register::ldtr_limit:
      return s.ldtr.limit;
    case X86Register::tr:
      return s.tr.selector;
    case X86Register::tr_limit:
      return s.tr.limit;
    case X86Register::apic_base:
      return apic_base(machine);
    case X86Register::tsc:
      return machine.now().ns + s.msr.tsc_offset;
    case X86Register::position:
      return machine.position().steps;
    case X86Register::virtual_time_ns:
      return machine.now().ns;
    default:
      return 0;
  }
}

std::uint64_t* system_storage(CpuState& s, X86Register r) {
  return const_cast<std::uint64_t*>(system_storage(std::as_const(s), r));
}

std::uint64_t to_integer(ByteView value) {
  std::uint64_t result = 0;
  std::memcpy(&result, value.data(), std::min<std::size_t>(value.size(), sizeof(result)));
  return result;
}

void put(std::span<std::uint8_t> out, std::uint64_t value) {
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  std::memcpy(out.data(), &value, std::min<std::size_t>(out.size(), sizeof(value)));
}

}  // namespace

bool read_register(Machine& machine, std::size_t index, std::span<std::uint8_t> out) {
  const Cpu& cpu = machine.cpu();
  const CpuState& s = cpu.state;
  if (index >= number(X86Register::count)) return false;
  if (between(index, X86Register::rax, X86Register::r15)) {
    put(out, s.gpr[general(index)]);
  } else if (index == number(X86Register::rip)) {
    put(out, s.gpr[kGprRip]);
  } else if (index == number(X86Register::eflags)) {
    put(out, cpu.flags.value());
  } else if (between(index, X86Register::cs, X86Register::gs)) {
    put(out, s.segment[kSegments[index - number(X86Register::cs)]].selector);
  } else if (between(index, X86Register::st0, X86Register::st7)) {
    const X87Register& st =
        s.x87.st[physical(s.x87, static_cast<unsigned>(index - number(X86Register::st0)))];
    put(out, st.significand);
    if (out.size() >= 10) std::memcpy(out.data() + 8, &st.sign_exponent, 2);
  } else if (between(index, X86Register::fctrl, X86Register::fop)) {
    put(out, read_x87_control(s.x87, index));
  } else if (between(index, X86Register::xmm0, X86Register::xmm15)) {
    const Xmm& xmm = s.xmm[index - number(X86Register::xmm0)];
    put(out, xmm.low);
    if (out.size() >= 16) std::memcpy(out.data() + 8, &xmm.high, 8);
  } else {
    put(out, read_system(machine, static_cast<X86Register>(index)));
  }
  return true;
}

namespace {

/// @return false for a register that cannot be written
bool change_register(Cpu& cpu, std::size_t index, ByteView value) {
  CpuState& s = cpu.state;
  const std::uint64_t integer = to_integer(value);
  if (between(index, X86Register::rax, X86Register::r15)) {
    s.gpr[general(index)] = integer;
  } else if (index == number(X86Register::rip)) {
    if (s.gpr[kGprRip] != integer) cpu.rip_replaced();
    s.gpr[kGprRip] = integer;
    s.halted = false;
  } else if (index == number(X86Register::eflags)) {
    cpu.set_flags(static_cast<std::uint32_t>(integer));
  } else if (between(index, X86Register::st0, X86Register::st7)) {
    X87Register& st =
        s.x87.st[physical(s.x87, static_cast<unsigned>(index - number(X86Register::st0)))];
    st.significand = integer;
    if (value.size() >= 10) std::memcpy(&st.sign_exponent, value.data() + 8, 2);
  } else if (between(index, X86Register::xmm0, X86Register::xmm15)) {
    Xmm& xmm = s.xmm[index - number(X86Register::xmm0)];
    xmm.low = integer;
    if (value.size() >= 16) std::memcpy(&xmm.high, value.data() + 8, 8);
  } else if (between(index, X86Register::fctrl, X86Register::fop)) {
    write_x87_control(s.x87, index, integer);
  } else if (index == number(X86Register::mxcsr)) {
    if ((integer & ~std::uint64_t{0xffff}) != 0) {
      throw Error(ErrorCode::usage, "mxcsr has reserved bits set");
    }
    s.mxcsr = static_cast<std::uint32_t>(integer);
  } else if (std::uint64_t* storage = system_storage(s, static_cast<X86Register>(index));
             storage != nullptr) {
    *storage = integer;
  } else {
    return false;
  }
  return true;
}

}  // namespace

void write_register(Machine& machine, std::size_t index, ByteView value) {
  bool changed = false;
  machine.change_cpu([&](Cpu& cpu) { changed = change_register(cpu, index, value); });
  if (changed) return;
  // Selectors and the like come with hidden parts that a number does not give;
  // writing back what is there is allowed, since clients do that.
  std::array<std::uint8_t, 16> present{};
  const std::span<std::uint8_t> there = std::span(present).first(value.size());
  read_register(machine, index, there);
  if (!std::equal(there.begin(), there.end(), value.begin())) {
    throw Error(ErrorCode::usage, "this register cannot be written");
  }
}

}  // namespace chronovisor::debugger
