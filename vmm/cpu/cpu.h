// Owns the soft engine's processor: the parts it is made of and the face they
// show to instruction handlers, to the machine and to whoever looks from outside.
//   state/      registers, flags, and the mode that follows from them
//   mmu/        translation, permission checks, memory accesses
//   code/       decoded instructions and where they are found again
//   interpret/  the run loop, what is due at boundaries, and the handlers
//   translate/  emitted code for hot blocks
//   access_watch.h  breakpoints and watchpoints of guest and debugger
// It knows RAM and the CpuEnvironment, no device and no recording. One thread a
// machine.
//
// How a handler is written (CONTRIBUTING.md, "Add an instruction"):
//   * read operands, compute, do the store, then change registers: a fault
//     (Cpu::raise*, thrown as GuestFault and caught by the run loop) must leave
//     no trace. RIP is restored by the run loop.
//   * anything that changes mode, mappings, IF or RIP lives in a row with
//     kEndsBlock.
//   * what the mode follows from (CR0, CR3, CR4, EFER, RFLAGS.VM and AC, segment
//     registers, CPL) is changed by the set_ functions, which derive the rest.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/state.h"
#include "base/units.h"
#include "vmm/cpu/access_watch.h"
#include "vmm/cpu/code/code_cache.h"
#include "vmm/cpu/code/instruction.h"
#include "vmm/cpu/code/running_block.h"
#include "vmm/cpu/environment.h"
#include "vmm/cpu/mmu/mmu.h"
#include "vmm/cpu/state/fault.h"
#include "vmm/cpu/state/flags.h"
#include "vmm/cpu/state/mode.h"
#include "vmm/cpu/state/registers.h"
#include "vmm/cpu/translate/context.h"
#include "vmm/memory/dma_port.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

struct RetiredCounts;
namespace translate {
class Translator;
struct Settings;
}  // namespace translate

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

/// How an instruction ended that was executed without exceptions.
enum class Completion : std::uint8_t {
  next,      ///< the next one of the block may follow
  leave,     ///< it retired; the block must be left before the next one
  deferred,  ///< it did not retire: a fault or the host's error is pending, see take_pending()
};

class Cpu final : public MmuClient, public DmaObserver {
 public:
  Cpu(Ram& ram, CpuEnvironment& environment);
  ~Cpu() override;
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;

