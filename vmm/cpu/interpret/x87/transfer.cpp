#include <array>
#include <utility>

#include "vmm/cpu/interpret/x87/arithmetic.h"
#include "vmm/cpu/interpret/x87/memory_image.h"
#include "vmm/cpu/interpret/x87/support.h"

// Loads, stores, constants, exchanges and conditional moves.
// Source: SDM vol. 2A, "FBLD" to "FXCH".

namespace chronovisor::x87 {
namespace {

template <class T, Source S>
void load_number(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  const T bits = cpu.load_operand<T>(i);
  note_instruction(cpu, i);
  const Outcome loaded = load(S, bits, s.control);
  push(s, loaded.value, loaded.status);
}
void fld_m80(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  const X87Register value = load_extended(cpu, i);
  note_instruction(cpu, i);
  push(s, value);
}
void fbld(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  const X87Register packed = load_extended(cpu, i);
  note_instruction(cpu, i);
  push(s, load_bcd(packed));
}
void fld_sti(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  const unsigned source = i.modrm & 7U;
  if (empty(s, source)) {  // comes before a full stack
    if (stack_underflow(s)) {
      set_top(s, top(s) + 7);
      set(s, 0, kIndefinite);
    }
    return;
  }
  push(s, get(s, source));
}

/// The constants by rounding mode. Source: SDM vol. 2A, "FLD1".
enum class Constant : std::uint8_t { one, l2t, l2e, pi, lg2, ln2, zero };
X87Register constant(Constant which, std::uint16_t control) {
  const Rounding mode = rounding(control);
  const bool up = mode == Rounding::up;
  const bool down = mode == Rounding::down || mode == Rounding::toward_zero;
  switch (which) {
    case Constant::one:
      return {0x8000000000000000, 0x3fff};
    case Constant::l2t:
      return {0xd49a784bcd1b8afe + (up ? 1 : 0), 0x4000};
    case Constant::l2e:
      return {0xb8aa3b295c17f0bc - (down ? 1 : 0), 0x3fff};
    case Constant::pi:
      return {0xc90fdaa22168c235 - (down ? 1 : 0), 0x4000};
    case Constant::lg2:
      return {0x9a209a84fbcff799 - (down ? 1 : 0), 0x3ffd};
    case Constant::ln2:
      return {0xb17217f7d1cf79ac - (down ? 1 : 0), 0x3ffe};
    case Constant::zero:
      break;
  }
  return {0, 0};
}
template <Constant C>
void load_constant(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  push(s, constant(C, s.control));
}

// ============================ stores ==================================================
/// What is stored for an empty register, or nothing if that is unmasked.
Stored indefinite(Destination destination) {
  switch (destination) {
    case Destination::float32:
      return {0xffc00000, {}, 0};
    case Destination::float64:
      return {0xfff8000000000000, {}, 0};
    case Destination::bcd:
      return {0, {0xc000000000000000, 0xffff}, 0};
    default:
      break;
  }
  return {destination == Destination::int16   ? 0x8000U
          : destination == Destination::int32 ? 0x80000000U
                                              : 1ULL << 63,
          {},
          0};
}

/// The exceptions and the bytes of a store, before anything changes.
struct PendingStore {
  Stored stored;
  bool underflow = false;  ///< the register is empty
  bool writes = false;
};
PendingStore prepare(const X87State& s, Destination destination, std::uint16_t control) {
  if (empty(s, 0)) {
    return {indefinite(destination), true, (control & kSwInvalid) != 0};
  }
  const Stored stored = store(destination, get(s, 0), control);
  return {stored, false, (stored.status & ~control & kNoMemoryResult) == 0};
}
void finish(X87State& s, const PendingStore& pending, bool pops) {
  if (pending.underflow) {
    stack_underflow(s);
  } else {
    set_conditions(s, kSwC1, pending.stored.status);
    signal(s, pending.stored.status);
  }
  if (pending.writes && pops) pop(s);
}

enum class Pops : bool { no, yes };
constexpr unsigned kExtendedBytes = 10;

/// After an unmasked exception nothing is stored, but memory that could not be
/// written is a fault all the same, and then the exception did not happen: measured.
void require_writable(Cpu& cpu, const Instruction& i, unsigned size) {
  cpu.probe(i.segment, cpu.effective_address(i), size, Access::write);
}

template <class T, Destination D, Pops P, bool Truncate = false>
void store_number(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  const auto control =
      static_cast<std::uint16_t>(Truncate ? s.control | kCwRounding : unsigned{s.control});
  const PendingStore pending = prepare(s, D, control);
  if (pending.writes) {
    cpu.store_operand<T>(i, static_cast<T>(pending.stored.bits));
  } else {
    require_writable(cpu, i, sizeof(T));
  }
  note_instruction(cpu, i);
  finish(s, pending, P == Pops::yes);
}
void fstp_m80(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  const bool underflow = empty(s, 0);
  PendingStore pending{{}, underflow, !underflow || (s.control & kSwInvalid) != 0};
  if (pending.writes) {
    store_extended(cpu, i, underflow ? kIndefinite : get(s, 0));
  } else {
    require_writable(cpu, i, kExtendedBytes);
  }
  note_instruction(cpu, i);
  finish(s, pending, true);
}
void fbstp(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  const PendingStore pending = prepare(s, Destination::bcd, s.control);
  if (pending.writes) {
    store_extended(cpu, i, pending.stored.packed);
  } else {
    require_writable(cpu, i, kExtendedBytes);
  }
  note_instruction(cpu, i);
  finish(s, pending, true);
}

template <Pops P>
void fst_sti(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  X87Register value = get(s, 0);
  if (empty(s, 0)) {
    if (!stack_underflow(s)) return;
    value = kIndefinite;
  } else {
    set_conditions(s, kSwC1, 0);
  }
  set(s, i.modrm & 7U, value);
  if constexpr (P == Pops::yes) pop(s);
}
/// D9 D8+i, an undocumented FSTP: an empty ST(0) is popped without a fault and
/// without a copy.
void fstpnce(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  const unsigned index = i.modrm & 7U;
  set_conditions(s, kSwC1, 0);
  if (!empty(s, 0)) set(s, index, get(s, 0));
  pop(s);
}

void fxch(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  const unsigned index = i.modrm & 7U;
  X87Register first = get(s, 0);
  X87Register second = get(s, index);
  if (empty(s, 0) || empty(s, index)) {
    if (!stack_underflow(s)) return;
    if (empty(s, 0)) first = kIndefinite;
    if (empty(s, index)) second = kIndefinite;
  } else {
    set_conditions(s, kSwC1, 0);
  }
  set(s, index, first);
  set(s, 0, second);
}

/// FCMOVcc: B, E, BE, U and their opposites. A move that is not done still
/// needs both registers. C1 changes only in a fault.
template <unsigned Condition, bool Wanted>
void fcmov(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  const unsigned index = i.modrm & 7U;
  if (empty(s, 0) || empty(s, index)) {
    if (stack_underflow(s)) set(s, 0, kIndefinite);
    return;
  }
  const std::array<bool, 4> conditions{cpu.flags.cf(), cpu.flags.zf(),
                                       cpu.flags.cf() || cpu.flags.zf(), cpu.flags.pf()};
  if (conditions[Condition] == Wanted) set(s, 0, get(s, index));
}

}  // namespace

std::span<const Row> transfer_rows() {
  using u16 = std::uint16_t;
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  using D = Destination;
  constexpr Pops kKeep = Pops::no;
  constexpr Pops kPop = Pops::yes;
  static const std::array kRows{
      memory_row("fld m32", 0xd9, 0, &load_number<u32, Source::float32>),
      memory_row("fld m64", 0xdd, 0, &load_number<u64, Source::float64>),
      memory_row("fld m80", 0xdb, 5, &fld_m80),
      memory_row("fild m16", 0xdf, 0, &load_number<u16, Source::int16>),
      memory_row("fild m32", 0xdb, 0, &load_number<u32, Source::int32>),
      memory_row("fild m64", 0xdf, 5, &load_number<u64, Source::int64>),
      memory_row("fbld m80", 0xdf, 4, &fbld),
      memory_row("fst m32", 0xd9, 2, &store_number<u32, D::float32, kKeep>),
      memory_row("fstp m32", 0xd9, 3, &store_number<u32, D::float32, kPop>),
      memory_row("fst m64", 0xdd, 2, &store_number<u64, D::float64, kKeep>),
      memory_row("fstp m64", 0xdd, 3, &store_number<u64, D::float64, kPop>),
      memory_row("fstp m80", 0xdb, 7, &fstp_m80),
      memory_row("fist m16", 0xdf, 2, &store_number<u16, D::int16, kKeep>),
      memory_row("fistp m16", 0xdf, 3, &store_number<u16, D::int16, kPop>),
      memory_row("fist m32", 0xdb, 2, &store_number<u32, D::int32, kKeep>),
      memory_row("fistp m32", 0xdb, 3, &store_number<u32, D::int32, kPop>),
      memory_row("fistp m64", 0xdf, 7, &store_number<u64, D::int64, kPop>),
      memory_row("fisttp m16", 0xdf, 1, &store_number<u16, D::int16, kPop, true>),
      memory_row("fisttp m32", 0xdb, 1, &store_number<u32, D::int32, kPop, true>),
      memory_row("fisttp m64", 0xdd, 1, &store_number<u64, D::int64, kPop, true>),
      memory_row("fbstp m80", 0xdf, 6, &fbstp),
      register_row("fld st(i)", 0xd9, 0, &fld_sti),
      register_row("fst st(i)", 0xdd, 2, &fst_sti<kKeep>),
      register_row("fstp st(i)", 0xdd, 3, &fst_sti<kPop>),
      register_row("fstp1 st(i)", 0xd9, 3, &fstpnce),
      register_row("fstp8 st(i)", 0xdf, 2, &fst_sti<kPop>),
      register_row("fstp9 st(i)", 0xdf, 3, &fst_sti<kPop>),
      register_row("fxch st(i)", 0xd9, 1, &fxch),
      register_row("fxch4 st(i)", 0xdd, 1, &fxch),
      register_row("fxch7 st(i)", 0xdf, 1, &fxch),
      register_row("fld1", 0xd9, 5, &load_constant<Constant::one>, 0),
      register_row("fldl2t", 0xd9, 5, &load_constant<Constant::l2t>, 1),
      register_row("fldl2e", 0xd9, 5, &load_constant<Constant::l2e>, 2),
      register_row("fldpi", 0xd9, 5, &load_constant<Constant::pi>, 3),
      register_row("fldlg2", 0xd9, 5, &load_constant<Constant::lg2>, 4),
      register_row("fldln2", 0xd9, 5, &load_constant<Constant::ln2>, 5),
      register_row("fldz", 0xd9, 5, &load_constant<Constant::zero>, 6),
      register_row("fcmovb st(i)", 0xda, 0, &fcmov<0, true>),
      register_row("fcmove st(i)", 0xda, 1, &fcmov<1, true>),
      register_row("fcmovbe st(i)", 0xda, 2, &fcmov<2, true>),
      register_row("fcmovu st(i)", 0xda, 3, &fcmov<3, true>),
      register_row("fcmovnb st(i)", 0xdb, 0, &fcmov<0, false>),
      register_row("fcmovne st(i)", 0xdb, 1, &fcmov<1, false>),
      register_row("fcmovnbe st(i)", 0xdb, 2, &fcmov<2, false>),
      register_row("fcmovnu st(i)", 0xdb, 3, &fcmov<3, false>),
  };
  return kRows;
}

}  // namespace chronovisor::x87
