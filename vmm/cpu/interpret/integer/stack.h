// Owns PUSH and POP in all forms but segment registers, PUSHF and POPF, ENTER
// and LEAVE. Stateless.
#pragma once

#include <array>

#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

struct PushPlusRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.push<T>(cpu.reg<T>(i.reg));
  }
};
struct PopPlusRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.reg, cpu.pop<T>());
  }
};
struct PushImmediate {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.push<T>(static_cast<T>(i.immediate));
  }
};
template <class Source>
struct Push {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.push<T>(Source::template load<T>(cpu, i));
  }
};
struct PopRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.rm, cpu.pop<T>());
  }
};
struct PopMemory {
  /// An address based on rSP sees it already incremented.
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const u64 old_rsp = cpu.gpr(kRsp);
    const T value = cpu.pop<T>();
    const u64 new_rsp = cpu.gpr(kRsp);
    const u64 offset = cpu.effective_address(i);
    cpu.gpr(kRsp) = old_rsp;  // until the store is certain
    cpu.store<T>(i.segment, offset, value);
    cpu.gpr(kRsp) = new_rsp;
  }
};

/// PUSHA, PUSHAD. Checks all eight slots first, so that a fault leaves no trace.
struct PushAll {
  template <class T>
  static void run(Cpu& cpu, const Instruction& /*i*/) {
    const u64 rsp = cpu.gpr(kRsp);
    const auto slot = [&](unsigned k) {
      return Cpu::cut(rsp - (k + 1) * sizeof(T), cpu.stack_width());
    };
    for (unsigned k = 0; k < 8; ++k) cpu.probe(kSs, slot(k), sizeof(T), Access::write);
    for (unsigned k = 0; k < 8; ++k) cpu.store<T>(kSs, slot(k), cpu.reg<T>(k));
    cpu.set_stack_pointer(slot(7));
  }
};
struct PopAll {
  template <class T>
  static void run(Cpu& cpu, const Instruction& /*i*/) {
    const u64 rsp = cpu.gpr(kRsp);
    std::array<T, 8> values{};
    for (unsigned k = 0; k < 8; ++k) {
      values[k] = cpu.load<T>(kSs, Cpu::cut(rsp + k * sizeof(T), cpu.stack_width()));
    }
    for (unsigned k = 0; k < 8; ++k) {
      if (7 - k != kRsp) cpu.set_reg<T>(7 - k, values[k]);
    }
    cpu.set_stack_pointer(rsp + 8 * sizeof(T));
  }
};

inline void check_flags_access(const Cpu& cpu) {
  if (cpu.virtual8086() && cpu.flags.iopl() < 3) cpu.raise_gp0();
}
struct PushFlags {
  template <class T>
  static void run(Cpu& cpu, const Instruction& /*i*/) {
    check_flags_access(cpu);
    cpu.push<T>(static_cast<T>(cpu.flags.value() & ~(kVm | kRf)));
  }
};
/// Source: SDM vol. 2B, "POPF", table of effects; without CR4.VME and CR4.PVI.
struct PopFlags {
  template <class T>
  static void run(Cpu& cpu, const Instruction& /*i*/) {
    check_flags_access(cpu);
    const u32 popped = static_cast<u32>(cpu.pop<T>());
    u32 writable = kArithmeticFlags | kTf | kDf | kNt;
    if constexpr (sizeof(T) > 2) writable |= kAc | kId;
    const unsigned cpl = cpu.protected_mode() ? cpu.cpl() : 0;
    if (cpl == 0) writable |= kIoplMask;
    if (cpl <= cpu.flags.iopl()) writable |= kIf;
    const u32 old = cpu.flags.value();
    const u32 now = (old & ~writable & ~u32{kRf}) | (popped & writable);
    cpu.set_flags(now);
  }
};

/// Checks every access first; then pushes in the manual's order, since the
/// frame it copies from may overlap the one it builds.
/// Source: SDM vol. 2A, "ENTER".
struct Enter {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const unsigned level = i.immediate2 & 31U;
    const unsigned width = cpu.stack_width();
    const unsigned pushes = level + 1;
    const u64 rsp = cpu.gpr(kRsp);
    const u64 rbp = cpu.gpr(kRbp);
    const auto below = [width](u64 from, u64 bytes) { return Cpu::cut(from - bytes, width); };
    const u64 final_rsp = below(rsp, pushes * sizeof(T) + i.immediate);
    cpu.probe(kSs, below(rsp, sizeof(T)), sizeof(T), Access::write);
    for (unsigned k = 1; k < pushes; ++k) {
      if (k < level) cpu.probe(kSs, below(rbp, k * sizeof(T)), sizeof(T), Access::read);
      cpu.probe(kSs, below(rsp, (k + 1) * sizeof(T)), sizeof(T), Access::write);
    }
    cpu.probe(kSs, final_rsp, sizeof(T), Access::write);

    cpu.store<T>(kSs, below(rsp, sizeof(T)), static_cast<T>(rbp));
    cpu.set_stack_pointer(rsp - sizeof(T));
    const T frame = cpu.reg<T>(kRsp);
    for (unsigned k = 1; k < level; ++k) {
      const T copied = cpu.load<T>(kSs, below(rbp, k * sizeof(T)));
      cpu.store<T>(kSs, below(rsp, (k + 1) * sizeof(T)), copied);
    }
    if (level != 0) cpu.store<T>(kSs, below(rsp, pushes * sizeof(T)), frame);
    cpu.set_reg<T>(kRbp, frame);
    cpu.set_stack_pointer(final_rsp);
  }
};
struct Leave {
  template <class T>
  static void run(Cpu& cpu, const Instruction& /*i*/) {
    const u64 frame = Cpu::cut(cpu.gpr(kRbp), cpu.stack_width());
    const T saved = cpu.load<T>(kSs, frame);
    cpu.set_stack_pointer(frame + sizeof(T));
    cpu.set_reg<T>(kRbp, saved);
  }
};

}  // namespace chronovisor::execute
