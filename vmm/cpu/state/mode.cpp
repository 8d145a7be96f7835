#include "vmm/cpu/state/mode.h"

namespace chronovisor {

void ProcessorMode::derive(const CpuState& state, const Flags& flags) {
  if ((state.cr0 & kCr0Pe) == 0) {
    mode_ = CpuMode::real;
    cpl_ = 0;
  } else if (flags.test(kVm)) {
    mode_ = CpuMode::virtual8086;
    cpl_ = 3;
  } else if ((state.msr.efer & kEferLma) == 0) {
    mode_ = CpuMode::protected_mode;
  } else {
    mode_ = state.segment[kCs].long_mode() ? CpuMode::long64 : CpuMode::compatibility;
  }
  const bool wide = mode_ == CpuMode::long64;
  code_width_ = wide || state.segment[kCs].big() ? 4 : 2;
  stack_width_ = wide ? 8 : (state.segment[kSs].big() ? 4 : 2);
  for (unsigned index = 0; index < kSegmentCount; ++index) derive_segment(state, index);
  key_ = ModeKey(mode_, code_width_, cpl_);
}

void ProcessorMode::derive_segment(const CpuState& state, unsigned segment) {
  const SegmentRegister& s = state.segment[segment];
  segment_base_[segment] = mode_ == CpuMode::long64 && segment < kFs ? 0 : s.base;
  std::uint8_t shortcut = kReadable | kWritable;
  if (mode_ == CpuMode::protected_mode || mode_ == CpuMode::compatibility) {
    const bool code = (s.type() & 8) != 0;
    const bool usable = s.present() && s.code_or_data() && (code || (s.type() & 4) == 0);
    shortcut = 0;
    if (usable && (!code || (s.type() & 2) != 0)) shortcut |= kReadable;
    if (usable && !code && (s.type() & 2) != 0) shortcut |= kWritable;
  } else if (s.code_or_data() && (s.type() & 0xc) == 4) {
    shortcut = 0;  // expand-down, left over from protected mode
  }
  shortcut_[segment] = shortcut;
}

}  // namespace chronovisor
