#include "session/condition.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "timetravel/linear_memory.h"

namespace chronovisor::session {
namespace {

constexpr std::size_t kDeepest = 64;
/// Of one condition: each operator is evaluated inside the one behind it.
constexpr std::size_t kMostOperators = 1'000;

struct Value {
  std::uint64_t bits = 0;
  bool is_signed = false;
  /// 32 bits without a sign: a number beside it has as many.
  bool is_u32 = false;
  bool is_literal = false;
};

/// A type of C's integers, or a pointer to one.
struct Type {
  std::uint64_t bytes = 8;  ///< of the integer; 0: a word of the code that runs
  bool is_signed = false;
  bool is_truth = false;  ///< bool: 0 or 1
  unsigned pointers = 0;
};

/// Nothing: cannot be told here.
using Result = std::optional<Value>;
using Node = std::function<Result(Machine&)>;

std::int64_t as_signed(std::uint64_t bits) { return static_cast<std::int64_t>(bits); }

/// The lowest `bytes` of `bits`, as a number of that width.
Value extended(std::uint64_t bits, std::uint64_t bytes, bool is_signed) {
  if (bytes < 8) {
    const unsigned shift = 64 - 8 * static_cast<unsigned>(bytes);
    bits = is_signed ? static_cast<std::uint64_t>(as_signed(bits << shift) >> shift)
                     : bits << shift >> shift;
  }
  // What has fewer bits than an int becomes one, with its sign.
  return {bits, is_signed || bytes < 4, !is_signed && bytes == 4, false};
}

/// How wide `long` and addresses are in the code that runs.
std::uint64_t word_bytes(const Machine& machine) { return machine.cpu().long64() ? 8 : 4; }

std::uint64_t bytes_of(const Type& type, const Machine& machine) {
  return type.pointers > 0 || type.bytes == 0 ? word_bytes(machine) : type.bytes;
}

Node memory_node(Node address, const Type& type) {
  return [address = std::move(address), type](Machine& machine) -> Result {
    const Result at = address(machine);
    if (!at) return std::nullopt;
    const std::uint64_t bytes = bytes_of(type, machine);
    const auto read = read_linear_value(machine, at->bits, bytes);
    if (!read) return std::nullopt;
    if (type.pointers == 0 && type.is_truth) return Value{*read != 0 ? 1U : 0U, true};
    return extended(*read, bytes, type.is_signed && type.pointers == 0);
  };
}

Node cast_node(Node operand, const Type& type) {
  return [operand = std::move(operand), type](Machine& machine) -> Result {
    const Result value = operand(machine);
    if (!value) return std::nullopt;
    // An address is kept whole: whoever types one means it.
    if (type.pointers > 0) return Value{value->bits, false};
    if (type.is_truth) return Value{value->bits != 0 ? 1U : 0U, true};
    return extended(value->bits, bytes_of(type, machine), type.is_signed);
  };
}

using ReadRegister = std::uint64_t (*)(Machine&);
struct NamedRegister {
  std::string_view name;
  ReadRegister read;
};

template <GprIndex kIndex, std::uint64_t kMask>
std::uint64_t gpr(Machine& machine) {
  return machine.cpu().state.gpr[kIndex] & kMask;
}
template <SegmentIndex kIndex>
std::uint64_t selector(Machine& machine) {
  return machine.cpu().state.segment[kIndex].selector;
}

constexpr std::uint64_t kAll = ~std::uint64_t{0};
constexpr std::uint64_t kLow = 0xffffffff;

constexpr auto kRegisters = std::to_array<NamedRegister>({
    {"rax", gpr<kRax, kAll>},
    {"rbx", gpr<kRbx, kAll>},
    {"rcx", gpr<kRcx, kAll>},
    {"rdx", gpr<kRdx, kAll>},
    {"rsi", gpr<kRsi, kAll>},
    {"rdi", gpr<kRdi, kAll>},
    {"rbp", gpr<kRbp, kAll>},
    {"rsp", gpr<kRsp, kAll>},
    {"sp", gpr<kRsp, kAll>},
    {"r8", gpr<static_cast<GprIndex>(8), kAll>},
    {"r9", gpr<static_cast<GprIndex>(9), kAll>},
    {"r10", gpr<static_cast<GprIndex>(10), kAll>},
    {"r11", gpr<static_cast<GprIndex>(11), kAll>},
    {"r12", gpr<static_cast<GprIndex>(12), kAll>},
    {"r13", gpr<static_cast<GprIndex>(13), kAll>},
    {"r14", gpr<static_cast<GprIndex>(14), kAll>},
    {"r15", gpr<static_cast<GprIndex>(15), kAll>},
    {"rip", gpr<kGprRip, kAll>},
    {"eax", gpr<kRax, kLow>},
    {"ebx", gpr<kRbx, kLow>},
    {"ecx", gpr<kRcx, kLow>},
    {"edx", gpr<kRdx, kLow>},
    {"esi", gpr<kRsi, kLow>},
    {"edi", gpr<kRdi, kLow>},
    {"ebp", gpr<kRbp, kLow>},
    {"esp", gpr<kRsp, kLow>},
    {"eip", gpr<kGprRip, kLow>},
    {"pc", [](Machine& machine) { return machine.cpu().linear_rip(); }},
    {"eflags", [](Machine& machine) -> std::uint64_t { return machine.cpu().flags.value(); }},
    {"cs", selector<kCs>},
    {"ss", selector<kSs>},
    {"ds", selector<kDs>},
    {"es", selector<kEs>},
    {"fs", selector<kFs>},
    {"gs", selector<kGs>},
    {"fs_base", [](Machine& machine) { return machine.cpu().state.segment[kFs].base; }},
    {"gs_base", [](Machine& machine) { return machine.cpu().state.segment[kGs].base; }},
    {"cr0", [](Machine& machine) { return machine.cpu().state.cr0; }},
    {"cr2", [](Machine& machine) { return machine.cpu().state.cr2; }},
    {"cr3", [](Machine& machine) { return machine.cpu().state.cr3; }},
    {"cr4", [](Machine& machine) { return machine.cpu().state.cr4; }},
    {"cpl", [](Machine& machine) -> std::uint64_t { return machine.cpu().cpl(); }},
    {"position", [](Machine& machine) { return machine.position().steps; }},
});

struct NamedType {
  std::string_view name;
  Type type;
  bool reads = false;  ///< u32[ADDRESS] is memory
};
constexpr auto kTypes = std::to_array<NamedType>({
    {"u8", {1, false}, true},  {"u16", {2, false}, true},  {"u32", {4, false}, true},
    {"u64", {8, false}, true}, {"i8", {1, true}, true},    {"i16", {2, true}, true},
    {"i32", {4, true}, true},  {"i64", {8, true}, true},   {"char", {1, true}},
    {"short", {2, true}},      {"bool", {1, false, true}}, {"_Bool", {1, false, true}},
    {"uint8_t", {1, false}},   {"uint16_t", {2, false}},   {"uint32_t", {4, false}},
    {"uint64_t", {8, false}},  {"int8_t", {1, true}},      {"int16_t", {2, true}},
    {"int32_t", {4, true}},    {"int64_t", {8, true}},     {"s8", {1, true}},
    {"s16", {2, true}},        {"s32", {4, true}},         {"s64", {8, true}},
    {"size_t", {0, false}},    {"ssize_t", {0, true}},     {"uintptr_t", {0, false}},
    {"intptr_t", {0, true}},
});

/// The binary operators, those that bind least first.
struct Operator {
  std::string_view text;
  int binds = 0;
};
constexpr auto kOperators = std::to_array<Operator>({{"||", 1},
                                                     {"&&", 2},
                                                     {"==", 6},
                                                     {"!=", 6},
                                                     {"<=", 7},
                                                     {">=", 7},
                                                     {"<<", 8},
                                                     {">>", 8},
                                                     {"|", 3},
                                                     {"^", 4},
                                                     {"&", 5},
                                                     {"<", 7},
                                                     {">", 7},
                                                     {"+", 9},
                                                     {"-", 9},
                                                     {"*", 10},
                                                     {"/", 10},
                                                     {"%", 10}});

/// A number beside 32 bits without a sign.
void adopt_width(Value& number, const Value& other) {
  if (!number.is_literal || other.is_literal || !other.is_u32) return;
  if (as_signed(number.bits) < 0 && as_signed(number.bits) >= -0x8000'0000LL) number.bits &= kLow;
}

Result compute(std::string_view op, Value a, Value b) {
  adopt_width(a, b);
  adopt_width(b, a);
  const bool both = a.is_signed && b.is_signed;
  const auto truth = [](bool is) { return Value{is ? 1U : 0U, true}; };
  const bool less = both ? as_signed(a.bits) < as_signed(b.bits) : a.bits < b.bits;
  if (op == "==") return truth(a.bits == b.bits);
  if (op == "!=") return truth(a.bits != b.bits);
  if (op == "<") return truth(less);
  if (op == ">=") return truth(!less);
  if (op == "<=") return truth(less || a.bits == b.bits);
  if (op == ">") return truth(!less && a.bits != b.bits);
  if (op == "|") return Value{a.bits | b.bits, both};
  if (op == "^") return Value{a.bits ^ b.bits, both};
  if (op == "&") return Value{a.bits & b.bits, both};
  if (op == "+") return Value{a.bits + b.bits, both};
  if (op == "-") return Value{a.bits - b.bits, both};
  if (op == "*") return Value{a.bits * b.bits, both};
  if (op == "<<") return Value{b.bits < 64 ? a.bits << b.bits : 0, a.is_signed};
  if (op == ">>") {
    const std::uint64_t by = std::min<std::uint64_t>(b.bits, 63);
    if (a.is_signed) return Value{static_cast<std::uint64_t>(as_signed(a.bits) >> by), true};
    return Value{b.bits < 64 ? a.bits >> by : 0, false};
  }
  if (b.bits == 0) return std::nullopt;
  if (both) {
    // The one quotient that does not fit wraps around.
    if (as_signed(b.bits) == -1) return Value{op == "/" ? 0 - a.bits : 0, true};
    return Value{static_cast<std::uint64_t>(op == "/" ? as_signed(a.bits) / as_signed(b.bits)
                                                      : as_signed(a.bits) % as_signed(b.bits)),
                 true};
  }
  return Value{op == "/" ? a.bits / b.bits : a.bits % b.bits, false};
}

Node binary_node(std::string_view op, Node left, Node right) {
  if (op == "&&" || op == "||") {
    // What the left side has decided the right side is not asked.
    return [decides = op == "||", left = std::move(left),
            right = std::move(right)](Machine& machine) -> Result {
      const Result a = left(machine);
      if (!a) return std::nullopt;
      if ((a->bits != 0) == decides) return Value{decides ? 1U : 0U, true};
      const Result b = right(machine);
      if (!b) return std::nullopt;
      return Value{b->bits != 0 ? 1U : 0U, true};
    };
  }
  return [op, left = std::move(left), right = std::move(right)](Machine& machine) -> Result {
    const Result a = left(machine);
    const Result b = right(machine);
    if (!a || !b) return std::nullopt;
    return compute(op, *a, *b);
  };
}

class Parser {
 public:
  Parser(std::string_view text, const std::optional<WatchedRange>& range)
      : text_(text), range_(range) {}

  Node all() {
    Node node = expression(1).node;
    skip_space();
    if (at_ != text_.size()) fail("an operator");
    return node;
  }

 private:
  [[noreturn]] void fail(std::string_view expected) const {
    const std::string_view rest = text_.substr(at_, 16);
    throw Error(
        ErrorCode::usage,
        fmt::format("condition \"{}\": expected {} {}", text_, expected,
                    rest.empty() ? "at its end" : fmt::format("where it says \"{}\"", rest)));
  }
  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  bool take(std::string_view token) {
    skip_space();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  std::string_view word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_')) {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

  /// What stands for a value, and what it points to where it is a pointer.
  struct Operand {
    Node node;
    std::optional<Type> pointee;
  };

  Operand expression(int least) {
    if (++depth_ > kDeepest) fail("something less nested");
    Operand left = unary();
    while (true) {
      skip_space();
      const auto op = std::find_if(kOperators.begin(), kOperators.end(), [&](const Operator& o) {
        return text_.substr(at_).starts_with(o.text);
      });
      if (op == kOperators.end() || op->binds < least) break;
      if (++operators_ > kMostOperators) fail("no more than 1000 operators");
      at_ += op->text.size();
      Operand right = expression(op->binds + 1);
      // Pointers go on by what they point to.
      const bool moves = op->text == "+" || op->text == "-";
      std::optional<Type> pointee;
      if (moves && left.pointee && !right.pointee) {
        pointee = left.pointee;
        right.node = scaled(std::move(right.node), *pointee);
      } else if (op->text == "+" && right.pointee && !left.pointee) {
        pointee = right.pointee;
        left.node = scaled(std::move(left.node), *pointee);
      }
      left = {binary_node(op->text, std::move(left.node), std::move(right.node)), pointee};
    }
    --depth_;
    return left;
  }

  static Node scaled(Node node, const Type& type) {
    return [node = std::move(node), type](Machine& machine) -> Result {
      Result value = node(machine);
      if (value) value->bits *= bytes_of(type, machine);
      return value;
    };
  }

  Operand unary() {
    if (++depth_ > kDeepest) fail("something less nested");
    skip_space();
    Operand found;
    const std::size_t begin = at_;
    const char sign = at_ < text_.size() ? text_[at_] : '\0';
    if (sign == '-' || sign == '~' || sign == '!' || sign == '+') {
      ++at_;
      found.node = [sign, operand = unary().node](Machine& machine) -> Result {
        Result value = operand(machine);
        if (!value || sign == '+') return value;
        if (sign == '!') return Value{value->bits == 0 ? 1U : 0U, true};
        value->bits = sign == '-' ? 0 - value->bits : ~value->bits;
        if (value->is_u32) value->bits &= kLow;
        return value;
      };
    } else if (sign == '*') {
      ++at_;
      const Operand pointer = unary();
      if (!pointer.pointee) {
        at_ = begin;
        fail("behind * a pointer to an integer type, as in *(int*)0x1000,");
      }
      found = at(pointer.node, *pointer.pointee);
    } else if (const std::optional<Type> type = cast()) {
      found.node = cast_node(unary().node, *type);
      if (type->pointers > 0) found.pointee = pointee_of(*type);
    } else {
      found = primary();
      while (found.pointee && take("[")) {
        if (++operators_ > kMostOperators) fail("no more than 1000 operators");
        Node index = scaled(expression(1).node, *found.pointee);
        if (!take("]")) fail("\"]\"");
        found = at(binary_node("+", std::move(found.node), std::move(index)), *found.pointee);
      }
    }
    --depth_;
    return found;
  }

  static Type pointee_of(Type pointer) {
    --pointer.pointers;
    return pointer;
  }

  /// What lies where `address` points to.
  static Operand at(Node address, const Type& type) {
    Operand found{memory_node(std::move(address), type), {}};
    if (type.pointers > 0) found.pointee = pointee_of(type);
    return found;
  }

  /// "(unsigned char)", "(int*)"; nothing taken when it is none.
  std::optional<Type> cast() {
    const std::size_t begin = at_;
    if (take("(")) {
      if (std::optional<Type> type = type_name()) {
        while (take("*")) ++type->pointers;
        if (take(")")) return type;
      }
    }
    at_ = begin;
    return std::nullopt;
  }

  /// C's words for an integer type, or one of the names in kTypes.
  std::optional<Type> type_name() {
    int longs = 0;
    bool is_unsigned = false;
    bool is_int = false;
    std::optional<Type> named;
    while (true) {
      skip_space();
      const std::size_t begin = at_;
      const std::string_view name = word();
      if (name == "const" || name == "volatile") continue;
      if (name == "long") {
        ++longs;
      } else if (name == "unsigned") {
        is_unsigned = true;
      } else if (name == "int" || name == "signed") {
        is_int = true;
      } else if (const auto row = std::find_if(kTypes.begin(), kTypes.end(),
                                               [&](const NamedType& t) { return t.name == name; });
                 row != kTypes.end() && !named) {
        named = row->type;
      } else {
        at_ = begin;
        break;
      }
    }
    if (!named && longs == 0 && !is_unsigned && !is_int) return std::nullopt;
    Type type = named.value_or(Type{longs == 0 ? 4U : longs == 1 ? 0U : 8U, true});
    if (is_unsigned) type.is_signed = false;
    return type;
  }

  Operand primary() {
    if (take("(")) {
      Operand inside = expression(1);
      if (!take(")")) fail("\")\"");
      return inside;
    }
    if (take("$")) return {register_named(word()), {}};
    const std::size_t begin = at_;
    const std::string_view name = word();
    if (name.empty()) fail("a value");
    if (std::isdigit(static_cast<unsigned char>(name[0])) != 0) return {number(name, begin), {}};
    if (name == "value" || name == "svalue") return {watched(name == "svalue", begin), {}};
    for (const NamedType& row : kTypes) {
      if (!row.reads || row.name != name) continue;
      if (!take("[")) fail("\"[\"");
      Node address = expression(1).node;
      if (!take("]")) fail("\"]\"");
      return {memory_node(std::move(address), row.type), {}};
    }
    at_ = begin;
    fail("a number, $register, value, a cast, or u32[ADDRESS] and the like");
  }

  Node number(std::string_view digits, std::size_t begin) {
    const bool hex = digits.starts_with("0x") || digits.starts_with("0X");
    std::uint64_t value = 0;
    const std::string_view rest = hex ? digits.substr(2) : digits;
    const unsigned base = hex ? 16 : 10;
    bool fits = !rest.empty();
    for (const char c : rest) {
      const int low = std::tolower(static_cast<unsigned char>(c));
      const unsigned digit = std::isdigit(low) != 0     ? static_cast<unsigned>(low - '0')
                             : low >= 'a' && low <= 'f' ? static_cast<unsigned>(low - 'a') + 10
                                                        : base;
      fits = fits && digit < base && value <= (kAll - digit) / base;
      value = value * base + digit;
    }
    if (!fits) {
      at_ = begin;
      fail("a number of 64 bits");
    }
    return [value](Machine&) -> Result { return Value{value, value >> 63 == 0, false, true}; };
  }

  Node watched(bool is_signed, std::size_t begin) {
    if (!range_ || range_->length > 8 || range_->length == 0) {
      at_ = begin;
      fail(range_ ? "no value, which more than 8 bytes have not"
                  : "no value, as nothing is watched");
    }
    const WatchedRange range = *range_;
    return [range, is_signed](Machine& machine) -> Result {
      const auto read = read_linear_value(machine, range.address, range.length);
      if (!read) return std::nullopt;
      return extended(*read, range.length, is_signed);
    };
  }

  Node register_named(std::string_view name) {
    for (const NamedRegister& row : kRegisters) {
      if (row.name == name) {
        const bool is_half = name.size() == 3 && name[0] == 'e';
        return [read = row.read, is_half](Machine& machine) -> Result {
          return Value{read(machine), false, is_half, false};
        };
      }
    }
    at_ -= name.size();
    fail("the name of a register");
  }

  std::string_view text_;
  const std::optional<WatchedRange>& range_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::size_t operators_ = 0;
};

}  // namespace

Condition parse_condition(std::string_view text, const std::optional<WatchedRange>& range) {
  Node node = Parser(text, range).all();
  return [node = std::move(node)](Machine& machine) {
    const Result result = node(machine);
    return !result || result->bits != 0;
  };
}

}  // namespace chronovisor::session
