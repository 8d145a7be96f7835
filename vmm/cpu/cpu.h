// Owns the soft engine's processor: registers, memory access with all checks,
// faults, and the run loop over decoded blocks. It knows RAM and the
// CpuEnvironment, no device and no recording. Instruction handlers (functions
// in execute/ and system/) use the public part below. One thread a machine.
//
// How a handler is written:
//   * read operands, compute, do the store, then change registers: a fault
//     (Cpu::raise*, thrown as GuestFault and caught by the run loop) must leave
//     no trace. RIP is restored by the run loop.
//   * anything that changes mode, mappings, IF or RIP lives in a row with
//     kEndsBlock.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "vmm/cpu/code/instruction.h"
#include "vmm/cpu/environment.h"
#include "vmm/cpu/mmu/tlb.h"
#include "vmm/cpu/state/flags.h"
#include "vmm/cpu/state/registers.h"
#include "vmm/cpu/translate/context.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

class AccessObserver;
class BlockCache;
struct Block;
class DebugHooks;
struct RetiredCounts;
namespace translate {
class Translator;
struct Settings;
}  // namespace translate

/// An exception the guest must receive. Data, not an Error.
struct GuestFault {
  std::uint8_t vector = 0;
  bool has_error_code = false;
  std::uint32_t error_code = 0;
  std::uint64_t cr2 = 0;  ///< for #PF: the faulting linear address
};

enum class Access : std::uint8_t { read, write, execute };

enum class CpuMode : std::uint8_t { real, virtual8086, protected_mode, compatibility, long64 };

/// Why run() came back.
enum class CpuStop : std::uint8_t {
  budget,      ///< the position asked for is reached
  recheck,     ///< a device was touched: deadlines and interrupt lines may have changed
  halted,      ///< HLT with nothing pending
  shutdown,    ///< triple fault
  breakpoint,  ///< about to execute at an address in DebugHooks
  watchpoint,  ///< the step just retired touched a watched range
};

/// Diagnostics outside the guest; not state, not in any digest.
struct CpuCounters {
  std::uint64_t undefined_instructions = 0;       ///< not those meant to be: UD0, UD1, UD2
  std::array<std::uint8_t, 15> last_undefined{};  ///< bytes of the latest #UD instruction
  std::uint64_t last_undefined_rip = 0;
  std::uint64_t blocks_decoded = 0;
  std::uint64_t slow_accesses = 0;
  std::uint64_t page_walks = 0;
};

class Cpu final : public PageUseListener {
 public:
  Cpu(Ram& ram, CpuEnvironment& environment);
  ~Cpu() override;
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;

