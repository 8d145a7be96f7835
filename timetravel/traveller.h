// Owns one machine that replays a recording and can be put at any checkpoint
// of it, touching only the pages that differ; and the watching for stops while
// it runs. Several travellers share one CheckpointStore. One thread each.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/cancel.h"
#include "checkpoint/page_map.h"
#include "recorder/live/replay_input.h"
#include "timetravel/checkpoint_store.h"
#include "timetravel/stop_set.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

class Traveller final : private PageSource {
 public:
  /// Takes over a machine that is as constructed, or booted. The store must
  /// outlive this.
  Traveller(std::unique_ptr<Machine> machine, const CheckpointStore& store);
  Traveller(const Traveller&) = delete;
  Traveller& operator=(const Traveller&) = delete;

  [[nodiscard]] Machine& machine() { return *machine_; }
  [[nodiscard]] const Machine& machine() const { return *machine_; }
  [[nodiscard]] const CheckpointStore& store() const { return store_; }
  /// Pages are read as they are wanted. Throws Error{bad_input}; is_lost() then.
  void restore(const Base& base);
  /// Something failed while the machine ran or was restored, perhaps in the middle of an
  /// instruction: it can be looked at and restored, but not run on.
  [[nodiscard]] bool is_lost() const { return lost_; }
  /// The machine's state on arrival here, with bytes kept in `pool` where the
  /// recording does not have them.
  [[nodiscard]] Snapshot take_snapshot(PagePool& pool);
  /// Somebody else has closed epochs of the machine: looks at every page.
  void look_at_all_pages();
  /// Input comes from the recording; or, off the timeline, from nowhere.
  void use_recorded_input(bool recorded);

  /// Watches for stops for as long as it lives.
  class Armed {
   public:
    Armed(Traveller& traveller, const StopSet& stops) : traveller_(traveller) {
      traveller.arm(stops);
    }
    ~Armed() { traveller_.disarm(); }
    Armed(const Armed&) = delete;
    Armed& operator=(const Armed&) = delete;

   private:
    Traveller& traveller_;
  };
  /// Runs the machine on to `target`; it looks at `cancel` meanwhile, and only then.
  MachineStop run(Moment target, CancelToken cancel);
  /// A breakpoint right here is not to be reported.
  void resume_here();
  /// Accesses caught since they were last forgotten.
  [[nodiscard]] const std::vector<WatchHit>& hits() const { return hooks_.hits; }
  [[nodiscard]] const std::vector<PhysicalWatchHit>& physical_hits() const {
    return hooks_.physical_hits;
  }
  /// Forgets accesses that were caught before.
  void forget_hits() {
    hooks_.hits.clear();
    hooks_.physical_hits.clear();
  }
  /// Whether the machine's stop counts, conditions considered. If not, running
  /// on goes past it.
  [[nodiscard]] bool accept_stop(MachineStop stop, const StopSet& stops, TravelResult& result);

  enum class Which : std::uint8_t { first, last };
  struct Found {
    std::optional<TravelHit> hit;
    bool cancelled = false;
  };
  /// Runs from `base` to `to` and reports the first or last stop on the way,
  /// strictly before `to`.
  [[nodiscard]] Found search(const Base& base, Moment to, const StopSet& stops, Which which,
                             CancelToken cancel);

 private:
  void read_deferred_page(std::uint64_t page, std::span<std::uint8_t, kPageSize> out) override;
  void replace_pages(const PageMap& target);
  void sync_map();
  void arm(const StopSet& stops);
  void disarm();

  std::unique_ptr<Machine> machine_;
  const CheckpointStore& store_;
  ReplayInput input_;
  NoInput no_input_;
  DebugHooks hooks_;
  PageMap current_;                     ///< contents of the machine's pages
  std::vector<std::uint32_t> unsaved_;  ///< pages of it whose bytes may be nowhere else
  bool lost_ = false;
};

}  // namespace chronovisor
