#include "vmm/cpu/code/instruction_effects.h"

#include <vector>

#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kAll = kArithmeticFlags;

/// Flags that condition code `code` looks at. Source: SDM vol. 2, appendix B, "tttn".
std::uint32_t condition_flags(unsigned code) {
  switch (code >> 1 & 7) {
    case 0:
      return kOf;
    case 1:
      return kCf;
    case 2:
      return kZf;
    case 3:
      return kCf | kZf;
    case 4:
      return kSf;
    case 5:
      return kPf;
    case 6:
      return kSf | kOf;
    default:
      return kZf | kSf | kOf;
  }
}

constexpr Operation kAlu[8] = {Operation::add,  Operation::or_, Operation::adc,  Operation::sbb,
                               Operation::and_, Operation::sub, Operation::xor_, Operation::cmp};
constexpr Operation kShifts[8] = {Operation::rol, Operation::ror, Operation::rcl, Operation::rcr,
                                  Operation::shl, Operation::shr, Operation::shl, Operation::sar};

void set_alu_flags(RowEffects& e) {
  e.flags_written = kAll;
  if (e.operation == Operation::adc || e.operation == Operation::sbb) e.flags_read = kCf;
}

void set_shift(RowEffects& e, unsigned digit, ShiftCount count) {
  e.operation = kShifts[digit];
  e.form = Form::rm;
  e.count = count;
  const bool rotate = digit < 4;
  const std::uint32_t touched = rotate ? kCf | kOf : kAll;
  // A count of 0 changes nothing; whether an immediate is 0 is not known from the row.
  if (count == ShiftCount::one) {
    e.flags_written = touched;
  } else {
    e.flags_maybe = touched;
  }
  if (digit == 2 || digit == 3) e.flags_read = kCf;
}