  // ============================ for the machine ==================================
  /// Power-on state. Source: SDM vol. 3A, "Processor State After Reset".
  void reset();
  /// Runs until `until` at the latest. Delivers pending interrupts and traps at
  /// step boundaries. Stops on arrival at `until`, before anything due there is
  /// delivered; or, with `deliveries`, once that many exceptions and interrupts
  /// have been delivered at that position.
  CpuStop run(Position until, std::uint32_t deliveries = 0);
  /// A guest with so many at one position will never retire a step again: its
  /// handler faults where it begins. run() comes back with `recheck` by then, and
  /// often before, so that somebody can end it.
  static constexpr std::uint32_t kMostDeliveries = 1U << 22;
  /// Exceptions and interrupts delivered since the last step retired.
  [[nodiscard]] std::uint32_t deliveries() const { return deliveries_; }
  /// The moment before the latest step or delivery: position and deliveries.
  [[nodiscard]] std::pair<Position, std::uint32_t> moment_before() const { return moment_before_; }
  /// Steps retired since power-on; exact while an instruction executes.
  [[nodiscard]] Position position() const {
    return {steps_ + static_cast<std::uint64_t>(current_ - block_begin_) + iterations_};
  }
  void set_position(Position position);
  /// Shows all state. Call state_restored() after loading.
  void visit_state(StateVisitor& visitor);
  /// Re-derives everything cached from the registers; drops TLB, not the blocks.
  void state_restored();
  /// The RAM bytes of a page were replaced from outside (restore).
  void page_replaced(std::uint64_t page);
  /// Another engine executed one step and left its results in `state`, `flags`
  /// and RAM; `inside_repeat`: a REP instruction goes on at the same RIP.
  void step_retired_elsewhere(bool inside_repeat) {
    moment_before_ = {{steps_}, deliveries_};
    ++steps_;
    deliveries_ = 0;
    inside_repeat_ = inside_repeat;
  }
  /// Whether the last step left a REP instruction unfinished, so that the next
  /// one does not arrive at it anew.
  [[nodiscard]] bool inside_repeat() const { return inside_repeat_; }
  /// RIP was set from outside: the next step arrives at its instruction.
  void rip_replaced() { inside_repeat_ = false; }
  /// The latest run() touched a device, or took an interrupt.
  [[nodiscard]] bool recheck_requested() const { return recheck_; }
  /// Someone outside watches instructions or accesses.
  [[nodiscard]] bool observed() const {
    return hooks_ != nullptr || observer_ != nullptr || retired_ != nullptr;
  }
  /// Starts a dirty-tracking epoch: drops the write tags.
  void drop_write_tags();
  void set_debug_hooks(DebugHooks* hooks);
  /// From here on `observer` is told of first touches; setting it again begins
  /// anew. Null: nobody. The observer must outlive this or be replaced.
  void set_access_observer(AccessObserver* observer);
  /// From here on `counts` are kept; null: nobody counts, and nothing is paid for
  /// it. They must outlive this or be replaced.
  void set_retired_counts(RetiredCounts* counts) { retired_ = counts; }
  /// INTR: some controller has a vector to deliver. Derived from the devices,
  /// so not part of the CPU's state.
  void set_interrupt_request(bool level) { interrupt_request_ = level; }
  [[nodiscard]] bool interrupt_requested() const { return interrupt_request_; }
  void request_nmi() {
    state.nmi_pending = true;
    leave_block();
  }
  [[nodiscard]] const CpuCounters& counters() const { return counters_; }
  /// Chooses the gear: `settings` of the translator, or the interpreter alone. What
  /// the guest does is the same. Every Cpu begins with translate::default_settings().
  void set_translation(const translate::Settings& settings);
  /// Null: the interpreter alone.
  [[nodiscard]] const translate::Translator* translator() const { return translator_.get(); }

  // ============================ registers ==========================================
  CpuState state;
  Flags flags;

  [[nodiscard]] std::uint64_t& gpr(unsigned index) { return state.gpr[index]; }
  [[nodiscard]] std::uint64_t& rip() { return state.gpr[kGprRip]; }
  /// RIP as a linear address: with the base of CS, cut to 32 bits, outside
  /// 64-bit mode.
  [[nodiscard]] std::uint64_t linear_rip() const {
    const std::uint64_t offset = state.gpr[kGprRip];
    return long64() ? offset : static_cast<std::uint32_t>(offset + state.segment[kCs].base);
  }
  /// The address of the instruction that is executing (IP, not linear).
  [[nodiscard]] std::uint64_t instruction_rip() const {
    return block_rip_ + current_->start_offset;
  }

  /// Reads a register as the decoder numbered it (byte registers: kHighByte).
  template <class T>
  [[nodiscard]] T reg(unsigned index) const {
    if constexpr (sizeof(T) == 1) {
      return static_cast<T>(state.gpr[index & 15] >> ((index & kHighByte) >> 1));
    } else {
      return static_cast<T>(state.gpr[index]);
    }
  }
  /// Writes it; a 32-bit write clears the upper half, as in 64-bit mode.
  template <class T>
  void set_reg(unsigned index, T value) {
    if constexpr (sizeof(T) == 1) {
      const unsigned shift = (index & kHighByte) >> 1;
      std::uint64_t& whole = state.gpr[index & 15];
      whole = (whole & ~(0xffULL << shift)) |
              (std::uint64_t{static_cast<std::uint8_t>(value)} << shift);
    } else if constexpr (sizeof(T) == 2) {
      state.gpr[index] = (state.gpr[index] & ~0xffffULL) | static_cast<std::uint16_t>(value);
    } else if constexpr (sizeof(T) == 4) {
      state.gpr[index] = static_cast<std::uint32_t>(value);
    } else {
      state.gpr[index] = static_cast<std::uint64_t>(value);
    }
  }

