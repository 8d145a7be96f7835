// Operands of all instructions: registers, effective addresses, and the TLB's comparison
// before an access.
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::Reg8;
using Xbyak::RegExp;

}  // namespace

/// `guest` in some host register, to be read. Keeps the host's flags.
Xbyak::Reg BlockEmitter::value(unsigned guest, unsigned bytes, int temporary) {
  if ((guest & kHighByte) != 0) {
    const unsigned g = guest & 15;
    if (Assembler::pinned(g)) {
      a_.mov(a_.at(layout_.scratch, 8), Assembler::host(g, 8));
      a_.movzx(Reg32(temporary), a_.at(layout_.scratch + 1, 1));
    } else {
      a_.movzx(Reg32(temporary), a_.at(static_cast<std::int32_t>(g * 8 + 1), 1));
    }
    return Assembler::sized(temporary, 1);
  }
  if (Assembler::pinned(guest)) return Assembler::host(guest, bytes);
  if (bytes < 4) {
    a_.movzx(Reg32(temporary), a_.slot(guest, bytes));
  } else {
    a_.mov(Assembler::sized(temporary, bytes), a_.slot(guest, bytes));
  }
  return Assembler::sized(temporary, bytes);
}

/// A host register to compute `guest` in; finish_destination() puts it there.
Xbyak::Reg BlockEmitter::destination(unsigned guest, unsigned bytes, int temporary, bool load) {
  if ((guest & kHighByte) == 0 && Assembler::pinned(guest)) return Assembler::host(guest, bytes);
  if (load) {
    const Reg loaded = value(guest, bytes, temporary);
    (void)loaded;
  }
  return Assembler::sized(temporary, bytes);
}
void BlockEmitter::finish_destination(unsigned guest, unsigned bytes, int temporary) {
  if ((guest & kHighByte) == 0 && Assembler::pinned(guest)) return;
  write(guest, bytes, temporary);
}

/// Host register `from` to `guest`. Keeps the host's flags.
void BlockEmitter::write(unsigned guest, unsigned bytes, int from) {
  if ((guest & kHighByte) != 0) {
    const unsigned g = guest & 15;
    if (Assembler::pinned(g)) {
      a_.mov(a_.at(layout_.scratch, 8), Assembler::host(g, 8));
      a_.mov(a_.at(layout_.scratch + 1, 1), Assembler::sized(from, 1));
      a_.mov(Assembler::host(g, 8), a_.at(layout_.scratch, 8));
    } else {
      a_.mov(a_.at(static_cast<std::int32_t>(g * 8 + 1), 1), Assembler::sized(from, 1));
    }
    return;
  }
  if (Assembler::pinned(guest)) {
    if (kHostOf[guest] == from && bytes != 4) return;
    a_.mov(Assembler::host(guest, bytes), Assembler::sized(from, bytes));
    return;
  }
  if (bytes == 4) {
    // The upper half is cleared in a temporary.
    const bool temporary = from == kT0 || from == kT1 || from == kT2;
    const int wide = temporary ? from : kT1;
    a_.mov(Reg32(wide), Reg32(from));
    a_.mov(a_.slot(guest, 8), Reg64(wide));
  } else {
    a_.mov(a_.slot(guest, bytes), Assembler::sized(from, bytes));
  }
}