bool primary(const Row& row, RowEffects& e) {
  const unsigned op = row.opcode;
  const auto is = [&](Operation operation, Form form) {
    e.operation = operation;
    e.form = form;
    return true;
  };
  if (op < 0x40 && (op & 7) < 6) {
    static constexpr Form kForms[6] = {Form::rm_reg, Form::rm_reg,      Form::reg_rm,
                                       Form::reg_rm, Form::accumulator, Form::accumulator};
    is(kAlu[op >> 3], kForms[op & 7]);
    set_alu_flags(e);
    return true;
  }
  if (op >= 0x70 && op < 0x80) {
    e.flags_read = condition_flags(op & 15);
    return is(Operation::jcc, Form::none);
  }
  switch (op) {
    case 0x40:
    case 0x48:
      e.flags_written = kAll & ~kCf;
      return is(op == 0x40 ? Operation::inc : Operation::dec, Form::plus_register);
    case 0x50:
      return is(Operation::push, Form::plus_register);
    case 0x58:
      return is(Operation::pop, Form::plus_register);
    case 0x63:
      return row.attributes & kOnly64 ? is(Operation::movsx32, Form::reg_rm) : false;
    case 0x68:
    case 0x6a:
      return is(Operation::push_immediate, Form::none);
    case 0x69:
    case 0x6b:
      e.flags_written = kAll;
      return is(Operation::imul_immediate, Form::reg_rm);
    case 0x80:
    case 0x81:
    case 0x82:
    case 0x83:
      is(kAlu[row.reg], Form::rm_immediate);
      set_alu_flags(e);
      return true;
    case 0x84:
    case 0x85:
      e.flags_written = kAll;
      return is(Operation::test, Form::rm_reg);
    case 0xa8:
    case 0xa9:
      e.flags_written = kAll;
      return is(Operation::test, Form::accumulator);
    case 0x86:
    case 0x87:
      return is(Operation::xchg, Form::rm_reg);
    case 0x88:
    case 0x89:
      return is(Operation::mov, Form::rm_reg);
    case 0x8a:
    case 0x8b:
      return is(Operation::mov, Form::reg_rm);
    case 0x8d:
      return is(Operation::lea, Form::reg_rm);
    case 0x8f:
      return row.reg == 0 ? is(Operation::pop, Form::rm) : false;
    case 0x90:
      return row.prefix == MandatoryPrefix::pf3
                 ? is(Operation::nop, Form::none)
                 : is(Operation::xchg_accumulator, Form::plus_register);
    case 0x98:
      return is(Operation::convert, Form::none);
    case 0x99:
      return is(Operation::extend, Form::none);
    case 0x9e:
      e.flags_written = kAll & ~kOf;
      return is(Operation::sahf, Form::none);
    case 0x9f:
      e.flags_read = kAll & ~kOf;
      return is(Operation::lahf, Form::none);
    case 0xa0:
    case 0xa1:
      return is(Operation::mov_moffs, Form::reg_rm);
    case 0xa2:
    case 0xa3:
      return is(Operation::mov_moffs, Form::rm_reg);
    case 0xb0:
    case 0xb8:
      return is(Operation::mov, Form::plus_register);
    case 0xc0:
    case 0xc1:
      set_shift(e, static_cast<unsigned>(row.reg), ShiftCount::immediate);
      return true;
    case 0xd0:
    case 0xd1:
      set_shift(e, static_cast<unsigned>(row.reg), ShiftCount::one);
      return true;
    case 0xd2:
    case 0xd3:
      set_shift(e, static_cast<unsigned>(row.reg), ShiftCount::cl);
      return true;
    case 0xc2:
      return is(Operation::ret_immediate, Form::none);
    case 0xc3:
      return is(Operation::ret, Form::none);
    case 0xc6:
    case 0xc7:
      return row.reg == 0 ? is(Operation::mov, Form::rm_immediate) : false;
    case 0xc9:
      return is(Operation::leave, Form::none);
    case 0xe0:
    case 0xe1:
    case 0xe2:
      if (op != 0xe2) e.flags_read = kZf;
      return is(Operation::loop, Form::none);
    case 0xe3:
      return is(Operation::jcxz, Form::none);
    case 0xe8:
      return is(Operation::call, Form::none);
    case 0xe9:
    case 0xeb:
      return is(Operation::jmp, Form::none);
    case 0xf5:
      e.flags_read = e.flags_written = kCf;
      return is(Operation::cmc, Form::none);
    case 0xf8:
    case 0xf9:
      e.flags_written = kCf;
      return is(op == 0xf8 ? Operation::clc : Operation::stc, Form::none);
    case 0xf6:
    case 0xf7: {
      static constexpr Operation kUnary[8] = {
          Operation::test, Operation::test,      Operation::not_, Operation::neg,
          Operation::mul,  Operation::imul_wide, Operation::div,  Operation::idiv};
      if (row.reg != 2 && row.reg < 6) e.flags_written = kAll;
      return is(kUnary[row.reg], row.reg < 2 ? Form::rm_immediate : Form::rm);
    }
    case 0xfe:
    case 0xff:
      if (row.reg < 2) {
        e.flags_written = kAll & ~kCf;
        return is(row.reg == 0 ? Operation::inc : Operation::dec, Form::rm);
      }
      if (op == 0xff && row.reg == 2) return is(Operation::call_indirect, Form::rm);
      if (op == 0xff && row.reg == 4) return is(Operation::jmp_indirect, Form::rm);
      if (op == 0xff && row.reg == 6) return is(Operation::push, Form::rm);
      return false;
    default:
      return false;
  }
}

