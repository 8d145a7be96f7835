// Owns RFLAGS. The arithmetic flags are kept as the last result and its carry
// bits and are worked out only when someone looks; everything else is plain
// bits. Exact at every step. One thread a machine.
//
// result_  : the result, sign-extended to 64 bits. ZF and SF come from it.
// carries_ : bit 63 CF; bit 62 the carry into the most significant bit
//            (OF = bit 63 ^ bit 62); bits 15:8 a byte to XOR into the low
//            result byte before taking its parity; bit 3 AF; bit 0 flips SF.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "vmm/cpu/state/registers.h"

namespace chronovisor {

class Cpu;

class Flags {
 public:
  // --- results of arithmetic -------------------------------------------------
  /// result = a + b (+ carry in): sets all six flags.
  template <class T>
  void set_add(T a, T b, T result) {
    set_carries<T>((a & b) | ((a | b) & static_cast<T>(~result)), result);
  }
  /// result = a - b (- borrow in): sets all six flags.
  template <class T>
  void set_sub(T a, T b, T result) {
    const T na = static_cast<T>(~a);
    set_carries<T>(static_cast<T>((na & b) | ((na | b) & result)), result);
  }
  /// AND, OR, XOR, TEST: CF = OF = 0; AF (undefined) = 0.
  template <class T>
  void set_logic(T result) {
    result_ = extend(result);
    carries_ = 0;
  }
  /// INC and DEC: as set_add or set_sub with 1, but CF stays.
  template <class T>
  void set_inc(T result) {
    const bool carry = cf();
    set_add<T>(static_cast<T>(result - 1), 1, result);
    set_cf(carry);
  }
  template <class T>
  void set_dec(T result) {
    const bool carry = cf();
    set_sub<T>(static_cast<T>(result + 1), 1, result);
    set_cf(carry);
  }
  /// ZF, SF and PF from the result; CF, OF and AF as given.
  template <class T>
  void set_result(T result, bool carry, bool overflow, bool adjust = false) {
    result_ = extend(result);
    carries_ = (std::uint64_t{carry} << 63) | (std::uint64_t{carry != overflow} << 62) |
               (std::uint64_t{adjust} << 3);
  }

  // --- single flags -------------------------------------------------------------
  [[nodiscard]] bool cf() const { return (carries_ >> 63) != 0; }
  [[nodiscard]] bool of() const { return (((carries_ << 1) ^ carries_) >> 63) != 0; }
  [[nodiscard]] bool zf() const { return result_ == 0; }
  [[nodiscard]] bool sf() const { return ((result_ >> 63) ^ (carries_ & 1)) != 0; }
  [[nodiscard]] bool af() const { return (carries_ & 8) != 0; }
  [[nodiscard]] bool pf() const {
    return (std::popcount(static_cast<std::uint8_t>(result_ ^ (carries_ >> 8))) & 1) == 0;
  }
  void set_cf(bool value) {
    const bool overflow = of();
    carries_ = (carries_ & ~(3ULL << 62)) | (std::uint64_t{value} << 63) |
               (std::uint64_t{value != overflow} << 62);
  }
  void set_of(bool value) {
    carries_ = (carries_ & ~(1ULL << 62)) | (std::uint64_t{cf() != value} << 62);
  }
  void set_zf(bool value) { set_arithmetic((arithmetic() & ~kZf) | (value ? kZf : 0U)); }

  /// A condition code 0-15 as in Jcc. Source: SDM vol. 2, appendix B, "tttn".
  [[nodiscard]] bool condition(unsigned code) const {
    bool value = false;
    switch (code >> 1) {
      case 0:
        value = of();
        break;
      case 1:
        value = cf();
        break;
      case 2:
        value = zf();
        break;
      case 3:
        value = cf() || zf();
        break;
      case 4:
        value = sf();
        break;
      case 5:
        value = pf();
        break;
      case 6:
        value = sf() != of();
        break;
      default:
        value = zf() || sf() != of();
        break;
    }
    return value != ((code & 1) != 0);
  }

  // --- the whole register ---------------------------------------------------------
  [[nodiscard]] std::uint32_t arithmetic() const {
    return (cf() ? kCf : 0U) | (pf() ? kPf : 0U) | (af() ? kAf : 0U) | (zf() ? kZf : 0U) |
           (sf() ? kSf : 0U) | (of() ? kOf : 0U);
  }
  void set_arithmetic(std::uint32_t bits) {
    result_ = (bits & kZf) != 0 ? 0 : 0x100;  // low byte 0 has even parity, sign is flipped below
    const bool carry = (bits & kCf) != 0;
    carries_ = (std::uint64_t{carry} << 63) | (std::uint64_t{carry != ((bits & kOf) != 0)} << 62) |
               ((bits & kPf) != 0 ? 0U : 0x100U) | ((bits & kAf) != 0 ? 8U : 0U) |
               ((bits & kSf) != 0 ? 1U : 0U);
  }
  [[nodiscard]] std::uint32_t value() const { return other_ | arithmetic() | kFlagsAlwaysOne; }
  /// The bits that are not arithmetic: TF, IF, DF, IOPL, NT, RF, VM, AC, ...
  [[nodiscard]] std::uint32_t other() const { return other_; }
  [[nodiscard]] bool test(std::uint32_t other_bits) const { return (other_ & other_bits) != 0; }
  /// Changes one of them, but those that the mode follows from.
  template <std::uint32_t OtherBit>
  void assign(bool on) {
    static_assert((OtherBit & (kArithmeticFlags | kOfMode)) == 0, "Cpu::set_flags() does that");
    other_ = on ? (other_ | OtherBit) : (other_ & ~OtherBit);
  }
  /// Changed through the Cpu alone, which derives its mode again.
  static constexpr std::uint32_t kOfMode = kVm | kAc;
  [[nodiscard]] unsigned iopl() const { return (other_ & kIoplMask) >> 12; }

 private:
  friend class Cpu;
  void set(std::uint32_t rflags) {
    set_arithmetic(rflags);
    other_ = rflags & ~(kArithmeticFlags | kFlagsAlwaysOne);
  }
  void change(std::uint32_t clear, std::uint32_t set) { other_ = (other_ & ~clear) | set; }

  template <class T>
  static std::uint64_t extend(T value) {
    return static_cast<std::uint64_t>(
        static_cast<std::int64_t>(static_cast<std::make_signed_t<T>>(value)));
  }
  template <class T>
  void set_carries(T carry_vector, T result) {
    constexpr unsigned kShift = 64 - 8 * sizeof(T);
    result_ = extend(result);
    carries_ = ((std::uint64_t{carry_vector} << kShift) & (3ULL << 62)) |
               (std::uint64_t{carry_vector} & 8U);
  }

  std::uint64_t result_ = 1;
  std::uint64_t carries_ = 0;
  std::uint32_t other_ = 0;
};

}  // namespace chronovisor
