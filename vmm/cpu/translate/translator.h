// Owns the second gear of the soft engine: emitted code for blocks that are hot,
// its cache, how blocks are linked, and the way in and out. Exact to the step:
// what the interpreter would do at any position, this does. Knows the Cpu and no
// device. One thread a machine. docs/TRANSLATOR.md is its description.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "vmm/cpu/code/block_cache.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/translate/code_buffer.h"
#include "vmm/cpu/translate/context.h"
#include "vmm/cpu/translate/settings.h"
#include "vmm/cpu/translate/statistics.h"
#include "vmm/cpu/translate/translation.h"

namespace chronovisor::translate {

class Assembler;

class Translator final : public BlockListener {
 public:
  Translator(Cpu& cpu, const Settings& settings);
  ~Translator() override;
  Translator(const Translator&) = delete;
  Translator& operator=(const Translator&) = delete;

  /// Executes from `block`, which is at RIP, on at most `budget` steps; nothing
  /// if the block is not translated (yet), or does not fit.
  /// @return whether anything was executed; `faulted` is then the fault that
  /// ended it, if one did, with the Cpu as the run loop's handler of faults wants it
  bool run(const Block& block, std::uint64_t budget, std::optional<GuestFault>& faulted);

  /// `block` leaves the block cache.
  void block_removed(const Block& block) override;
  /// The observer changed, or a new interval of it began.
  void observer_changed();

  [[nodiscard]] const Statistics& statistics() const { return statistics_; }

 private:
  friend class BlockEmitter;
  Translation* translate(const Block& block);
  void make_thunks();
  void flush();
  void link_pending(Translation& target);
  void fill_jump(const Translation& target);
  [[nodiscard]] JumpEntry& jump_entry(std::uint64_t rip);
  [[nodiscard]] bool find_next() noexcept;
  [[nodiscard]] bool go_on();
  void unlink_incoming(Translation& target);
  void set_told(Translation& translation, bool told);
  void forget_told(ToldPage& page);
  void look_at_alias(const Translation& translation, std::uint64_t rip_base);
  void finish_handler_steps();
  [[nodiscard]] std::uint8_t key() const;
  [[nodiscard]] std::uint32_t tag();
  void forget_jumps();
  [[nodiscard]] bool flat() const;

  static std::uint64_t execute_entry(Translator* self, std::uint32_t site);
  static std::uint64_t refill_entry(Translator* self, std::uint64_t linear, std::uint32_t what);
  static void tell_entry(Translator* self, std::uint32_t translation);
  Exit execute(const Site& site);
  void tell(Translation& translation);

  struct FreeJumps {
    void operator()(JumpEntry* jumps) const { std::free(jumps); }
  };

  Cpu& cpu_;
  Settings settings_;
  std::unique_ptr<CodeBuffer> buffer_;
  bool available_ = true;  ///< the host gave memory for code, or was not asked yet
  std::unique_ptr<Assembler> assembler_;
  std::deque<Translation> translations_;
  std::deque<Edge> edges_;
  std::vector<Site> sites_;
  std::unique_ptr<JumpEntry[], FreeJumps> jumps_;
  std::uint64_t tag_epoch_ = 0;  ///< of the generations whose tags jumps_ may hold
  std::unordered_map<std::uint64_t, ToldPage> pages_;  ///< by RAM page; order never matters
  bool observed_ = false;                              ///< blocks have a place to tell an observer
  std::uint32_t pending_edge_ = kNoEdge;
  std::uint64_t limit_ = 0;  ///< position at which the budget ends
  std::optional<GuestFault> fault_;
  std::exception_ptr error_;
  bool books_done_ = false;  ///< steps are counted up to where emitted code was left
  Statistics statistics_;
  std::uint64_t began_at_ = 0;

  // Offsets in the buffer of the pieces that all blocks share.
  std::uint32_t enter_ = 0, exit_ = 0, execute_ = 0, execute_last_ = 0, tell_ = 0, begin_float_ = 0;
  std::uint32_t refill_ = 0;
  std::uint32_t first_free_ = 0;
  // Straight ways are emitted from first_free_ on, those that seldom run from here on.
  std::uint32_t cold_begin_ = 0, cold_next_ = 0;

  static constexpr std::uint32_t kNoEdge = ~0U;
};

}  // namespace chronovisor::translate