bool map_0f(const Row& row, RowEffects& e) {
  const unsigned op = row.opcode;
  const bool plain = row.prefix == MandatoryPrefix::any || row.prefix == MandatoryPrefix::none;
  const auto is = [&](Operation operation, Form form) {
    e.operation = operation;
    e.form = form;
    return true;
  };
  if (op == 0xb8 && row.prefix == MandatoryPrefix::pf3) {
    e.flags_written = kAll;
    return is(Operation::popcnt, Form::reg_rm);
  }
  if (op == 0xbc || op == 0xbd) {
    e.flags_written = kAll;
    return is(op == 0xbc ? Operation::bsf : Operation::bsr, Form::reg_rm);
  }
  if (!plain) return false;
  if (op >= 0x40 && op < 0x50) {
    e.flags_read = condition_flags(op & 15);
    return is(Operation::cmovcc, Form::reg_rm);
  }
  if (op >= 0x80 && op < 0x90) {
    e.flags_read = condition_flags(op & 15);
    return is(Operation::jcc, Form::none);
  }
  if (op >= 0x90 && op < 0xa0) {
    e.flags_read = condition_flags(op & 15);
    return is(Operation::setcc, Form::rm);
  }
  const auto bit = [&](unsigned digit, Form form) {
    static constexpr Operation kBits[4] = {Operation::bt, Operation::bts, Operation::btr,
                                           Operation::btc};
    e.flags_written = kCf;  // the others are undefined by the manual and kept here
    return is(kBits[digit & 3], form);
  };
  switch (op) {
    case 0x0d:
    case 0x18:
    case 0x19:
    case 0x1a:
    case 0x1b:
    case 0x1c:
    case 0x1d:
    case 0x1e:
    case 0x1f:
      return is(Operation::nop, Form::none);
    case 0xae:
      // LFENCE, MFENCE and SFENCE; the memory forms are other instructions.
      return row.modrm == ModRm::registers && row.reg >= 5 ? is(Operation::nop, Form::none) : false;
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
      return bit(op >> 3, Form::rm_reg);
    case 0xba:
      return bit(static_cast<unsigned>(row.reg), Form::rm_immediate);
    case 0xa4:
    case 0xa5:
    case 0xac:
    case 0xad:
      e.count = (op & 1) != 0 ? ShiftCount::cl : ShiftCount::immediate;
      e.flags_maybe = kAll;
      return is(op < 0xa8 ? Operation::shld : Operation::shrd, Form::rm_reg);
    case 0xaf:
      e.flags_written = kAll;
      return is(Operation::imul, Form::reg_rm);
    case 0xb0:
    case 0xb1:
      e.flags_written = kAll;
      return is(Operation::cmpxchg, Form::rm_reg);
    case 0xc0:
    case 0xc1:
      e.flags_written = kAll;
      return is(Operation::xadd, Form::rm_reg);
    case 0xc7:
      if (row.modrm != ModRm::memory || row.reg != 1) return false;
      e.flags_written = kZf;
      return is(Operation::cmpxchg8b, Form::rm);
    case 0xb6:
      return is(Operation::movzx8, Form::reg_rm);
    case 0xb7:
      return is(Operation::movzx16, Form::reg_rm);
    case 0xbe:
      return is(Operation::movsx8, Form::reg_rm);
    case 0xbf:
      return is(Operation::movsx16, Form::reg_rm);
    case 0xc8:
      return is(Operation::bswap, Form::plus_register);
    default:
      return false;
  }
}

/// Of the SSE and MMX rows, comparisons to the flags alone touch them.
RowEffects sse_effects(const Row& row) {
  RowEffects e;
  const unsigned op = row.opcode;
  const bool to_flags = (row.map == OpcodeMap::map_0f && (op == 0x2e || op == 0x2f)) ||
                        (row.map == OpcodeMap::map_0f38 && op == 0x17) ||
                        (row.map == OpcodeMap::map_0f3a && op >= 0x60 && op <= 0x63);
  if (to_flags) e.flags_written = kAll;
  return e;
}

RowEffects effects_of(const Row& row) {
  RowEffects e;
  bool known = false;
  if (row.map == OpcodeMap::primary) known = primary(row, e);
  if (row.map == OpcodeMap::map_0f) known = map_0f(row, e);
  if (!known) {
    e = RowEffects{};
    e.flags_read = kAll;
    e.flags_maybe = kAll;
  }
  return e;
}

/// Gathers the registers of one instruction.
class Registers {
 public:
  Registers(const Instruction& i, InstructionEffects& out) : i_(i), out_(out) {}

  void read(unsigned guest) { out_.registers_read |= bit(guest); }
  /// A write of `bytes`: less than four keep the rest.
  void write(unsigned guest, unsigned bytes) {
    out_.registers_written |= bit(guest);
    if (bytes < 4) read(guest);
  }
  void write_perhaps(unsigned guest) {
    out_.registers_written |= bit(guest);
    read(guest);
  }
  void read_address() {
    if (i_.base < kGprZero) read(i_.base);
    if (i_.index < kGprZero) read(i_.index);
  }
  void read_rm() {
    if (i_.memory) {
      out_.memory_read = true;
    } else {
      read(i_.rm);
    }
  }
  void write_rm(unsigned bytes) {
    if (i_.memory) {
      out_.memory_written = true;
    } else {
      write(i_.rm, bytes);
    }
  }