  // ============================ mode ================================================
  [[nodiscard]] CpuMode mode() const { return mode_; }
  [[nodiscard]] bool long64() const { return mode_ == CpuMode::long64; }
  [[nodiscard]] bool long_mode_active() const { return (state.msr.efer & kEferLma) != 0; }
  [[nodiscard]] bool protected_mode() const { return (state.cr0 & kCr0Pe) != 0; }
  [[nodiscard]] bool virtual8086() const { return mode_ == CpuMode::virtual8086; }
  [[nodiscard]] unsigned cpl() const { return cpl_; }
  /// Sets CPL; used by whoever loads CS. SS.DPL is not consulted.
  void set_cpl(unsigned cpl) {
    cpl_ = static_cast<std::uint8_t>(cpl);
    mode_changed();
  }
  /// Stack pointer width in bytes: 8, 4 or 2.
  [[nodiscard]] unsigned stack_width() const { return stack_width_; }
  /// Default operand size of the code segment in bytes: 2 or 4.
  [[nodiscard]] unsigned code_width() const { return code_width_; }
  /// Must follow any change of CR0, CR4, EFER, RFLAGS.VM/AC, CS, SS or CPL:
  /// re-derives mode, widths, segment shortcuts and the TLB context.
  void mode_changed();
  /// Must follow any change of segment[index] (mode_changed() covers all).
  void segment_changed(unsigned index);

  // ============================ faults ===============================================
  [[noreturn]] void raise(std::uint8_t vector) const;
  [[noreturn]] void raise(std::uint8_t vector, std::uint32_t error_code) const;
  [[noreturn]] void raise_page_fault(std::uint64_t linear, std::uint32_t error_code) const;
  [[noreturn]] void raise_gp0() const { raise(kGeneralProtection, 0); }
  [[noreturn]] void raise_ud() const { raise(kInvalidOpcode); }

  // ============================ memory ================================================
  /// Offset of the memory operand within its segment.
  [[nodiscard]] std::uint64_t effective_address(const Instruction& i) const {
    const std::uint64_t address = state.gpr[i.base] + (state.gpr[i.index] << i.scale) +
                                  static_cast<std::uint64_t>(std::int64_t{i.displacement});
    if (i.address_size == 8) [[likely]]
      return address;
    return i.address_size == 4 ? static_cast<std::uint32_t>(address)
                               : static_cast<std::uint16_t>(address);
  }
  /// Cuts an address to the address size, for string instructions and the like.
  [[nodiscard]] static std::uint64_t cut(std::uint64_t value, unsigned size_bytes) {
    return size_bytes == 8 ? value : value & ((1ULL << (8 * size_bytes)) - 1);
  }
  /// Segment checks (limit, type, canonical form outside paging) and base.
  /// Raises #GP(0), or #SS(0) for SS.
  template <Access A>
  [[nodiscard]] std::uint64_t linear(unsigned segment, std::uint64_t offset, unsigned size) {
    if (mode_ == CpuMode::long64) [[likely]]
      return segment_base_[segment] + offset;
    return linear_checked(segment, offset, size, A);
  }

  /// Data access at the current privilege. T is an unsigned integer of 1 to 8
  /// bytes or Xmm. Any alignment; an access across two pages faults before it
  /// changes anything.
  template <class T>
  [[nodiscard]] T load(unsigned segment, std::uint64_t offset) {
    return load_linear<T>(linear<Access::read>(segment, offset, sizeof(T)), segment);
  }
  template <class T>
  void store(unsigned segment, std::uint64_t offset, T value) {
    store_linear<T>(linear<Access::write>(segment, offset, sizeof(T)), value, segment);
  }
  /// First half of a read-modify-write: faults as a write would. The store to
  /// the same place that follows cannot fault.
  template <class T>
  [[nodiscard]] T load_for_update(unsigned segment, std::uint64_t offset) {
    const std::uint64_t address = linear<Access::write>(segment, offset, sizeof(T));
    const TlbEntry& entry = tlb_->data[tlb_index(address)];
    if (((address + sizeof(T) - 1) & kPageMask) == entry.write_tag) [[likely]] {
      return read_host<T>(address + entry.host_minus_linear);
    }
    T value;
    read_slow(address, &value, sizeof(T), segment, Access::write, false);
    return value;
  }
  /// The memory operand of `i`.
  template <class T>
  [[nodiscard]] T load_operand(const Instruction& i) {
    return load<T>(i.segment, effective_address(i));
  }
  template <class T>
  void store_operand(const Instruction& i, T value) {
    store<T>(i.segment, effective_address(i), value);
  }
  template <class T>
  [[nodiscard]] T load_operand_for_update(const Instruction& i) {
    return load_for_update<T>(i.segment, effective_address(i));
  }
  /// Raises now whatever a write (or read) of the range would raise, and
  /// changes nothing else but A and D bits. For stores in several parts.
  void probe(unsigned segment, std::uint64_t offset, unsigned size, Access access);

