#include "vmm/cpu/interpret/system/msr.h"

#include <optional>

#include "vmm/cpu/interpret/system/control_registers.h"
#include "vmm/cpu/state/msr.h"

namespace chronovisor {
namespace {

enum Msr : std::uint32_t {
  kMsrTsc = 0x10,
  kMsrPlatformId = 0x17,
  kMsrTscAdjust = 0x3b,
  kMsrBiosSignId = 0x8b,
  kMsrMtrrCap = 0xfe,
  kMsrSysenterCs = 0x174,
  kMsrSysenterEsp = 0x175,
  kMsrSysenterEip = 0x176,
  kMsrMcgCap = 0x179,
  kMsrMcgStatus = 0x17a,
  kMsrMiscEnable = 0x1a0,
  kMsrDebugControl = 0x1d9,
  kMsrMtrrVariableFirst = 0x200,
  kMsrMtrrVariableLast = 0x20f,
  kMsrMtrrFixed64k = 0x250,
  kMsrMtrrFixed16kFirst = 0x258,
  kMsrMtrrFixed16kLast = 0x259,
  kMsrMtrrFixed4kFirst = 0x268,
  kMsrMtrrFixed4kLast = 0x26f,
  kMsrPat = 0x277,
  kMsrMtrrDefType = 0x2ff,
  kMsrEfer = 0xc0000080,
  kMsrStar = 0xc0000081,
  kMsrLstar = 0xc0000082,
  kMsrCstar = 0xc0000083,
  kMsrFmask = 0xc0000084,
  kMsrFsBase = 0xc0000100,
  kMsrGsBase = 0xc0000101,
  kMsrKernelGsBase = 0xc0000102,
  kMsrTscAux = 0xc0000103,
};

constexpr std::uint64_t kMtrrCapabilities = 0x508;  // 8 variable ranges, fixed ranges, WC
constexpr std::uint64_t kMiscEnableWritable = 1;    // fast strings
constexpr std::uint64_t kMiscEnableFixed = 0x1800;  // no BTS, no PEBS
constexpr std::uint64_t kDebugControlWritable = 3;  // LBR, BTF
constexpr std::uint64_t kMcgStatusWritable = 7;
constexpr std::uint64_t kMtrrDefTypeWritable = 0xcff;  // type, FE, E

bool valid_mtrr_type(std::uint64_t type) {
  return type == 0 || type == 1 || (type >= 4 && type <= 6);
}
bool valid_pat_type(std::uint64_t type) { return valid_mtrr_type(type) || type == 7; }

template <class Valid>
bool every_byte(std::uint64_t value, Valid valid) {
  for (unsigned shift = 0; shift < 64; shift += 8) {
    if (!valid((value >> shift) & 0xff)) return false;
  }
  return true;
}

/// Index in CpuMsrs::mtrr_fixed, if the MSR is a fixed-range MTRR.
std::optional<std::size_t> fixed_mtrr(std::uint32_t index) {
  if (index == kMsrMtrrFixed64k) return 0;
  if (index >= kMsrMtrrFixed16kFirst && index <= kMsrMtrrFixed16kLast) {
    return 1 + (index - kMsrMtrrFixed16kFirst);
  }
  if (index >= kMsrMtrrFixed4kFirst && index <= kMsrMtrrFixed4kLast) {
    return 3 + (index - kMsrMtrrFixed4kFirst);
  }
  return std::nullopt;
}

bool is_variable_mtrr(std::uint32_t index) {
  return index >= kMsrMtrrVariableFirst && index <= kMsrMtrrVariableLast;
}

bool valid_variable_mtrr(std::uint32_t index, std::uint64_t value) {
  const bool mask = (index & 1) != 0;
  const std::uint64_t reserved = kReservedPhysical | (mask ? 0x7ffU : 0xf00U);
  return (value & reserved) == 0 && (mask || valid_mtrr_type(value & 0xff));
}

/// Moves the TSC by `delta`.
void move_tsc(Cpu& cpu, std::uint64_t delta) {
  CpuMsrs& msr = cpu.state.msr;
  msr.tsc_offset += delta;
  msr.tsc_adjust += delta;
  cpu.environment().tsc_offset_changed(msr.tsc_offset);
  cpu.request_recheck();
}

void require(const Cpu& cpu, bool allowed) {
  if (!allowed) cpu.raise_gp0();
}

void set_segment_base(Cpu& cpu, unsigned segment, std::uint64_t value) {
  require(cpu, Cpu::canonical(value));
  cpu.set_segment_base(segment, value);
}

/// A register that holds any canonical address.
void set_address(Cpu& cpu, std::uint64_t& storage, std::uint64_t value) {
  require(cpu, Cpu::canonical(value));
  storage = value;
}

/// A register of which some bits exist and the others must be 0.
void set_masked(Cpu& cpu, std::uint64_t& storage, std::uint64_t value, std::uint64_t writable) {
  require(cpu, (value & ~writable) == 0);
  storage = value;
}

void write_memory_type(Cpu& cpu, std::uint32_t index, std::uint64_t value) {
  CpuMsrs& msr = cpu.state.msr;
  if (index == kMsrPat) {
    require(cpu, every_byte(value, valid_pat_type));
    msr.pat = value;
  } else if (index == kMsrMtrrDefType) {
    require(cpu, (value & ~kMtrrDefTypeWritable) == 0 && valid_mtrr_type(value & 0xff));
    msr.mtrr_def_type = value;
  } else if (is_variable_mtrr(index)) {
    require(cpu, valid_variable_mtrr(index, value));
    msr.mtrr_variable[index - kMsrMtrrVariableFirst] = value;
  } else if (const auto fixed = fixed_mtrr(index)) {
    require(cpu, every_byte(value, valid_mtrr_type));
    msr.mtrr_fixed[*fixed] = value;
  } else {
    cpu.raise_gp0();
  }
}

}  // namespace

std::uint64_t time_stamp_counter(Cpu& cpu) {
  return cpu.environment().now().ns + cpu.state.msr.tsc_offset;
}

std::uint64_t read_msr(Cpu& cpu, std::uint32_t index) {
  const CpuMsrs& msr = cpu.state.msr;
  if (is_apic_msr(index)) {
    std::uint64_t value = 0;
    require(cpu, cpu.environment().read_apic_msr(index, value));
    return value;
  }
  if (is_variable_mtrr(index)) return msr.mtrr_variable[index - kMsrMtrrVariableFirst];
  if (const auto fixed = fixed_mtrr(index)) return msr.mtrr_fixed[*fixed];
  switch (index) {
    case kMsrTsc:
      return time_stamp_counter(cpu);
    case kMsrPlatformId:
      return 0;
    case kMsrTscAdjust:
      return msr.tsc_adjust;
    case kMsrBiosSignId:
      return msr.microcode_revision;
    case kMsrMtrrCap:
      return kMtrrCapabilities;
    case kMsrSysenterCs:
      return msr.sysenter_cs;
    case kMsrSysenterEsp:
      return msr.sysenter_esp;
    case kMsrSysenterEip:
      return msr.sysenter_eip;
    case kMsrMcgCap:
      return 0;
    case kMsrMcgStatus:
      return msr.mcg_status;
    case kMsrMiscEnable:
      return msr.misc_enable | kMiscEnableFixed;
    case kMsrDebugControl:
      return msr.debug_control;
    case kMsrPat:
      return msr.pat;
    case kMsrMtrrDefType:
      return msr.mtrr_def_type;
    case kMsrEfer:
      return msr.efer;
    case kMsrStar:
      return msr.star;
    case kMsrLstar:
      return msr.lstar;
    case kMsrCstar:
      return msr.cstar;
    case kMsrFmask:
      return msr.fmask;
    case kMsrFsBase:
      return cpu.state.segment[kFs].base;
    case kMsrGsBase:
      return cpu.state.segment[kGs].base;
    case kMsrKernelGsBase:
      return msr.kernel_gs_base;
    case kMsrTscAux:
      return msr.tsc_aux;
    default:
      cpu.raise_gp0();
  }
}

void write_msr(Cpu& cpu, std::uint32_t index, std::uint64_t value) {
  CpuMsrs& msr = cpu.state.msr;
  if (is_apic_msr(index)) {
    require(cpu, cpu.environment().write_apic_msr(index, value));
    cpu.request_recheck();
    return;
  }
  switch (index) {
    case kMsrTsc:
      move_tsc(cpu, value - time_stamp_counter(cpu));
      break;
    case kMsrTscAdjust:
      move_tsc(cpu, value - msr.tsc_adjust);
      break;
    case kMsrBiosSignId:
      msr.microcode_revision = value;
      break;
    case kMsrSysenterCs:
      msr.sysenter_cs = value & 0xffffffff;
      break;
    case kMsrSysenterEsp:
      set_address(cpu, msr.sysenter_esp, value);
      break;
    case kMsrSysenterEip:
      set_address(cpu, msr.sysenter_eip, value);
      break;
    case kMsrMcgStatus:
      set_masked(cpu, msr.mcg_status, value, kMcgStatusWritable);
      break;
    case kMsrMiscEnable:
      msr.misc_enable = value & kMiscEnableWritable;
      break;
    case kMsrDebugControl:
      set_masked(cpu, msr.debug_control, value, kDebugControlWritable);
      break;
    case kMsrEfer:
      write_efer(cpu, value);
      break;
    case kMsrStar:
      msr.star = value;
      break;
    case kMsrLstar:
      set_address(cpu, msr.lstar, value);
      break;
    case kMsrCstar:
      set_address(cpu, msr.cstar, value);
      break;
    case kMsrFmask:
      set_masked(cpu, msr.fmask, value, 0xffffffff);
      break;
    case kMsrFsBase:
      set_segment_base(cpu, kFs, value);
      break;
    case kMsrGsBase:
      set_segment_base(cpu, kGs, value);
      break;
    case kMsrKernelGsBase:
      set_address(cpu, msr.kernel_gs_base, value);
      break;
    case kMsrTscAux:
      set_masked(cpu, msr.tsc_aux, value, 0xffffffff);
      break;
    default:
      write_memory_type(cpu, index, value);
      break;
  }
}

}  // namespace chronovisor
