// Owns the register stack: TOP, tags, and the responses to stack faults and
// exceptions. Works on X87State alone, knows neither memory nor Cpu. One
// thread a machine.
#pragma once

#include <cstdint>

#include "vmm/cpu/interpret/x87/bits.h"
#include "vmm/cpu/state/registers.h"

namespace chronovisor::x87 {

inline constexpr unsigned kTagEmpty = 3;

inline unsigned top(const X87State& s) { return (s.status >> 11) & 7U; }
inline void set_top(X87State& s, unsigned value) {
  s.status = static_cast<std::uint16_t>((s.status & ~kSwTop) | ((value & 7U) << 11));
}
inline unsigned physical(const X87State& s, unsigned index) { return (top(s) + index) & 7U; }
inline bool empty(const X87State& s, unsigned index) {
  return ((s.tag >> (2 * physical(s, index))) & 3U) == kTagEmpty;
}
inline const X87Register& get(const X87State& s, unsigned index) {
  return s.st[physical(s, index)];
}
/// The tag a non-empty register shows: 0 valid, 1 zero, 2 special.
constexpr unsigned tag_of(const X87Register& r) {
  const Class c = classify(r);
  return c == Class::normal ? 0 : c == Class::zero ? 1 : 2;
}
inline void set_tag(X87State& s, unsigned index, unsigned tag) {
  const unsigned shift = 2 * physical(s, index);
  s.tag = static_cast<std::uint16_t>((s.tag & ~(3U << shift)) | (tag << shift));
}
inline void set(X87State& s, unsigned index, const X87Register& value) {
  s.st[physical(s, index)] = value;
  set_tag(s, index, tag_of(value));
}
inline void pop(X87State& s) {
  set_tag(s, 0, kTagEmpty);
  set_top(s, top(s) + 1);
}

inline void set_conditions(X87State& s, unsigned mask, unsigned values) {
  s.status = static_cast<std::uint16_t>((s.status & ~mask) | (values & mask));
}
/// ES and B follow from the flags and the masks.
inline void update_summary(X87State& s) {
  const bool pending = (s.status & ~s.control & kSwExceptions) != 0;
  constexpr unsigned kBoth = kSwSummary | kSwBusy;
  s.status = static_cast<std::uint16_t>(pending ? s.status | kBoth : s.status & ~kBoth);
}
/// Adds exception flags.
/// @return those of them that are unmasked
inline unsigned signal(X87State& s, unsigned exceptions) {
  s.status = static_cast<std::uint16_t>(s.status | (exceptions & (kSwExceptions | kSwStackFault)));
  update_summary(s);
  return exceptions & ~s.control & kSwExceptions;
}
/// Stack faults set C1 to their direction.
/// @return whether the masked response is due
inline bool stack_underflow(X87State& s) {
  set_conditions(s, kSwC1, 0);
  return signal(s, kSwInvalid | kSwStackFault) == 0;
}
inline bool stack_overflow(X87State& s) {
  set_conditions(s, kSwC1, kSwC1);
  return signal(s, kSwInvalid | kSwStackFault) == 0;
}

/// Pushes `value`, which raised `exceptions` on its way; handles a full stack.
/// An unmasked denormal operand is pushed all the same, unlike everywhere else.
inline void push(X87State& s, const X87Register& value, unsigned exceptions = 0) {
  X87Register pushed = value;
  if (!empty(s, 7)) {
    if (!stack_overflow(s)) return;
    pushed = kIndefinite;
  } else {
    set_conditions(s, kSwC1, 0);
    if ((signal(s, exceptions) & kSwInvalid) != 0) return;
  }
  set_top(s, top(s) + 7);
  set(s, 0, pushed);
}

/// Registers and words as FNINIT leaves them; the register contents stay.
inline void initialize(X87State& s) {
  s.control = kCwInitial;
  s.status = 0;
  s.tag = 0xffff;
  s.last_opcode = 0;
  s.last_cs = s.last_ds = 0;
  s.last_ip = s.last_dp = 0;
}

/// The tag word as FNSTENV shows it: for the registers that are not empty,
/// what their contents say (MMX instructions leave just "not empty").
inline std::uint16_t visible_tags(const X87State& s) {
  unsigned tags = 0;
  for (unsigned k = 0; k < 8; ++k) {
    const unsigned stored = (s.tag >> (2 * k)) & 3U;
    tags |= (stored == kTagEmpty ? kTagEmpty : tag_of(s.st[k])) << (2 * k);
  }
  return static_cast<std::uint16_t>(tags);
}

}  // namespace chronovisor::x87
