// Owns the reading of segment and gate descriptors from the GDT and LDT, their
// decoding, and the checks every load of a data or stack segment makes. Must
// not know who transfers control or why; far_transfer and events do. Called by
// the system handlers and event delivery. One thread a machine.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/cpu/cpu.h"

namespace chronovisor {

/// Types of system descriptors (S = 0). Source: SDM vol. 3A, table "System-Segment
/// and Gate-Descriptor Types".
enum SystemType : std::uint8_t {
  kTss16Available = 1,
  kLdtType = 2,
  kTss16Busy = 3,
  kCallGate16 = 4,
  kTaskGate = 5,
  kInterruptGate16 = 6,
  kTrapGate16 = 7,
  kTss32Available = 9,
  kTss32Busy = 11,
  kCallGate32 = 12,
  kInterruptGate32 = 14,
  kTrapGate32 = 15,
};
inline constexpr unsigned kBusyBit = 2;

/// The error code that names a selector; `ext` is 1 while an event that the
/// program did not ask for is being delivered.
constexpr std::uint32_t selector_error(std::uint16_t selector, std::uint32_t ext = 0) {
  return (selector & 0xfffcU) | ext;
}
constexpr bool null_selector(std::uint16_t selector) { return (selector & 0xfffcU) == 0; }
constexpr unsigned requested_privilege(std::uint16_t selector) { return selector & 3U; }

/// A descriptor as it lies in memory. `high` is the second half of a 16-byte
/// one (system descriptors while long mode is active), else 0.
struct Descriptor {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::uint64_t address = 0;  ///< linear address of the first byte

  [[nodiscard]] unsigned type() const { return static_cast<unsigned>(low >> 40) & 0xfU; }
  [[nodiscard]] bool code_or_data() const { return ((low >> 44) & 1) != 0; }
  [[nodiscard]] unsigned dpl() const { return static_cast<unsigned>(low >> 45) & 3U; }
  [[nodiscard]] bool present() const { return ((low >> 47) & 1) != 0; }
  [[nodiscard]] bool long_mode() const { return ((low >> 53) & 1) != 0; }
  [[nodiscard]] bool big() const { return ((low >> 54) & 1) != 0; }
  [[nodiscard]] bool code() const { return code_or_data() && (type() & 8U) != 0; }
  [[nodiscard]] bool conforming() const { return code() && (type() & 4U) != 0; }
  [[nodiscard]] bool readable() const {
    return code_or_data() && ((type() & 8U) == 0 || (type() & 2U) != 0);
  }
  [[nodiscard]] bool writable() const { return code_or_data() && (type() & 0xaU) == 2; }
  [[nodiscard]] bool is_system(unsigned wanted) const {
    return !code_or_data() && type() == wanted;
  }
  /// The last valid offset in bytes.
  [[nodiscard]] std::uint32_t limit() const;
  [[nodiscard]] std::uint64_t base() const;
  /// The hidden part of a segment register loaded from this, accessed bit set
  /// for code and data.
  [[nodiscard]] SegmentRegister segment(std::uint16_t selector) const;

  // Of a gate.
  [[nodiscard]] std::uint16_t gate_selector() const {
    return static_cast<std::uint16_t>(low >> 16);
  }
  [[nodiscard]] std::uint64_t gate_offset() const {
    return (low & 0xffff) | ((low >> 32) & 0xffff0000U) | (high << 32);
  }
  [[nodiscard]] std::uint16_t gate_offset16() const { return static_cast<std::uint16_t>(low); }
  [[nodiscard]] unsigned gate_parameters() const {
    return static_cast<unsigned>(low >> 32) & 0x1fU;
  }
  [[nodiscard]] unsigned gate_ist() const { return static_cast<unsigned>(low >> 32) & 7U; }
};

/// Reads the descriptor of a non-null selector; nothing if it is outside its
/// table. Page faults are raised.
[[nodiscard]] std::optional<Descriptor> find_descriptor(Cpu& cpu, std::uint16_t selector);

/// As find_descriptor, but outside the table raises `vector`(selector | ext).
[[nodiscard]] Descriptor fetch_descriptor(Cpu& cpu, std::uint16_t selector,
                                          std::uint8_t vector = kGeneralProtection,
                                          std::uint32_t ext = 0);

/// Sets the accessed bit in memory, if it is not. May raise a page fault.
void mark_accessed(Cpu& cpu, const Descriptor& descriptor);
/// Sets or clears the busy bit of a TSS descriptor in memory.
void mark_busy(Cpu& cpu, const Descriptor& descriptor, bool busy);

/// True when [offset, offset + size) lies in the segment, by its limit and
/// direction. Does not look at type or presence.
[[nodiscard]] bool within_segment(const SegmentRegister& segment, std::uint64_t offset,
                                  std::uint64_t size);

/// A register for a null selector: as Intel does, base and limit become 0.
constexpr SegmentRegister null_segment(std::uint16_t selector) { return {selector, 0, 0, 0}; }

/// The register a load of `selector` gives in real or virtual-8086 mode. Real
/// mode keeps limit and attributes ("unreal mode" relies on it).
[[nodiscard]] SegmentRegister real_segment(const Cpu& cpu, unsigned index, std::uint16_t selector);
/// The register of virtual-8086 mode.
[[nodiscard]] SegmentRegister virtual8086_segment(std::uint16_t selector);

/// Checks a stack segment selector for privilege `cpl` and returns its register.
/// Raises `vector`(selector | ext), or #SS if it is not present. The selector is
/// not null.
[[nodiscard]] SegmentRegister checked_stack_segment(Cpu& cpu, std::uint16_t selector, unsigned cpl,
                                                    std::uint8_t vector, std::uint32_t ext = 0);
/// Checks a data segment selector (ES, DS, FS, GS) for privilege `cpl`; null
/// gives null_segment. Raises `vector`(selector), or #NP.
[[nodiscard]] SegmentRegister checked_data_segment(Cpu& cpu, std::uint16_t selector, unsigned cpl,
                                                   std::uint8_t vector);

/// Loads ES, SS, DS, FS or GS as MOV does, in any mode, and tells the CPU.
/// Source: SDM vol. 2, "MOV"; vol. 3A, "Segment Loading Instructions in IA-32e Mode".
void load_segment(Cpu& cpu, unsigned index, std::uint16_t selector);

/// After a return to a less privileged level: data registers that the new CPL
/// may not use become null.
void drop_privileged_segments(Cpu& cpu, unsigned cpl);

/// Fixed registers that SYSCALL and the like install.
[[nodiscard]] SegmentRegister flat_code(std::uint16_t selector, unsigned dpl, bool long_mode);
[[nodiscard]] SegmentRegister flat_stack(std::uint16_t selector, unsigned dpl);

}  // namespace chronovisor