  // ============================ for the machine ==================================
  /// Power-on state. Source: SDM vol. 3A, "Processor State After Reset".
  void reset();
  /// The same by the reset line, while the machine runs: time goes on.
  void reset_line();
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
  /// Where an instruction began that touched what is watched.
  struct WatchedBy {
    Position position{kNever};
    std::uint64_t linear_rip = 0;
    std::uint64_t cr3 = 0;  ///< as the touch found it
  };
  /// The latest such instruction; one that loads CS or CR3 is known by what it touched before.
  [[nodiscard]] const WatchedBy& watched_by() const { return watched_by_; }
  /// Steps retired since power-on; exact while an instruction executes.
  [[nodiscard]] Position position() const { return run_.position(); }
  void set_position(Position position);
  /// Shows all state. Call state_replaced() after loading.
  void visit_state(StateVisitor& visitor);
  /// `state` or `flags` were changed from outside, not by an instruction: derives
  /// again whatever follows from them; drops the TLB, not the blocks. Users of a
  /// Machine see its Cpu as const, and change it by Machine::change_cpu() alone.
  void state_replaced();
  /// The RAM bytes of a page were replaced from outside (restore).
  void page_replaced(std::uint64_t page);
  /// Another engine executed one step and left its results in `state`, `flags`
  /// and RAM; `inside_repeat`: a REP instruction goes on at the same RIP.
  void step_retired_elsewhere(bool inside_repeat) {
    moment_before_ = {{run_.steps}, deliveries_};
    ++run_.steps;
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
  [[nodiscard]] bool observed() const { return watch_.anyone() || retired_ != nullptr; }
  /// Starts a dirty-tracking epoch: drops the write tags.
  void drop_write_tags() { mmu_.drop_write_tags(); }
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
  [[nodiscard]] CpuCounters counters() const;
  /// Chooses the gear: `settings` of the translator, or the interpreter alone. What
  /// the guest does is the same. Every Cpu begins with translate::default_settings().
  void set_translation(const translate::Settings& settings);
  /// Null: the interpreter alone.
  [[nodiscard]] const translate::Translator* translator() const { return translator_.get(); }

  // ============================ registers ==========================================
  CpuState state;
  Flags flags;

  [[nodiscard]] std::uint64_t& gpr(unsigned index) { return state.gpr[index]; }
  [[nodiscard]] std::uint64_t gpr(unsigned index) const { return state.gpr[index]; }
  [[nodiscard]] std::uint64_t& rip() { return state.gpr[kGprRip]; }
  [[nodiscard]] std::uint64_t rip() const { return state.gpr[kGprRip]; }
  /// RIP as a linear address: with the base of CS, cut to 32 bits, outside
  /// 64-bit mode.
  [[nodiscard]] std::uint64_t linear_rip() const { return linear_of(state.gpr[kGprRip]); }
  /// The address of the instruction that is executing (IP, not linear).
  [[nodiscard]] std::uint64_t instruction_rip() const { return run_.instruction_rip(); }

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
  [[nodiscard]] CpuMode mode() const { return mode_.mode(); }
  [[nodiscard]] bool long64() const { return mode_.long64(); }
  [[nodiscard]] bool long_mode_active() const { return (state.msr.efer & kEferLma) != 0; }
  [[nodiscard]] bool protected_mode() const { return (state.cr0 & kCr0Pe) != 0; }
  [[nodiscard]] bool virtual8086() const { return mode_.mode() == CpuMode::virtual8086; }
  [[nodiscard]] unsigned cpl() const { return mode_.cpl(); }
  /// Stack pointer width in bytes: 8, 4 or 2.
  [[nodiscard]] unsigned stack_width() const { return mode_.stack_width(); }
  /// Default operand size of the code segment in bytes: 2 or 4.
  [[nodiscard]] unsigned code_width() const { return mode_.code_width(); }
  [[nodiscard]] ModeKey mode_key() const { return mode_.key(); }

  /// While one is alive, the set_ functions below only write; what follows from
  /// the registers is derived once, when the outermost one ends.
  class ModeChange {
   public:
    explicit ModeChange(Cpu& cpu) : cpu_(cpu) { ++cpu_.mode_changes_; }
    ~ModeChange() {
      if (--cpu_.mode_changes_ == 0) cpu_.derive_mode();
    }
    ModeChange(const ModeChange&) = delete;
    ModeChange& operator=(const ModeChange&) = delete;

   private:
    Cpu& cpu_;
  };
  /// CR0 and, since CR0.PG decides about LMA, EFER. Translations that no longer
  /// hold are dropped, here and below; the values are checked by the caller.
  void set_cr0(std::uint64_t cr0, std::uint64_t efer);
  void set_cr3(std::uint64_t cr3);
  void set_cr4(std::uint64_t cr4);
  void set_efer(std::uint64_t efer);
  void set_segment(unsigned index, const SegmentRegister& segment);
  void set_segment_base(unsigned index, std::uint64_t base);
  /// CPL; used by whoever loads CS. SS.DPL is not consulted.
  void set_cpl(unsigned cpl);
  /// All of RFLAGS.
  void set_flags(std::uint32_t rflags) {
    const std::uint32_t before = flags.other();
    flags.set(rflags);
    if (((before ^ flags.other()) & Flags::kOfMode) != 0) derive_mode();
  }
  /// Bits of RFLAGS that are not arithmetic: first clears, then sets.
  void change_flags(std::uint32_t clear, std::uint32_t set) {
    const std::uint32_t before = flags.other();
    flags.change(clear, set);
    if (((before ^ flags.other()) & Flags::kOfMode) != 0) derive_mode();
  }

  // ============================ faults ===============================================
  [[noreturn]] void raise(std::uint8_t vector) const;
  [[noreturn]] void raise(std::uint8_t vector, std::uint32_t error_code) const;
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
    if (mode_.long64()) [[likely]]
      return mode_.segment_base(segment) + offset;
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
    const TlbEntry& entry = mmu_.data_entry(address);
    if (((address + sizeof(T) - 1) & kPageMask) == entry.write_tag) [[likely]] {
      return read_host<T>(address + entry.host_minus_linear);
    }
    return load_slow<T>(address, segment, Access::write);
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
    const TlbEntry& entry = mmu_.data_entry(address);
    if (((address + sizeof(T) - 1) & kPageMask) == entry.read_tag) [[likely]] {
      return read_host<T>(address + entry.host_minus_linear);
    }
    return load_slow<T>(address, segment, Access::read);
  }
  template <class T>
  void store_linear(std::uint64_t address, T value, unsigned segment = kDs) {
    const TlbEntry& entry = mmu_.data_entry(address);
    if (((address + sizeof(T) - 1) & kPageMask) == entry.write_tag) [[likely]] {
      std::memcpy(reinterpret_cast<void*>(address + entry.host_minus_linear), &value, sizeof(T));
      return;
    }
    store_slow<T>(address, segment, value);
  }
  /// Implicit supervisor accesses: descriptor tables, TSS, IDT, whatever CPL.
  template <class T>
  [[nodiscard]] T load_system(std::uint64_t address);
  template <class T>
  void store_system(std::uint64_t address, T value);
  /// Raises what the implicit supervisor access would raise.
  void probe_system(std::uint64_t address, unsigned size, Access access);