 private:
  static std::uint16_t bit(unsigned guest) {
    return static_cast<std::uint16_t>(1U << (guest & 15));
  }
  const Instruction& i_;
  InstructionEffects& out_;
};

bool only_looks(Operation op) { return op == Operation::cmp || op == Operation::test; }

void add_operands(const Instruction& i, const RowEffects& e, InstructionEffects& out) {
  Registers r(i, out);
  const unsigned bytes = i.operand_size;
  const auto push = [&] {
    r.write_perhaps(kRsp);
    out.memory_written = true;
  };
  const auto pop = [&] {
    r.write_perhaps(kRsp);
    out.memory_read = true;
  };
  if (i.memory && e.operation != Operation::nop) r.read_address();
  switch (e.operation) {
    case Operation::other:
    case Operation::nop:
    case Operation::cmc:
    case Operation::clc:
    case Operation::stc:
    case Operation::jcc:
    case Operation::jmp:
      break;
    case Operation::add:
    case Operation::or_:
    case Operation::adc:
    case Operation::sbb:
    case Operation::and_:
    case Operation::sub:
    case Operation::xor_:
    case Operation::cmp:
    case Operation::test: {
      const bool writes = !only_looks(e.operation);
      if (e.form == Form::accumulator) {
        r.read(kRax);
        if (writes) r.write(kRax, bytes);
        break;
      }
      r.read_rm();
      if (e.form != Form::rm_immediate) r.read(i.reg);
      if (!writes) break;
      if (e.form == Form::reg_rm) {
        r.write(i.reg, bytes);
      } else {
        r.write_rm(bytes);
      }
      break;
    }
    case Operation::inc:
    case Operation::dec:
    case Operation::not_:
    case Operation::neg:
      if (e.form == Form::plus_register) {
        r.read(i.reg);
        r.write(i.reg, bytes);
      } else {
        r.read_rm();
        r.write_rm(bytes);
      }
      break;
    case Operation::mul:
    case Operation::imul_wide:
    case Operation::div:
    case Operation::idiv: {
      r.read_rm();
      r.read(kRax);
      r.write(kRax, bytes == 1 ? 2 : bytes);
      const bool divides = e.operation == Operation::div || e.operation == Operation::idiv;
      if (bytes > 1) {
        if (divides) r.read(kRdx);
        r.write(kRdx, bytes);
      }
      out.may_fault = out.may_fault || divides;
      break;
    }
    case Operation::imul:
      r.read(i.reg);
      r.read_rm();
      r.write(i.reg, bytes);
      break;
    case Operation::imul_immediate:
      r.read_rm();
      r.write(i.reg, bytes);
      break;
    case Operation::rol:
    case Operation::ror:
    case Operation::rcl:
    case Operation::rcr:
    case Operation::shl:
    case Operation::shr:
    case Operation::sar:
    case Operation::shld:
    case Operation::shrd:
      r.read_rm();
      if (e.count == ShiftCount::cl) r.read(kRcx);
      if (e.form == Form::rm_reg) r.read(i.reg);
      r.write_rm(bytes);
      break;
    case Operation::bt:
    case Operation::bts:
    case Operation::btr:
    case Operation::btc:
      r.read_rm();
      if (e.form == Form::rm_reg) r.read(i.reg);
      if (e.operation != Operation::bt) r.write_rm(bytes);
      break;
    case Operation::bsf:
    case Operation::bsr:
      r.read_rm();
      r.write_perhaps(i.reg);
      break;
    case Operation::popcnt:
    case Operation::movsx16:
    case Operation::movsx32:
    case Operation::movzx8:
    case Operation::movzx16:
    case Operation::movsx8:
      r.read_rm();
      r.write(i.reg, bytes);
      break;
    case Operation::bswap:
      r.read(i.reg);
      r.write(i.reg, bytes);
      break;
    case Operation::mov:
      if (e.form == Form::plus_register) {
        r.write(i.reg, bytes);
      } else if (e.form == Form::reg_rm) {
        r.read_rm();
        r.write(i.reg, bytes);
      } else {
        if (e.form == Form::rm_reg) r.read(i.reg);
        r.write_rm(bytes);
      }
      break;
    case Operation::mov_moffs:
      if (e.form == Form::reg_rm) {
        r.write(kRax, bytes);
        out.memory_read = true;
      } else {
        r.read(kRax);
        out.memory_written = true;
      }
      break;
    case Operation::lea:
      r.write(i.reg, bytes);
      break;
    case Operation::convert:
      r.read(kRax);
      r.write(kRax, bytes);
      break;
    case Operation::extend:
      r.read(kRax);
      r.write(kRdx, bytes);
      break;
    case Operation::xchg_accumulator:
      r.write_perhaps(kRax);
      r.write_perhaps(i.reg);
      break;
    case Operation::xchg:
    case Operation::xadd:
      r.read_rm();
      r.read(i.reg);
      r.write_rm(bytes);
      r.write(i.reg, bytes);
      break;
    case Operation::cmpxchg:
      r.read_rm();
      r.read(i.reg);
      r.write_perhaps(kRax);
      if (i.memory) {
        out.memory_written = true;
      } else {
        r.write_perhaps(i.rm);
      }
      break;
    case Operation::cmpxchg8b:
      for (const unsigned guest : {kRbx, kRcx}) r.read(guest);
      for (const unsigned guest : {kRax, kRdx}) r.write_perhaps(guest);
      out.memory_read = out.memory_written = true;
      break;
    case Operation::setcc:
      r.write_rm(1);
      break;
    case Operation::cmovcc:
      r.read_rm();
      r.write_perhaps(i.reg);
      break;
    case Operation::lahf:
      r.write_perhaps(kRax);
      break;
    case Operation::sahf:
      r.read(kRax);
      break;
    case Operation::jmp_indirect:
      r.read_rm();
      break;
    case Operation::call_indirect:
      r.read_rm();
      push();
      break;
    case Operation::call:
    case Operation::push_immediate:
      push();
      break;
    case Operation::ret:
    case Operation::ret_immediate:
      pop();
      break;
    case Operation::loop:
      r.write_perhaps(kRcx);
      break;
    case Operation::jcxz:
      r.read(kRcx);
      break;
    case Operation::push:
      if (e.form == Form::plus_register) {
        r.read(i.reg);
      } else {
        r.read_rm();
      }
      push();
      break;
    case Operation::pop:
      pop();
      if (e.form == Form::plus_register) {
        r.write(i.reg, bytes);
      } else {
        r.write_rm(bytes);
      }
      break;
    case Operation::leave:
      r.read(kRbp);
      r.write_perhaps(kRsp);
      r.write(kRbp, bytes);
      out.memory_read = true;
      break;
  }
}

}  // namespace

