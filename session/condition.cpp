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

struct Value {
  std::uint64_t bits = 0;
  bool is_signed = false;
};

/// Nothing: cannot be told here.
using Result = std::optional<Value>;
using Node = std::function<Result(Machine&)>;

std::int64_t as_signed(std::uint64_t bits) { return static_cast<std::int64_t>(bits); }

Value extended(std::uint64_t bits, std::uint64_t bytes, bool is_signed) {
  if (is_signed && bytes < 8) {
    const unsigned shift = 64 - 8 * static_cast<unsigned>(bytes);
    bits = static_cast<std::uint64_t>(as_signed(bits << shift) >> shift);
  }
  return {bits, is_signed};
}

Node memory_node(Node address, std::uint64_t bytes, bool is_signed) {
  return [address = std::move(address), bytes, is_signed](Machine& machine) -> Result {
    const Result at = address(machine);
    if (!at) return std::nullopt;
    const auto read = read_linear_value(machine, at->bits, bytes);
    if (!read) return std::nullopt;
    return extended(*read, bytes, is_signed);
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

Result compute(std::string_view op, const Value& a, const Value& b) {
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
    Node node = expression(1);
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

  Node expression(int least) {
    if (++depth_ > kDeepest) fail("something less nested");
    Node left = unary();
    while (true) {
      skip_space();
      const auto op = std::find_if(kOperators.begin(), kOperators.end(), [&](const Operator& o) {
        return text_.substr(at_).starts_with(o.text);
      });
      if (op == kOperators.end() || op->binds < least) break;
      at_ += op->text.size();
      left = binary_node(op->text, std::move(left), expression(op->binds + 1));
    }
    --depth_;
    return left;
  }

  Node unary() {
    if (++depth_ > kDeepest) fail("something less nested");
    skip_space();
    Node node;
    const char sign = at_ < text_.size() ? text_[at_] : '\0';
    if (sign == '-' || sign == '~' || sign == '!') {
      ++at_;
      node = [sign, operand = unary()](Machine& machine) -> Result {
        const Result value = operand(machine);
        if (!value) return std::nullopt;
        if (sign == '!') return Value{value->bits == 0 ? 1U : 0U, true};
        return Value{sign == '-' ? 0 - value->bits : ~value->bits, value->is_signed};
      };
    } else {
      node = primary();
    }
    --depth_;
    return node;
  }

  Node primary() {
    if (take("(")) {
      Node inside = expression(1);
      if (!take(")")) fail("\")\"");
      return inside;
    }
    if (take("$")) return register_named(word());
    const std::size_t begin = at_;
    const std::string_view name = word();
    if (name.empty()) fail("a value");
    if (std::isdigit(static_cast<unsigned char>(name[0])) != 0) return number(name, begin);
    if (name == "value" || name == "svalue") return watched(name == "svalue", begin);
    static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 4> kWidths{
        {{"8", 1}, {"16", 2}, {"32", 4}, {"64", 8}}};
    for (const auto& [width, bytes] : kWidths) {
      if ((name[0] != 'u' && name[0] != 'i') || name.substr(1) != width) continue;
      if (!take("[")) fail("\"[\"");
      Node address = expression(1);
      if (!take("]")) fail("\"]\"");
      return memory_node(std::move(address), bytes, name[0] == 'i');
    }
    at_ = begin;
    fail("a number, $register, value, or u32[ADDRESS] and the like");
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
    return [value](Machine&) -> Result { return Value{value, value >> 63 == 0}; };
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
        return [read = row.read](Machine& machine) -> Result {
          return Value{read(machine), false};
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