  /// The same by linear address; `segment` only selects #SS or #GP for
  /// non-canonical addresses.
  template <class T>
  [[nodiscard]] T load_linear(std::uint64_t address, unsigned segment = kDs) {
    const TlbEntry& entry = tlb_->data[tlb_index(address)];
    if (((address + sizeof(T) - 1) & kPageMask) == entry.read_tag) [[likely]] {
      return read_host<T>(address + entry.host_minus_linear);
    }
    T value;
    read_slow(address, &value, sizeof(T), segment, Access::read, false);
    return value;
  }
  template <class T>
  void store_linear(std::uint64_t address, T value, unsigned segment = kDs) {
    const TlbEntry& entry = tlb_->data[tlb_index(address)];
    if (((address + sizeof(T) - 1) & kPageMask) == entry.write_tag) [[likely]] {
      std::memcpy(reinterpret_cast<void*>(address + entry.host_minus_linear), &value, sizeof(T));
      return;
    }
    write_slow(address, &value, sizeof(T), segment, false);
  }
  /// Implicit supervisor accesses: descriptor tables, TSS, IDT, whatever CPL.
  template <class T>
  [[nodiscard]] T load_system(std::uint64_t address) {
    T value;
    read_slow(address, &value, sizeof(T), kDs, Access::read, true);
    return value;
  }
  template <class T>
  void store_system(std::uint64_t address, T value) {
    write_slow(address, &value, sizeof(T), kDs, true);
  }
  /// Raises what the implicit supervisor access would raise.
  void probe_system(std::uint64_t address, unsigned size, Access access);

  /// For bulk string iterations: the host address of `linear` if `access` there
  /// needs no slow path, with how many bytes from it to the end of the page;
  /// nothing otherwise (then go element by element).
  struct DirectSpan {
    std::uint8_t* host = nullptr;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] DirectSpan direct(std::uint64_t linear, Access access);

  /// Stack, at the current stack width. Raises #SS.
  template <class T>
  void push(T value) {
    const std::uint64_t sp = cut(state.gpr[kRsp] - sizeof(T), stack_width_);
    store<T>(kSs, sp, value);
    set_stack_pointer(sp);
  }
  template <class T>
  [[nodiscard]] T pop() {
    const T value = load<T>(kSs, cut(state.gpr[kRsp], stack_width_));
    set_stack_pointer(state.gpr[kRsp] + sizeof(T));
    return value;
  }
  /// Writes RSP, ESP or SP by the stack width (the rest stays).
  void set_stack_pointer(std::uint64_t value) {
    if (stack_width_ == 8) [[likely]] {
      state.gpr[kRsp] = value;
    } else if (stack_width_ == 4) {
      state.gpr[kRsp] = static_cast<std::uint32_t>(value);
    } else {
      state.gpr[kRsp] = (state.gpr[kRsp] & ~0xffffULL) | (value & 0xffff);
    }
  }

