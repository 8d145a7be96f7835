#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/interpret/integer/arithmetic.h"
#include "vmm/cpu/interpret/integer/bcd.h"
#include "vmm/cpu/interpret/integer/bits.h"
#include "vmm/cpu/interpret/integer/conditions.h"
#include "vmm/cpu/interpret/integer/data_movement.h"
#include "vmm/cpu/interpret/integer/multiply.h"
#include "vmm/cpu/interpret/integer/operand.h"
#include "vmm/cpu/interpret/integer/shifts.h"
#include "vmm/cpu/interpret/integer/strings.h"

// Source: SDM vol. 2D, appendix A, "Opcode Map"; undefined flags from vol. 1,
// appendix A, "EFLAGS Cross-Reference", and the instruction pages.

namespace chronovisor {
namespace {

using namespace execute;
using Rows = std::vector<Row>;

constexpr u32 kBitTestUndefined = kOf | kSf | kAf | kPf;
constexpr OpcodeMap k0f = OpcodeMap::map_0f;
constexpr OpcodeMap k0f38 = OpcodeMap::map_0f38;

// A family for `rm` as a register and as memory.
template <template <class> class Family>
constexpr Handlers kBySource = kAllForms<Family<InRegister>, Family<InMemory>>;
template <template <class> class Family>
constexpr Handlers kWordBySource = kWordForms<Family<InRegister>, Family<InMemory>>;

/// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP: six opcodes from `base` and the /digit
/// of the immediate group.
template <class Op>
void add_alu(Rows& rows, std::string_view name, u8 base, std::int8_t digit, u32 undefined) {
  const u32 lock = Op::kWrites ? kLockable : 0U;
  const auto opcode = [base](unsigned k) { return static_cast<u8>(base + k); };
  constexpr Handlers kRmReg = kAllForms<AluRegister<Op, SecondIsReg>, AluMemory<Op, SecondIsReg>>;
  constexpr Handlers kRegRm = kAllForms<AluToReg<Op, InRegister>, AluToReg<Op, InMemory>>;
  constexpr Handlers kRmImm =
      kAllForms<AluRegister<Op, SecondIsImmediate>, AluMemory<Op, SecondIsImmediate>>;
  constexpr Handlers kAccumulator = kAllSame<AluAccumulator<Op>>;
  const Rows added{
      {.name = name,
       .opcode = opcode(0),
       .modrm = ModRm::any,
       .attributes = kByteOperand | lock | kUserMode,
       .handlers = kRmReg,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = opcode(1),
       .modrm = ModRm::any,
       .attributes = lock | kUserMode,
       .handlers = kRmReg,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = opcode(2),
       .modrm = ModRm::any,
       .attributes = kByteOperand | kUserMode,
       .handlers = kRegRm,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = opcode(3),
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kRegRm,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = opcode(4),
       .immediate = Immediate::imm8,
       .attributes = kByteOperand | kUserMode,
       .handlers = kAccumulator,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = opcode(5),
       .immediate = Immediate::imm_z,
       .attributes = kUserMode,
       .handlers = kAccumulator,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = 0x80,
       .modrm = ModRm::any,
       .reg = digit,
       .immediate = Immediate::imm8,
       .attributes = kByteOperand | lock | kUserMode,
       .handlers = kRmImm,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = 0x81,
       .modrm = ModRm::any,
       .reg = digit,
       .immediate = Immediate::imm_z,
       .attributes = lock | kUserMode,
       .handlers = kRmImm,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = 0x82,
       .modrm = ModRm::any,
       .reg = digit,
       .immediate = Immediate::imm8,
       .attributes = kByteOperand | lock | kInvalid64 | kUserMode,
       .handlers = kRmImm,
       .undefined_flags = undefined},
      {.name = name,
       .opcode = 0x83,
       .modrm = ModRm::any,
       .reg = digit,
       .immediate = Immediate::imm8,
       .attributes = lock | kUserMode,
       .handlers = kRmImm,
       .undefined_flags = undefined},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

void add_arithmetic(Rows& rows) {
  add_alu<Add>(rows, "add", 0x00, 0, 0);
  add_alu<Or>(rows, "or", 0x08, 1, kAf);
  add_alu<Adc>(rows, "adc", 0x10, 2, 0);
  add_alu<Sbb>(rows, "sbb", 0x18, 3, 0);
  add_alu<And>(rows, "and", 0x20, 4, kAf);
  add_alu<Sub>(rows, "sub", 0x28, 5, 0);
  add_alu<Xor>(rows, "xor", 0x30, 6, kAf);
  add_alu<Cmp>(rows, "cmp", 0x38, 7, 0);

  constexpr Handlers kTestReg =
      kAllForms<AluRegister<Test, SecondIsReg>, AluMemory<Test, SecondIsReg>>;
  constexpr Handlers kTestImm =
      kAllForms<AluRegister<Test, SecondIsImmediate>, AluMemory<Test, SecondIsImmediate>>;
  constexpr Handlers kTestAccumulator = kAllSame<AluAccumulator<Test>>;
  const Rows added{
      {.name = "test",
       .opcode = 0x84,
       .modrm = ModRm::any,
       .attributes = kByteOperand | kUserMode,
       .handlers = kTestReg,
       .undefined_flags = kAf},
      {.name = "test",
       .opcode = 0x85,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kTestReg,
       .undefined_flags = kAf},
      {.name = "test",
       .opcode = 0xa8,
       .immediate = Immediate::imm8,
       .attributes = kByteOperand | kUserMode,
       .handlers = kTestAccumulator,
       .undefined_flags = kAf},
      {.name = "test",
       .opcode = 0xa9,
       .immediate = Immediate::imm_z,
       .attributes = kUserMode,
       .handlers = kTestAccumulator,
       .undefined_flags = kAf},
      {.name = "test",
       .opcode = 0xf6,
       .modrm = ModRm::any,
       .reg = 0,
       .immediate = Immediate::imm8,
       .attributes = kByteOperand | kUserMode,
       .handlers = kTestImm,
       .undefined_flags = kAf},
      {.name = "test",
       .opcode = 0xf6,
       .modrm = ModRm::any,
       .reg = 1,
       .immediate = Immediate::imm8,
       .attributes = kByteOperand | kUserMode,
       .handlers = kTestImm,
       .undefined_flags = kAf},
      {.name = "test",
       .opcode = 0xf7,
       .modrm = ModRm::any,
       .reg = 0,
       .immediate = Immediate::imm_z,
       .attributes = kUserMode,
       .handlers = kTestImm,
       .undefined_flags = kAf},
      {.name = "test",
       .opcode = 0xf7,
       .modrm = ModRm::any,
       .reg = 1,
       .immediate = Immediate::imm_z,
       .attributes = kUserMode,
       .handlers = kTestImm,
       .undefined_flags = kAf},
      {.name = "inc",
       .opcode = 0x40,
       .attributes = kPlusRegister | kInvalid64 | kUserMode,
       .handlers = kWordSame<UnaryPlusRegister<Inc>>},
      {.name = "dec",
       .opcode = 0x48,
       .attributes = kPlusRegister | kInvalid64 | kUserMode,
       .handlers = kWordSame<UnaryPlusRegister<Dec>>},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

/// The byte opcode `opcode` and its wider twin, `opcode` + 1, with the same /digit.
void add_pair(Rows& rows, std::string_view name, u8 opcode, std::int8_t digit,
              const Handlers& handlers, u32 attributes, u32 undefined,
              Immediate immediate = Immediate::none) {
  const auto row = [&](u8 byte, u32 size) {
    return Row{.name = name,
               .opcode = byte,
               .modrm = ModRm::any,
               .reg = digit,
               .immediate = immediate,
               .attributes = attributes | size | kUserMode,
               .handlers = handlers,
               .undefined_flags = undefined};
  };
  rows.push_back(row(opcode, kByteOperand));
  rows.push_back(row(static_cast<u8>(opcode + 1), 0));
}

void add_unary(Rows& rows) {
  add_pair(rows, "not", 0xf6, 2, kAllForms<UnaryRegister<Not>, UnaryMemory<Not>>, kLockable, 0);
  add_pair(rows, "neg", 0xf6, 3, kAllForms<UnaryRegister<Neg>, UnaryMemory<Neg>>, kLockable, 0);
  add_pair(rows, "mul", 0xf6, 4, kBySource<Mul>, 0, kSf | kZf | kAf | kPf);
  add_pair(rows, "imul", 0xf6, 5, kBySource<ImulWide>, 0, kSf | kZf | kAf | kPf);
  add_pair(rows, "div", 0xf6, 6, kBySource<Div>, 0, kArithmeticFlags);
  add_pair(rows, "idiv", 0xf6, 7, kBySource<Idiv>, 0, kArithmeticFlags);
  add_pair(rows, "inc", 0xfe, 0, kAllForms<UnaryRegister<Inc>, UnaryMemory<Inc>>, kLockable, 0);
  add_pair(rows, "dec", 0xfe, 1, kAllForms<UnaryRegister<Dec>, UnaryMemory<Dec>>, kLockable, 0);
  constexpr u32 kUndefined = kSf | kZf | kAf | kPf;
  const Rows added{
      {.name = "imul r, rm",
       .map = k0f,
       .opcode = 0xaf,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<ImulReg>,
       .undefined_flags = kUndefined},
      {.name = "imul r, rm, imm",
       .opcode = 0x69,
       .modrm = ModRm::any,
       .immediate = Immediate::imm_z,
       .attributes = kUserMode,
       .handlers = kWordBySource<ImulImmediate>,
       .undefined_flags = kUndefined},
      {.name = "imul r, rm, imm8",
       .opcode = 0x6b,
       .modrm = ModRm::any,
       .immediate = Immediate::imm8,
       .attributes = kUserMode,
       .handlers = kWordBySource<ImulImmediate>,
       .undefined_flags = kUndefined},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

/// One of the shift group, in its forms by 1, by CL and by an immediate.
/// For shifts of bytes and words by more than their width CF is undefined as
/// well; all processors agree on it, so that it is not masked.
template <class Op, class RegisterImmediateOp = Op>
void add_shift(Rows& rows, std::string_view name, std::int8_t digit, u32 undefined_always) {
  const u32 undefined = undefined_always | kOf;
  add_pair(rows, name, 0xd0, digit,
           kAllForms<ShiftRegister<Op, CountOne>, ShiftMemory<Op, CountOne>>, 0, undefined_always);
  add_pair(rows, name, 0xd2, digit, kAllForms<ShiftRegister<Op, CountCl>, ShiftMemory<Op, CountCl>>,
           0, undefined);
  add_pair(rows, name, 0xc0, digit,
           kAllForms<ShiftRegister<RegisterImmediateOp, CountImmediate>,
                     ShiftMemory<Op, CountImmediate>>,
           0, undefined, Immediate::imm8);
}

template <class Op>
void add_double_shift(Rows& rows, std::string_view name, u8 opcode) {
  constexpr u32 kUndefined = kAf | kOf;
  constexpr Handlers kImmediateForm =
      kWordForms<DoubleShiftRegister<Op, CountImmediate>, DoubleShiftMemory<Op, CountImmediate>>;
  constexpr Handlers kClForm =
      kWordForms<DoubleShiftRegister<Op, CountCl>, DoubleShiftMemory<Op, CountCl>>;
  const Rows added{
      {.name = name,
       .map = k0f,
       .opcode = opcode,
       .modrm = ModRm::any,
       .immediate = Immediate::imm8,
       .attributes = kUserMode,
       .handlers = kImmediateForm,
       .undefined_flags = kUndefined},
      {.name = name,
       .map = k0f,
       .opcode = static_cast<u8>(opcode + 1),
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kClForm,
       .undefined_flags = kUndefined},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

void add_shifts(Rows& rows) {
  constexpr OverflowFlag kOne = OverflowFlag::as_for_one;
  constexpr OverflowFlag kKept = OverflowFlag::kept_unless_one;
  add_shift<Rol<kOne>, Rol<kKept>>(rows, "rol", 0, 0);
  add_shift<Ror<kOne>, Ror<kKept>>(rows, "ror", 1, 0);
  add_shift<Rcl>(rows, "rcl", 2, 0);
  add_shift<Rcr>(rows, "rcr", 3, 0);
  add_shift<Shl>(rows, "shl", 4, kAf);
  add_shift<Shr>(rows, "shr", 5, kAf);
  add_shift<Shl>(rows, "sal", 6, kAf);
  add_shift<Sar>(rows, "sar", 7, kAf);
  add_double_shift<Shld>(rows, "shld", 0xa4);
  add_double_shift<Shrd>(rows, "shrd", 0xac);
}

template <class Op>
void add_bit_test(Rows& rows, std::string_view name, u8 opcode, std::int8_t digit) {
  const u32 attributes = kUserMode | (Op::kWrites ? kLockable : 0U);
  constexpr Handlers kReg = kWordForms<BitRegister<Op, SecondIsReg>, BitMemoryReg<Op>>;
  constexpr Handlers kImm = kWordForms<BitRegister<Op, SecondIsImmediate>, BitMemoryImmediate<Op>>;
  const Rows added{
      {.name = name,
       .map = k0f,
       .opcode = opcode,
       .modrm = ModRm::any,
       .attributes = attributes,
       .handlers = kReg,
       .undefined_flags = kBitTestUndefined},
      {.name = name,
       .map = k0f,
       .opcode = 0xba,
       .modrm = ModRm::any,
       .reg = digit,
       .immediate = Immediate::imm8_zero,
       .attributes = attributes,
       .handlers = kImm,
       .undefined_flags = kBitTestUndefined},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

template <class Source>
using Bsf = BitScan<ScanForward, Source>;
template <class Source>
using Bsr = BitScan<ScanReverse, Source>;

/// CRC32 of a byte, whatever the operand size says about the destination.
constexpr Handlers kCrc32Byte = by_form(&Crc32<InRegister>::run<u8>, &Crc32<InMemory>::run<u8>);

void add_bits(Rows& rows) {
  add_bit_test<BitKeep>(rows, "bt", 0xa3, 4);
  add_bit_test<BitSet>(rows, "bts", 0xab, 5);
  add_bit_test<BitReset>(rows, "btr", 0xb3, 6);
  add_bit_test<BitComplement>(rows, "btc", 0xbb, 7);
  constexpr u32 kScanUndefined = kCf | kOf | kSf | kAf | kPf;
  const Rows added{
      {.name = "bsf",
       .map = k0f,
       .opcode = 0xbc,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<Bsf>,
       .undefined_flags = kScanUndefined},
      {.name = "rep bsf",
       .map = k0f,
       .opcode = 0xbc,
       .prefix = MandatoryPrefix::pf3,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<Bsf>,
       .undefined_flags = kScanUndefined,
       .oracle_exception = "TZCNT on hosts with BMI1, which guests are not offered"},
      {.name = "bsr",
       .map = k0f,
       .opcode = 0xbd,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<Bsr>,
       .undefined_flags = kScanUndefined},
      {.name = "rep bsr",
       .map = k0f,
       .opcode = 0xbd,
       .prefix = MandatoryPrefix::pf3,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<Bsr>,
       .undefined_flags = kScanUndefined,
       .oracle_exception = "LZCNT on hosts that have it, which guests are not offered"},
      {.name = "popcnt",
       .map = k0f,
       .opcode = 0xb8,
       .prefix = MandatoryPrefix::pf3,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<Popcnt>},
      {.name = "bswap",
       .map = k0f,
       .opcode = 0xc8,
       .attributes = kPlusRegister | kUserMode,
       .handlers = kWordSame<Bswap>},
      {.name = "crc32 r, rm8",
       .map = k0f38,
       .opcode = 0xf0,
       .prefix = MandatoryPrefix::pf2,
       .modrm = ModRm::any,
       .attributes = kByteRm | kUserMode,
       .handlers = kCrc32Byte},
      {.name = "crc32 r, rm",
       .map = k0f38,
       .opcode = 0xf1,
       .prefix = MandatoryPrefix::pf2,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<Crc32>},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

template <class Source>
using MovzxByte = Movzx<Source, u8>;
template <class Source>
using MovsxByte = Movsx<Source, u8>;
template <class Source>
using MovsxWord = Movsx<Source, u16>;
template <class Source>
using Movsxd = Movsx<Source, u32>;
// A 16-bit MOVZX from 16 bits is a copy.
template <class Source>
using MovzxWord = Movzx<Source, u16>;

void add_moves(Rows& rows) {
  constexpr Handlers kMovToRm = kAllForms<MovRegisterReg, MovMemoryReg>;
  constexpr Handlers kMovImm = kAllForms<MovRegisterImmediate, MovMemoryImmediate>;
  const Rows added{
      {.name = "mov",
       .opcode = 0x88,
       .modrm = ModRm::any,
       .attributes = kByteOperand | kUserMode,
       .handlers = kMovToRm},
      {.name = "mov",
       .opcode = 0x89,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kMovToRm},
      {.name = "mov",
       .opcode = 0x8a,
       .modrm = ModRm::any,
       .attributes = kByteOperand | kUserMode,
       .handlers = kBySource<MovToReg>},
      {.name = "mov",
       .opcode = 0x8b,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kBySource<MovToReg>},
      {.name = "mov al, moffs",
       .opcode = 0xa0,
       .immediate = Immediate::moffs,
       .attributes = kByteOperand | kUserMode,
       .handlers = kAllSame<MovFromMoffs>},
      {.name = "mov rax, moffs",
       .opcode = 0xa1,
       .immediate = Immediate::moffs,
       .attributes = kUserMode,
       .handlers = kAllSame<MovFromMoffs>},
      {.name = "mov moffs, al",
       .opcode = 0xa2,
       .immediate = Immediate::moffs,
       .attributes = kByteOperand | kUserMode,
       .handlers = kAllSame<MovToMoffs>},
      {.name = "mov moffs, rax",
       .opcode = 0xa3,
       .immediate = Immediate::moffs,
       .attributes = kUserMode,
       .handlers = kAllSame<MovToMoffs>},
      {.name = "mov r8, imm8",
       .opcode = 0xb0,
       .immediate = Immediate::imm8,
       .attributes = kByteOperand | kPlusRegister | kUserMode,
       .handlers = kAllSame<MovPlusRegisterImmediate>},
      {.name = "mov r, imm",
       .opcode = 0xb8,
       .immediate = Immediate::imm_v,
       .attributes = kPlusRegister | kUserMode,
       .handlers = kAllSame<MovPlusRegisterImmediate>},
      {.name = "mov rm8, imm8",
       .opcode = 0xc6,
       .modrm = ModRm::any,
       .reg = 0,
       .immediate = Immediate::imm8,
       .attributes = kByteOperand | kUserMode,
       .handlers = kMovImm},
      {.name = "mov rm, imm",
       .opcode = 0xc7,
       .modrm = ModRm::any,
       .reg = 0,
       .immediate = Immediate::imm_z,
       .attributes = kUserMode,
       .handlers = kMovImm},
      {.name = "movzx r, rm8",
       .map = k0f,
       .opcode = 0xb6,
       .modrm = ModRm::any,
       .attributes = kByteRm | kUserMode,
       .handlers = kWordBySource<MovzxByte>},
      {.name = "movzx r, rm16",
       .map = k0f,
       .opcode = 0xb7,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<MovzxWord>},
      {.name = "movsx r, rm8",
       .map = k0f,
       .opcode = 0xbe,
       .modrm = ModRm::any,
       .attributes = kByteRm | kUserMode,
       .handlers = kWordBySource<MovsxByte>},
      {.name = "movsx r, rm16",
       .map = k0f,
       .opcode = 0xbf,
       .modrm = ModRm::any,
       .attributes = kUserMode,
       .handlers = kWordBySource<MovsxWord>},
      {.name = "movsxd",
       .opcode = 0x63,
       .modrm = ModRm::any,
       .attributes = kOnly64 | kUserMode,
       .handlers = kWordBySource<Movsxd>},
      {.name = "movbe",
       .map = k0f38,
       .opcode = 0xf0,
       .prefix = MandatoryPrefix::none,
       .modrm = ModRm::memory,
       .attributes = kUserMode,
       .handlers = kWordSame<MovbeToReg>},
      {.name = "movbe",
       .map = k0f38,
       .opcode = 0xf0,
       .prefix = MandatoryPrefix::p66,
       .modrm = ModRm::memory,
       .attributes = kUserMode,
       .handlers = kWordSame<MovbeToReg>},
      {.name = "movbe",
       .map = k0f38,
       .opcode = 0xf1,
       .prefix = MandatoryPrefix::none,
       .modrm = ModRm::memory,
       .attributes = kUserMode,
       .handlers = kWordSame<MovbeToMemory>},
      {.name = "movbe",
       .map = k0f38,
       .opcode = 0xf1,
       .prefix = MandatoryPrefix::p66,
       .modrm = ModRm::memory,
       .attributes = kUserMode,
       .handlers = kWordSame<MovbeToMemory>},
      {.name = "lea",
       .opcode = 0x8d,
       .modrm = ModRm::memory,
       .attributes = kUserMode,
       .handlers = kWordSame<Lea>},
      {.name = "cbw",
       .opcode = 0x98,
       .attributes = kUserMode,
       .handlers = kWordSame<ConvertAccumulator>},
      {.name = "cwd", .opcode = 0x99, .attributes = kUserMode, .handlers = kWordSame<ExtendIntoDx>},
      {.name = "xlat", .opcode = 0xd7, .attributes = kUserMode, .handlers = all_forms(xlat)},
      {.name = "salc",
       .opcode = 0xd6,
       .attributes = kInvalid64 | kUserMode,
       .handlers = all_forms(salc)},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

void add_exchanges(Rows& rows) {
  constexpr Handlers kXchg = kAllForms<XchgRegister, XchgMemory>;
  constexpr Handlers kXadd = kAllForms<XaddRegister, XaddMemory>;
  constexpr Handlers kCmpxchg = kAllForms<CmpxchgRegister, CmpxchgMemory>;
  constexpr Handlers kCmpxchgTwice = by_size(nullptr, cmpxchg8b, cmpxchg8b, cmpxchg16b);
  const Rows added{
      {.name = "pause",
       .opcode = 0x90,
       .prefix = MandatoryPrefix::pf3,
       .attributes = kUserMode,
       .handlers = all_forms(do_nothing)},
      {.name = "xchg rax, r",
       .opcode = 0x90,
       .attributes = kPlusRegister | kUserMode,
       .handlers = kWordSame<XchgAccumulator>},
      {.name = "xchg",
       .opcode = 0x86,
       .modrm = ModRm::any,
       .attributes = kByteOperand | kLockable | kUserMode,
       .handlers = kXchg},
      {.name = "xchg",
       .opcode = 0x87,
       .modrm = ModRm::any,
       .attributes = kLockable | kUserMode,
       .handlers = kXchg},
      {.name = "xadd",
       .map = k0f,
       .opcode = 0xc0,
       .modrm = ModRm::any,
       .attributes = kByteOperand | kLockable | kUserMode,
       .handlers = kXadd},
      {.name = "xadd",
       .map = k0f,
       .opcode = 0xc1,
       .modrm = ModRm::any,
       .attributes = kLockable | kUserMode,
       .handlers = kXadd},
      {.name = "cmpxchg",
       .map = k0f,
       .opcode = 0xb0,
       .modrm = ModRm::any,
       .attributes = kByteOperand | kLockable | kUserMode,
       .handlers = kCmpxchg},
      {.name = "cmpxchg",
       .map = k0f,
       .opcode = 0xb1,
       .modrm = ModRm::any,
       .attributes = kLockable | kUserMode,
       .handlers = kCmpxchg},
      {.name = "cmpxchg8b",
       .map = k0f,
       .opcode = 0xc7,
       .modrm = ModRm::memory,
       .reg = 1,
       .attributes = kLockable | kUserMode,
       .handlers = kCmpxchgTwice},
  };
  rows.insert(rows.end(), added.begin(), added.end());
}

template <unsigned Code>
void add_condition(Rows& rows) {
  rows.push_back({.name = kCmovccNames[Code],
                  .map = k0f,
                  .opcode = 0x40 + Code,
                  .modrm = ModRm::any,
                  .attributes = kUserMode,
                  .handlers = kWordForms<Cmovcc<Code, InRegister>, Cmovcc<Code, InMemory>>});
  rows.push_back({.name = kSetccNames[Code],
                  .map = k0f,
                  .opcode = 0x90 + Code,
                  .modrm = ModRm::any,
                  .attributes = kByteOperand | kUserMode,
                  .handlers = by_form(setcc_register<Code>, setcc_memory<Code>)});
}
template <unsigned... Codes>
void add_conditions(Rows& rows, std::integer_sequence<unsigned, Codes...> /*codes*/) {
  (add_condition<Codes>(rows), ...);
}

void add_flag_instructions(Rows& rows) {
  const auto simple = [&rows](std::string_view name, u8 opcode, Handler handler) {
    rows.push_back(
        {.name = name, .opcode = opcode, .attributes = kUserMode, .handlers = all_forms(handler)});
  };
  simple("cmc", 0xf5, cmc);
  simple("clc", 0xf8, clc);
  simple("stc", 0xf9, stc);
  simple("cld", 0xfc, clear_direction);
  simple("std", 0xfd, set_direction);
  simple("sahf", 0x9e, sahf);
  simple("lahf", 0x9f, lahf);
}

void add_bcd(Rows& rows) {
  const auto adjust = [&rows](std::string_view name, u8 opcode, Handler handler, u32 undefined,
                              Immediate immediate = Immediate::none) {
    rows.push_back({.name = name,
                    .opcode = opcode,
                    .immediate = immediate,
                    .attributes = kInvalid64 | kUserMode,
                    .handlers = all_forms(handler),
                    .undefined_flags = undefined});
  };
  adjust("daa", 0x27, daa, kOf);
  adjust("das", 0x2f, das, kOf);
  adjust("aaa", 0x37, aaa, kOf | kSf | kZf | kPf);
  adjust("aas", 0x3f, aas, kOf | kSf | kZf | kPf);
  adjust("aam", 0xd4, aam, kOf | kAf | kCf, Immediate::imm8_zero);
  adjust("aad", 0xd5, aad, kOf | kAf | kCf, Immediate::imm8_zero);
}

void add_string(Rows& rows, std::string_view name, u8 opcode, const Handlers& handlers) {
  rows.push_back({.name = name,
                  .opcode = opcode,
                  .attributes = kByteOperand | kString | kUserMode,
                  .handlers = handlers});
  rows.push_back({.name = name,
                  .opcode = static_cast<u8>(opcode + 1),
                  .attributes = kString | kUserMode,
                  .handlers = handlers});
}
void add_strings(Rows& rows) {
  add_string(rows, "movs", 0xa4, kAllSame<StringFamily<Movs>>);
  add_string(rows, "cmps", 0xa6, kAllSame<StringFamily<Cmps>>);
  add_string(rows, "stos", 0xaa, kAllSame<StringFamily<Stos>>);
  add_string(rows, "lods", 0xac, kAllSame<StringFamily<Lods>>);
  add_string(rows, "scas", 0xae, kAllSame<StringFamily<Scas>>);
}

/// Hints and fences: with one processor in program order nothing is left to do.
void add_hints(Rows& rows) {
  const auto nop = [&rows](std::string_view name, u8 opcode) {
    rows.push_back({.name = name,
                    .map = k0f,
                    .opcode = opcode,
                    .modrm = ModRm::any,
                    .attributes = kUserMode,
                    .handlers = all_forms(do_nothing)});
  };
  nop("prefetchw", 0x0d);
  nop("prefetch", 0x18);
  for (u8 opcode = 0x19; opcode < 0x1f; ++opcode) nop("nop (hint)", opcode);
  nop("nop", 0x1f);
  const auto fence = [&rows](std::string_view name, std::int8_t digit, ModRm form,
                             Handler handler) {
    rows.push_back({.name = name,
                    .map = k0f,
                    .opcode = 0xae,
                    .prefix = MandatoryPrefix::none,
                    .modrm = form,
                    .reg = digit,
                    .attributes = kUserMode,
                    .handlers = all_forms(handler)});
  };
  fence("lfence", 5, ModRm::registers, do_nothing);
  fence("mfence", 6, ModRm::registers, do_nothing);
  fence("sfence", 7, ModRm::registers, do_nothing);
  fence("clflush", 7, ModRm::memory, clflush);
}

Rows build() {
  Rows rows;
  add_arithmetic(rows);
  add_unary(rows);
  add_shifts(rows);
  add_bits(rows);
  add_moves(rows);
  add_exchanges(rows);
  add_conditions(rows, std::make_integer_sequence<unsigned, 16>{});
  add_flag_instructions(rows);
  add_bcd(rows);
  add_strings(rows);
  add_hints(rows);
  return rows;
}

}  // namespace

std::span<const Row> integer_rows() {
  static const Rows rows = build();
  return rows;
}

}  // namespace chronovisor