/// Effective address of the memory operand to T0; T1 is used. Keeps the host's flags.
void BlockEmitter::offset_of(const Instruction& i) {
  const auto in = [&](unsigned guest, int temporary) {
    if (Assembler::pinned(guest)) return Reg64(kHostOf[guest]);
    a_.mov(Reg64(temporary), a_.slot(guest, 8));
    return Reg64(temporary);
  };
  std::int64_t displacement = i.displacement;
  if (i.base == kGprRip) displacement += offset_behind(i);
  RegExp e;
  bool any = false;
  if (i.base == kGprRip) {
    a_.mov(Reg64(kT0), a_.at(layout_.rip_base, 8));
    e = RegExp(Reg64(kT0));
    any = true;
  } else if (i.base != kGprZero) {
    e = RegExp(in(i.base, kT0));
    any = true;
  }
  if (i.index != kGprZero) {
    const Reg64 index = in(i.index, kT1);
    const RegExp scaled = RegExp(index, 1 << i.scale);
    e = any ? e + scaled : scaled;
    any = true;
  }
  const bool wide = i.address_size == 8;
  if (!any) {
    a_.mov(Reg64(kT0), wide ? static_cast<std::uint64_t>(displacement)
                            : std::uint64_t{static_cast<std::uint32_t>(displacement)});
  } else if (displacement != static_cast<std::int32_t>(displacement)) {
    a_.mov(Reg64(kT2), static_cast<std::uint64_t>(displacement));
    a_.lea(Reg64(kT0), a_.ptr[e]);
    a_.lea(Reg64(kT0), a_.ptr[RegExp(Reg64(kT0)) + Reg64(kT2)]);
  } else {
    const Xbyak::Address address = a_.ptr[e + static_cast<std::int32_t>(displacement)];
    if (wide) {
      a_.lea(Reg64(kT0), address);
    } else {
      a_.lea(Reg32(kT0), address);
    }
  }
  if (i.address_size == 2) a_.movzx(Reg32(kT0), Xbyak::Reg16(kT0));
}

/// Makes T0 the host address of the operand, or goes the slow way. Uses all
/// temporaries; the host's flags are lost (settle() first).
void BlockEmitter::memory(const Instruction& i, unsigned bytes, Access access,
                          unsigned alignment_mask) {
  offset_of(i);
  check(i.segment, bytes, access, alignment_mask);
}

/// The same for the offset in T0. An address with any bit of `alignment_mask` goes
/// the slow way.
void BlockEmitter::check(unsigned segment, unsigned bytes, Access access, unsigned alignment_mask) {
  SlowWay& slow = slow_way();
  const Reg64 address(kT0);
  const Reg64 entry(kT1);
  const Reg64 page(kT2);
  if (long64_) {
    if (segment >= kFs) a_.add(address, a_.at(layout_.segment_base[segment], 8));
  } else if (!flat_ || segment >= kFs || (segment == kCs && access == Access::write)) {
    a_.mov(Reg32(kT1), a_.at(layout_.segment_limit[segment], 4));
    a_.lea(page, a_.ptr[address + static_cast<std::int32_t>(bytes - 1)]);
    a_.cmp(page, entry);
    slow.jumps.push_back(a_.jump_if(kIfAbove));
    a_.test(a_.at(layout_.segment_shortcut[segment], 1), access == Access::write ? 2 : 1);
    slow.jumps.push_back(a_.jump_if(kIfZero));
    a_.add(Reg32(kT0), a_.at(layout_.segment_base[segment], 4));
  }
  if (alignment_mask != 0) {
    a_.test(Reg8(kT0), alignment_mask);
    slow.jumps.push_back(a_.jump_if(kIfNotZero));
  }
  static_assert(sizeof(TlbEntry) == 32 && kTlbEntries == 1024);
  const std::uint32_t again = a_.here();
  a_.mov(Reg32(kT1), Reg32(kT0));
  a_.shr(Reg32(kT1), 7);
  a_.and_(Reg32(kT1), 1023U << 5);
  a_.add(entry, a_.at(layout_.tlb, 8));
  if (bytes == 1 || alignment_mask == bytes - 1) {
    a_.mov(page, address);
  } else {
    a_.lea(page, a_.ptr[address + static_cast<std::int32_t>(bytes - 1)]);
  }
  a_.and_(page, static_cast<std::uint32_t>(-4096));
  a_.cmp(page, Assembler::pointed(kT1, 8, access == Access::write ? 8 : 0));
  slow.refills.push_back({a_.jump_if(kIfNotZero), again, bytes, access});
  a_.add(address, Assembler::pointed(kT1, 8, 16));
}

}  // namespace chronovisor::translate