  // ============================ control flow ===========================================
  /// Near transfer: checks the limit or canonical form (#GP(0)), sets RIP.
  /// The target is already cut to the operand size. Do it before other changes.
  void jump_near(std::uint64_t target) {
    if (mode_ == CpuMode::long64) [[likely]] {
      if (!canonical(target)) raise_gp0();
    } else if (target > state.segment[kCs].limit) {
      raise_gp0();
    }
    rip() = target;
  }
  [[nodiscard]] static bool canonical(std::uint64_t address) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16) == address;
  }
  /// The block ends after this instruction; interrupts and mode are looked at.
  void leave_block() {
    block_end_ = current_ + 1;
    pause_ = true;
  }
  /// As leave_block, and run() returns CpuStop::recheck: a device was touched.
  void request_recheck() {
    recheck_ = true;
    leave_block();
  }

  /// An instruction has read or written a port: the guest's I/O breakpoints.
  void note_port_access(std::uint16_t port, unsigned size);

  /// INT n and its like delivered an event with TF clear: no #DB for this step.
  void suppress_single_step() { single_step_suppressed_ = true; }

  // ============================ steps of REP ============================================
  /// Most iterations a repeated string instruction may do now: at least 1.
  [[nodiscard]] std::uint64_t repeat_budget() const { return repeat_budget_; }
  /// Counts iterations done, after each one (or each bulk of them) is complete
  /// with registers updated. After an iteration check repeat_must_pause().
  void count_iterations(std::uint64_t count) { iterations_ += count; }
  /// An iteration touched a device or changed code: stop at this boundary.
  [[nodiscard]] bool repeat_must_pause() const { return pause_; }
  /// The instruction is not finished: it will be executed again.
  void repeat_unfinished() { rip() = instruction_rip(); }

  // ============================ MMU ======================================================
  /// Drops all translations (CR3, CR0.PG/WP, CR4 and EFER changes).
  void flush_tlb();
  /// INVLPG.
  void flush_tlb_page(std::uint64_t linear);
  /// PAE: loads the four PDPTEs from `cr3`; raises #GP(0) if one has reserved bits set.
  void load_pdptes(std::uint64_t cr3);
  /// Translates without side effects (for debuggers): no A or D bits, no faults.
  [[nodiscard]] std::optional<GuestPhysical> translate_for_debugger(std::uint64_t linear) const;
  /// Whether `linear` is mapped and every table entry on the way has its A bit:
  /// then no walk for it, one that ends in a fault included, changes any of them.
  [[nodiscard]] bool accessed_throughout(std::uint64_t linear) const;

  [[nodiscard]] CpuEnvironment& environment() { return environment_; }
  [[nodiscard]] Ram& ram() { return ram_; }

  void before_write_to_used_page(std::uint64_t offset, std::uint64_t size) override;

 private:
  /// Where a linear page lies and what may be done with it.
  struct Translation {
    std::uint64_t physical_page = 0;  ///< address of the 4 KiB page
    bool writable = false;            ///< in the access world it was made for
  };
  struct PageWalk;

  // paging.cpp
  [[nodiscard]] std::optional<GuestPhysical> walk_for_debugger(std::uint64_t linear,
                                                               bool& accessed) const;
  [[nodiscard]] Translation translate(std::uint64_t address, Access access, TlbContext context,
                                      unsigned segment);
  [[nodiscard]] Translation walk(std::uint64_t address, Access access, TlbContext context);
  [[nodiscard]] Translation finish_walk(PageWalk& walk, unsigned level, std::uint64_t address,
                                        Access access, TlbContext context);
  [[nodiscard]] std::uint64_t read_table_entry(PageWalk& walk, unsigned level);
  void set_table_bits(const PageWalk& walk, unsigned level, std::uint64_t bits);
  void mark_table_page(std::uint64_t page, bool leaf);
  void table_page_written(std::uint64_t offset, std::uint64_t size);

  // memory_access.cpp
  void read_slow(std::uint64_t address, void* out, unsigned size, unsigned segment, Access access,
                 bool system);
  void write_slow(std::uint64_t address, const void* data, unsigned size, unsigned segment,
                  bool system);
  void write_ram(std::uint64_t offset, const void* data, unsigned size);
  void read_physical(std::uint64_t physical, std::uint8_t* out, unsigned size);
  void write_physical(std::uint64_t physical, const std::uint8_t* data, unsigned size);
  void fill_tlb(std::uint64_t address, TlbContext context, const Translation& translation,
                Access access);
  void check_alignment(std::uint64_t address, unsigned size) const;
  void note_data_access(std::uint64_t address, unsigned size, Access access);
  void note_debug_range(std::uint64_t address, unsigned size, unsigned kinds);
  void drop_write_tags_of(std::uint64_t page);
  [[nodiscard]] bool page_watched(std::uint64_t linear_page) const;
  [[nodiscard]] TlbContext access_context(bool system) const;
  [[nodiscard]] std::uint64_t linear_checked(unsigned segment, std::uint64_t offset, unsigned size,
                                             Access access);

  // run_loop.cpp
  [[nodiscard]] const Block& find_block();
  [[nodiscard]] const Block& find_block_slow(std::uint64_t linear_rip);
  [[nodiscard]] const Block& find_block_observed(std::uint64_t linear_rip);
  [[nodiscard]] const Block& build_block(std::uint64_t linear_rip, std::uint64_t ram_offset,
                                         std::uint64_t limit_bytes);
  [[nodiscard]] const Block& decode_once(std::uint64_t linear_rip, std::uint64_t limit_bytes);
  [[nodiscard]] std::uint64_t fetch_translate(std::uint64_t linear);
  // Counted: whether retired_ is kept. The loop that counts nothing has no test for it.
  template <bool Counted>
  CpuStop run_loop(Position until, std::uint32_t deliveries);
  template <bool Counted>
  void execute_block(const Block& block, std::uint64_t budget);
  bool deliver_at_boundary();
  [[nodiscard]] bool instruction_breakpoint(std::uint64_t linear_rip, CpuStop& stop);
  template <bool Counted>
  void step_block(std::uint64_t budget, bool single_step, bool careful);
  void deliver_fault(const GuestFault& fault, std::uint64_t steps_before);
  void count_delivery();
  void settle_steps();
  void count_undefined();
  /// Where current_ points while no instruction executes.
  [[nodiscard]] static const Instruction* idle_instruction();
  void forget_jumps() { ++jump_generation_; }

  Ram& ram_;
  CpuEnvironment& environment_;
  DebugHooks* hooks_ = nullptr;
  AccessObserver* observer_ = nullptr;
  RetiredCounts* retired_ = nullptr;
  std::uint64_t observer_interval_ = 0;  ///< counts set_access_observer()

  // Derived from state; rebuilt by mode_changed().
  CpuMode mode_ = CpuMode::real;
  std::uint8_t cpl_ = 0;
  std::uint8_t stack_width_ = 2;
  std::uint8_t code_width_ = 2;
  std::array<std::uint64_t, 8> segment_base_{};  ///< 0 for ES, CS, SS, DS in 64-bit mode
  std::array<std::uint8_t, 8>
      segment_shortcut_{};  ///< bit 0 readable, bit 1 writable, base-0 4 GiB
  Tlb* tlb_;                ///< of the present TlbContext
  std::unique_ptr<std::array<Tlb, kTlbContexts>> tlbs_;
  struct PageMark {
    std::uint32_t leaf_table = 0;    ///< TLB epoch in which it served as a last-level table
    std::uint32_t upper_table = 0;   ///< ... or as a table above that
    std::uint32_t write_tagged = 0;  ///< ... or got a write tag
  };
  std::vector<PageMark> page_marks_;  ///< by RAM page
  std::uint32_t tlb_epoch_ = 1;       ///< counts full flushes

  // Where execution is.
  std::uint64_t steps_ = 0;       ///< retired before block_begin_
  std::uint64_t iterations_ = 0;  ///< of the REP instruction at current_
  const Instruction* current_ = nullptr;
  const Instruction* block_begin_ = nullptr;
  const Instruction* block_end_ = nullptr;
  std::uint64_t block_rip_ = 0;
  std::uint64_t repeat_budget_ = 1;
  bool recheck_ = false;
  bool pause_ = false;
  bool interrupt_request_ = false;
  bool single_step_suppressed_ = false;
  bool inside_repeat_ = false;  ///< the last step left a REP instruction unfinished
  std::uint32_t deliveries_ = 0;
  std::pair<Position, std::uint32_t> moment_before_;  ///< for observers only

  std::unique_ptr<BlockCache> blocks_;
  std::unique_ptr<Block> once_;  ///< the block that is never cached
  struct Jump {
    std::uint64_t linear_rip = 0;
    std::uint64_t tag = 0;  ///< generation and mode; 0 never matches
    const Block* block = nullptr;
  };
  static constexpr std::size_t kJumps = 8192;
  std::vector<Jump> jumps_;
  std::uint64_t jump_generation_ = 1;
  std::uint64_t mode_key_ = 0;  ///< what decoding and fetching depend on
  bool watchpoint_hit_ = false;
  CpuCounters counters_;

  friend class translate::Translator;
  translate::Context translation_;
  std::unique_ptr<translate::Translator> translator_;

  template <class T>
  static T read_host(std::uint64_t host_address) {
    T value;
    std::memcpy(&value, reinterpret_cast<const void*>(host_address), sizeof(T));
    return value;
  }
};

}  // namespace chronovisor