  /// For bulk string iterations: the host address of `linear` if `access` there
  /// needs no slow path, with how many bytes from it to the end of the page;
  /// nothing otherwise (then go element by element).
  using DirectSpan = Mmu::DirectSpan;
  [[nodiscard]] DirectSpan direct(std::uint64_t linear, Access access) const {
    return mmu_.direct(linear, access);
  }

  /// Lets direct() know of what an access that comes next will use. @see Mmu::refill
  [[nodiscard]] bool refill(std::uint64_t linear, unsigned size, Access access) {
    return mmu_.refill(linear, size, access);
  }

  /// Stack, at the current stack width. Raises #SS.
  template <class T>
  void push(T value) {
    const std::uint64_t sp = cut(state.gpr[kRsp] - sizeof(T), stack_width());
    store<T>(kSs, sp, value);
    set_stack_pointer(sp);
  }
  template <class T>
  [[nodiscard]] T pop() {
    const T value = load<T>(kSs, cut(state.gpr[kRsp], stack_width()));
    set_stack_pointer(state.gpr[kRsp] + sizeof(T));
    return value;
  }
  /// Writes RSP, ESP or SP by the stack width (the rest stays).
  void set_stack_pointer(std::uint64_t value) {
    if (stack_width() == 8) [[likely]] {
      state.gpr[kRsp] = value;
    } else if (stack_width() == 4) {
      state.gpr[kRsp] = static_cast<std::uint32_t>(value);
    } else {
      state.gpr[kRsp] = (state.gpr[kRsp] & ~0xffffULL) | (value & 0xffff);
    }
  }