InstructionEffects instruction_effects(const Instruction& i) {
  const RowEffects& e = row_effects(i.row);
  InstructionEffects out;
  out.flags_read = e.flags_read;
  out.flags_written = e.flags_written;
  out.flags_maybe = e.flags_maybe;
  out.ends_block = (row_attributes(i) & kEndsBlock) != 0;
  if (e.operation == Operation::other) {
    out.registers_read = out.registers_written = 0xffff;
    out.memory_read = out.memory_written = out.may_fault = true;
    return out;
  }
  out.known = true;
  add_operands(i, e, out);
  // A transfer of control faults when it leaves the canonical half or the segment.
  out.may_fault = out.may_fault || out.memory_read || out.memory_written || out.ends_block;
  return out;
}

const RowEffects& row_effects(std::uint16_t row) {
  static const std::vector<RowEffects> effects = [] {
    std::vector<RowEffects> all;
    const std::size_t sse = instruction_table().size() - sse_rows().size();
    for (const Row& r : instruction_table()) {
      all.push_back(all.size() < sse ? effects_of(r) : sse_effects(r));
    }
    RowEffects none;
    none.flags_read = none.flags_maybe = kAll;
    all.push_back(none);
    return all;
  }();
  return row < effects.size() - 1 ? effects[row] : effects.back();
}

}  // namespace chronovisor
