// Owns what follows from the registers: the mode, the privilege level, the widths
// of code and stack, where segments begin, and the key that says for which mode
// code was decoded. Knows no memory. One thread a machine.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/cpu/state/flags.h"
#include "vmm/cpu/state/registers.h"

namespace chronovisor {

enum class CpuMode : std::uint8_t { real, virtual8086, protected_mode, compatibility, long64 };

/// What was learnt about so many address spaces is kept while others run.
inline constexpr unsigned kAddressSpaces = 8;

/// What of the processor's mode decides how bytes decode.
struct DecodeMode {
  bool long64 = false;
  bool protected_mode = false;  ///< and not virtual-8086
  std::uint8_t code_width = 2;  ///< CS.D: 2 or 4 bytes (4 in 64-bit mode)
};

/// All that decoding and fetching at a linear address depend on, in four bits.
class ModeKey {
 public:
  static constexpr unsigned kBits = 4;

  constexpr ModeKey() = default;
  constexpr ModeKey(CpuMode mode, unsigned code_width, unsigned cpl) {
    const bool typed = mode != CpuMode::real && mode != CpuMode::virtual8086;
    bits_ = static_cast<std::uint8_t>((mode == CpuMode::long64 ? kLong64 : 0U) |
                                      (typed ? kProtected : 0U) | (code_width == 4 ? kCode32 : 0U) |
                                      (cpl == 3 ? kUser : 0U));
  }
  [[nodiscard]] constexpr std::uint64_t bits() const { return bits_; }
  [[nodiscard]] constexpr bool user() const { return (bits_ & kUser) != 0; }
  /// Without the privilege: what decoding alone depends on.
  [[nodiscard]] constexpr std::uint64_t decoding() const { return bits_ & ~kUser; }
  [[nodiscard]] constexpr DecodeMode decode_mode() const {
    return {(bits_ & kLong64) != 0, (bits_ & kProtected) != 0,
            static_cast<std::uint8_t>((bits_ & kCode32) != 0 ? 4 : 2)};
  }
  bool operator==(const ModeKey&) const = default;

 private:
  static constexpr std::uint64_t kLong64 = 1, kProtected = 2, kCode32 = 4, kUser = 8;
  std::uint8_t bits_ = 0;
};

class ProcessorMode {
 public:
  [[nodiscard]] CpuMode mode() const { return mode_; }
  [[nodiscard]] bool long64() const { return mode_ == CpuMode::long64; }
  /// Segments are described by descriptors: neither real nor virtual-8086 mode.
  [[nodiscard]] bool typed() const {
    return mode_ != CpuMode::real && mode_ != CpuMode::virtual8086;
  }
  [[nodiscard]] unsigned cpl() const { return cpl_; }
  [[nodiscard]] unsigned stack_width() const { return stack_width_; }
  [[nodiscard]] unsigned code_width() const { return code_width_; }
  [[nodiscard]] ModeKey key() const { return key_; }
  /// What is added to an offset: 0 for ES, CS, SS and DS in 64-bit mode.
  [[nodiscard]] const std::uint64_t& segment_base(unsigned segment) const {
    return segment_base_[segment];
  }
  /// Bit 0: offsets within the limit may be read without a further check; bit 1: written.
  [[nodiscard]] const std::uint8_t& shortcut(unsigned segment) const { return shortcut_[segment]; }
  [[nodiscard]] bool plainly_readable(unsigned segment) const {
    return (shortcut_[segment] & kReadable) != 0;
  }
  [[nodiscard]] bool plainly_writable(unsigned segment) const {
    return (shortcut_[segment] & kWritable) != 0;
  }

  /// CPL as whoever loads CS knows it; derive() makes it fit the mode.
  void set_cpl(unsigned cpl) { cpl_ = static_cast<std::uint8_t>(cpl); }
  /// From CR0, EFER, RFLAGS.VM, all segment registers and CPL.
  void derive(const CpuState& state, const Flags& flags);
  /// From one segment register, not CS or SS.
  void derive_segment(const CpuState& state, unsigned segment);

 private:
  static constexpr std::uint8_t kReadable = 1, kWritable = 2;

  CpuMode mode_ = CpuMode::real;
  std::uint8_t cpl_ = 0;
  std::uint8_t stack_width_ = 2;
  std::uint8_t code_width_ = 2;
  ModeKey key_;
  std::array<std::uint64_t, 8> segment_base_{};
  std::array<std::uint8_t, 8> shortcut_{};
};

}  // namespace chronovisor