  // ============================ control flow ===========================================
  /// Near transfer: checks the limit or canonical form (#GP(0)), sets RIP.
  /// The target is already cut to the operand size. Do it before other changes.
  void jump_near(std::uint64_t target) {
    if (mode_.long64()) [[likely]] {
      if (!canonical(target)) raise_gp0();
    } else if (target > state.segment[kCs].limit) {
      raise_gp0();
    }
    rip() = target;
  }
  [[nodiscard]] static bool canonical(std::uint64_t address) { return canonical_address(address); }
  /// The block ends after this instruction; interrupts and mode are looked at.
  void leave_block() {
    run_.end = run_.current + 1;
    run_.pause = true;
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
  /// SYSCALL and SYSRET: TF counts as they leave it, not as they found it.
  void single_step_by_new_flags();
  /// The instruction that executes stands right behind a load of SS, which it is
  /// itself no reason to hold anything back again.
  [[nodiscard]] bool behind_mov_ss() const { return behind_mov_ss_; }

  // ============================ steps of REP ============================================
  /// Most iterations a repeated string instruction may do now: at least 1.
  [[nodiscard]] std::uint64_t repeat_budget() const { return run_.repeat_budget; }
  /// Counts iterations done, after each one (or each bulk of them) is complete
  /// with registers updated. After an iteration check repeat_must_pause().
  void count_iterations(std::uint64_t count) { run_.iterations += count; }
  /// An iteration touched a device or changed code: stop at this boundary.
  [[nodiscard]] bool repeat_must_pause() const { return run_.pause; }
  /// The instruction is not finished: it will be executed again.
  void repeat_unfinished() { rip() = instruction_rip(); }

  // ============================ MMU ======================================================
  /// Drops all translations.
  void flush_tlb() { mmu_.flush(); }
  /// PAE: the four PDPTEs that `cr3` leads to; raises #GP(0) if one has reserved bits set.
  [[nodiscard]] std::array<std::uint64_t, 4> checked_pdptes(std::uint64_t cr3);
  /// Translates without side effects (for debuggers): no A or D bits, no faults.
  [[nodiscard]] std::optional<GuestPhysical> translate_for_debugger(GuestLinear linear) const;
  /// Whether `linear` is mapped and every table entry on the way has its A bit:
  /// then no walk for it, one that ends in a fault included, changes any of them.
  [[nodiscard]] bool accessed_throughout(GuestLinear linear) const;
  /// As the processor walks now, without side effects. @see Mmu::look
  [[nodiscard]] const Mmu& mmu() const { return mmu_; }

  [[nodiscard]] CpuEnvironment& environment() const { return environment_; }
  [[nodiscard]] Ram& ram() { return ram_; }

  // ============================ for translated code =======================================
  // Frames of translated code cannot be unwound, so nothing here throws: what would
  // is kept, and the caller leaves the block and lets take_pending() deal with it.

  /// Execution begins with the first instruction of `block`, for at most `budget`
  /// steps. position() and the fault bookkeeping are exact from here on, while the
  /// instructions are executed by execute().
  void enter_block(const Block& block, std::uint64_t budget);
  /// Executes `instruction`, of the block that was entered, by its handler.
  [[nodiscard]] Completion execute(const Instruction& instruction) noexcept;
  /// All instructions of the block before `next` have retired, and execution leaves
  /// it; RIP is right. A REP instruction may be unfinished.
  void finish_block(const Instruction* next);
  /// After Completion::deferred or a failed try_: RIP goes back to
  /// the instruction, and what is pending is delivered to the guest or thrown
  /// (the host's errors) to the caller of run().
  void take_pending();
  /// load_linear and its like; false: a fault or the host's error is pending.
  template <class T>
  [[nodiscard]] bool try_load(std::uint64_t linear, unsigned segment, Access access,
                              T& out) noexcept;
  template <class T>
  [[nodiscard]] bool try_store(std::uint64_t linear, unsigned segment, T value) noexcept;

  // ============================ MmuClient =================================================
  void before_write_to_used_page(std::uint64_t offset, std::uint64_t size) override;
  void memory_moved() override { flush_tlb(); }
  void device_touched() override { request_recheck(); }
  void code_translations_dropped() override {
    code_.forget_jumps();
    leave_block();
  }
  void user_code_translations_dropped() override {
    code_.forget_user_jumps();
    leave_block();
  }
  void address_space_entered(unsigned number, bool known) override {
    code_.enter_address_space(number, known);
  }
  void watched_access() override {
    if (!run_.idle() && context_set_at_ != run_.position()) {
      watched_by_ = {run_.position(), linear_of(run_.instruction_rip()), state.cr3};
    }
    leave_block();
  }

  // ============================ DmaObserver ===============================================
  void device_wrote(const DmaWriter& writer, GuestPhysical address, std::uint64_t size) override;

 private:
  void derive_mode();
  [[nodiscard]] std::uint64_t linear_of(std::uint64_t ip) const {
    return long64() ? ip : static_cast<std::uint32_t>(ip + state.segment[kCs].base);
  }

  // interpret/data_access.cpp: the cold halves of memory access.
  template <class T>
  [[nodiscard]] T load_slow(std::uint64_t address, unsigned segment, Access access);
  template <class T>
  void store_slow(std::uint64_t address, unsigned segment, T value);
  [[nodiscard]] std::uint64_t linear_checked(unsigned segment, std::uint64_t offset, unsigned size,
                                             Access access) const;
  [[nodiscard]] bool within_segment_rules(const SegmentRegister& segment, std::uint64_t offset,
                                          unsigned size, Access access) const;

  // interpret/fetch.cpp: null when a fault is pending.
  [[nodiscard]] const Block* find_block();
  [[nodiscard]] const Block* find_block_slow(std::uint64_t linear_rip);
  [[nodiscard]] const Block* find_block_observed(std::uint64_t linear_rip);
  [[nodiscard]] const Block* build_block(std::uint64_t linear_rip, std::uint64_t ram_offset,
                                         std::uint64_t limit_bytes);
  [[nodiscard]] const Block* build_crossing_block(std::uint64_t linear_rip, ByteView first,
                                                  std::uint64_t limit_bytes,
                                                  std::unique_ptr<Block> block);
  [[nodiscard]] const Block* decode_once(std::uint64_t linear_rip, std::uint64_t limit_bytes);
  void mark_code_page(std::uint64_t page);
  [[nodiscard]] const Block* fetch_fault(const GuestFault& fault) {
    pending_ = fault;
    return nullptr;
  }

  // interpret/boundary.cpp: what is due between two steps.
  bool deliver_at_boundary();
  [[nodiscard]] bool instruction_breakpoint(std::uint64_t linear_rip, CpuStop& stop);
  void deliver_fault(const GuestFault& fault);
  void note_single_step(const Instruction& instruction, std::uint64_t rip_behind);
  void count_delivery();
  void count_undefined();

  // interpret/run_loop.cpp
  /// What a step of the run loop has to heed.
  struct StepLimits {
    std::uint64_t budget = 1;       ///< most steps
    bool single_step = false;       ///< RFLAGS.TF: a trap follows
    bool may_be_translated = true;  ///< nothing needs a look before each instruction
  };
  void step_block(const StepLimits& limits);
  [[nodiscard]] bool execute_translated(const Block& block, std::uint64_t budget);
  const Instruction* execute_block(const Block& block, std::uint64_t budget);
  void abandon_block();
  void count_retired(const Block& block, const Instruction* last);

  Ram& ram_;
  CpuEnvironment& environment_;
  ProcessorMode mode_;
  RunningBlock run_;
  AccessWatch watch_;
  Mmu mmu_;
  CodeCache code_;
  RetiredCounts* retired_ = nullptr;
  GuestFault pending_;                ///< a fault that travels as a value
  std::exception_ptr pending_error_;  ///< and the host's
  unsigned mode_changes_ = 0;         ///< ModeChange objects alive
  std::uint64_t entered_at_ = 0;      ///< steps retired when the run loop last looked
  bool recheck_ = false;
  bool interrupt_request_ = false;
  bool single_step_suppressed_ = false;
  bool behind_mov_ss_ = false;
  bool faulted_ = false;        ///< translated code ended in pending_
  bool inside_repeat_ = false;  ///< the last step left a REP instruction unfinished
  std::uint32_t deliveries_ = 0;
  std::pair<Position, std::uint32_t> moment_before_;  ///< for observers only
  WatchedBy watched_by_;                              ///< the same
  Position context_set_at_{kNever};                   ///< where CS or CR3 was loaded last
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
