// Owns the emission of one block: instruction by instruction, with what is known
// about the guest's flags at each point, slow ways out behind the straight one.
// Knows the Assembler and the records of the Translator. Lives for one block.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/cpu/code/block_cache.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_effects.h"
#include "vmm/cpu/translate/assembler.h"
#include "vmm/cpu/translate/translation.h"
#include "vmm/cpu/translate/translator.h"

namespace chronovisor::translate {

/// Bits of Translation::key beyond the three of Block::mode_key.
enum KeyBit : std::uint8_t {
  kKeyLong64 = 1,
  kKeyWide = 4,
  kKeyUser = 8,   ///< CPL 3
  kKeyFlat = 16,  ///< 64-bit mode, or ES, CS, SS and DS span 4 GiB from 0
  kKeyStack4 = 32,
  kKeyStack8 = 64,
};

/// Whether `guest` is AH, CH, DH or BH.
inline bool high(unsigned guest) { return (guest & kHighByte) != 0; }

/// How the flags can be made again from registers.
struct FlagRecipe {
  enum class Kind : std::uint8_t { none, add, sub, cmp, test, neg };
  Kind kind = Kind::none;
  std::uint8_t size = 0;
  std::uint8_t a = 0;  ///< guest register: the result, or the first operand of cmp and test
  std::uint8_t b = 0;  ///< guest register, or kGprZero: the immediate
  std::uint32_t immediate = 0;
  [[nodiscard]] bool uses(unsigned guest) const {
    return kind != Kind::none && (a == guest || b == guest);
  }
};

/// Where the guest's arithmetic flags are. While any of them is needed, one of the
/// three has them all.
struct FlagState {
  bool host = false;   ///< in the host's flags
  bool memory = true;  ///< in Context::raw_flags
  FlagRecipe recipe;
};

class BlockEmitter {
 public:
  BlockEmitter(Translator& translator, Assembler& assembler, Translation& translation);
  /// Emits everything. The Assembler stands behind it then.
  void emit();

 private:
  /// A place where the TLB did not answer: it is filled, and asked again.
  struct Refill {
    std::uint32_t jump = 0;
    std::uint32_t again = 0;
    unsigned bytes = 0;
    Access access = Access::read;
  };
  struct SlowWay {
    std::vector<std::uint32_t> jumps;
    std::vector<Refill> refills;
    FlagState before;
    FlagState after;
    std::uint32_t resume = 0;
    unsigned index = 0;
    bool last = false;  ///< the instruction ends the block: nothing to resume
  };

  using Reg = Xbyak::Reg;
  using Operand = Xbyak::Operand;

  void analyse();
  void emit_entry();
  void emit_cold();
  void emit_one(unsigned index);
  bool try_emit(const Instruction& i);
  void emit_handler(bool last);
  void emit_end();

  // Flags.
  [[nodiscard]] std::uint32_t live_in() const { return live_in_[index_]; }
  [[nodiscard]] std::uint32_t live_after() const { return live_in_[index_ + 1]; }
  void save_flags();
  void load_flags();
  void recompute();
  void flags_to_memory();
  void settle();
  void before_write(unsigned guest);
  void after_write(unsigned guest);
  void set_by_host(FlagRecipe recipe = {});
  void set_in_memory();
  void carry_to_host();
  unsigned condition(unsigned code, bool keep_t0);
  void carry_into_memory();

  // Operands.
  [[nodiscard]] Reg value(unsigned guest, unsigned bytes, int temporary);
  [[nodiscard]] Reg destination(unsigned guest, unsigned bytes, int temporary, bool load);
  void write(unsigned guest, unsigned bytes, int from);
  [[nodiscard]] std::uint32_t written_by(const Instruction& i) const;
  void finish_destination(unsigned guest, unsigned bytes, int temporary);
  void offset_of(const Instruction& i);
  void memory(const Instruction& i, unsigned bytes, Access access, unsigned alignment_mask = 0);
  void check(unsigned segment, unsigned bytes, Access access, unsigned alignment_mask = 0);
  [[nodiscard]] SlowWay& slow_way();

  // Instructions.
  bool alu(const Instruction& i, const RowEffects& e);
  void alu_operation(Operation op, const Operand& a, const Operand& b);
  void alu_immediate(Operation op, const Operand& a, std::uint32_t immediate);
  bool unary(const Instruction& i, const RowEffects& e);
  bool shift(const Instruction& i, const RowEffects& e);
  bool double_shift(const Instruction& i, const RowEffects& e);
  bool bit_test(const Instruction& i, const RowEffects& e);
  bool bit_scan(const Instruction& i, const RowEffects& e);
  bool multiply(const Instruction& i, const RowEffects& e);
  bool divide(const Instruction& i, const RowEffects& e);
  bool move(const Instruction& i, const RowEffects& e);
  bool extend_move(const Instruction& i, unsigned from, bool sign);
  bool lea(const Instruction& i);
  bool exchange(const Instruction& i, const RowEffects& e);
  bool compare_exchange(const Instruction& i);
  bool conditional(const Instruction& i, const RowEffects& e);
  bool push(const Instruction& i, const RowEffects& e);
  bool pop(const Instruction& i, const RowEffects& e);
  bool leave(const Instruction& i);
  bool convert(const Instruction& i, const RowEffects& e);
  bool carry_flag(const RowEffects& e);
  bool sse(const Instruction& i);
  void check_sse();
  bool floating(const Instruction& i);
  void check_float();
  void multiply_flags(const Reg& low);

  // Control.
  bool branch(const Instruction& i, const RowEffects& e);
  void go(std::int64_t page_offset);
  void add_edge(std::uint32_t patch_at, std::int64_t page_offset);
  void load_rip(std::int64_t page_offset);
  void look_up(std::vector<std::uint32_t>& misses);
  void enter_found();
  void stack_address(std::int32_t displacement);
  void move_stack(std::int32_t displacement);
  void exit_with(Exit reason);
  [[nodiscard]] std::uint32_t site(unsigned index, bool flags_in, bool flags_out, bool last);
  [[nodiscard]] std::int64_t offset_behind(const Instruction& i) const {
    return std::int64_t{translation_.page_offset} + i.next_offset;
  }
  [[nodiscard]] bool in_page(std::int64_t page_offset) const {
    return page_offset >= 0 && page_offset < static_cast<std::int64_t>(kPageSize);
  }

  Translator& translator_;
  Assembler& a_;
  const Layout& layout_;
  Translation& translation_;
  const Block& block_;
  const bool long64_;
  const bool flat_;
  const unsigned stack_width_;

  std::vector<std::uint32_t> live_in_;  ///< flags that somebody may still look at, before each
  FlagState flags_;
  unsigned index_ = 0;
  bool ended_ = false;
  bool sse_checked_ = false;  ///< an instruction before has made sure that SSE may be used
  std::vector<SlowWay> slow_;
  bool slow_open_ = false;
  std::vector<std::uint32_t> edges_;
  struct FarWay {
    std::uint32_t jump;
    std::int64_t page_offset;
    unsigned index;
  };
  std::vector<FarWay> far_;  ///< conditional jumps to other pages
  std::uint32_t budget_jump_ = 0;
  std::uint32_t tell_back_ = 0;
};

}  // namespace chronovisor::translate
