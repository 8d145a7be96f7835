// Owns stepping as a person means it: one instruction of the code at hand, in
// either direction, passing over the handlers of interrupts that were merely
// delivered in between. Knows no debugger protocol. The thread that owns the
// timeline.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/cancel.h"
#include "timetravel/timeline.h"

namespace chronovisor::session {

/// A handler as the guest's interrupt table has it now.
struct InterruptGate {
  std::uint64_t address = 0;  ///< linear
  std::uint8_t vector = 0;
};

/// Every gate that can be read; empty when the table is not mapped.
[[nodiscard]] std::vector<InterruptGate> interrupt_gates(Machine& machine);

class InterruptStepping {
 public:
  explicit InterruptStepping(Timeline& timeline) : timeline_(timeline) {}

  /// One step on. With `skip`, an interrupt delivered before the instruction
  /// (and a page fault taken from user mode) is passed over: on to where its
  /// handler returns. A stop of `user` inside the handler ends the step there.
  /// A handler that does not return to the place it interrupted within some
  /// two billion steps is entered instead. An exception is a step: to the
  /// first instruction of its handler.
  TravelResult forward(const StopSet& user, bool skip, CancelToken cancel);
  /// `count` times forward() without stops of the user's, as one travel.
  /// On the timeline. @return how many there were before the end, or before it was
  /// cancelled
  std::uint64_t forward_many(std::uint64_t count, bool skip, CancelToken cancel);
  /// `count` times backward(), likewise. A handler that had begun more than some
  /// 65,000 steps before the destination is taken for code like any other there.
  std::uint64_t backward_many(std::uint64_t count, bool skip, CancelToken cancel);
  /// Undoes what forward() does.
  TravelResult backward(const StopSet& user, bool skip, CancelToken cancel);

 private:
  struct Context;
  struct Entry;
  struct Delivery;

  [[nodiscard]] static Context context_of(Machine& machine);
  [[nodiscard]] static std::optional<Context> interrupted_context(Machine& machine,
                                                                  bool error_code);
  TravelResult one_delivery_or_step(CancelToken cancel);
  std::optional<TravelResult> run_to_return(const Context& context, const StopSet& user,
                                            Moment entry, CancelToken cancel);
  std::optional<Entry> find_entry(const Context& context, bool user_mode, const StopSet& user,
                                  Position before, CancelToken cancel);
  /// @return nothing when it was cancelled
  std::optional<std::uint32_t> deliveries_at(Position at, CancelToken cancel);
  [[nodiscard]] static std::optional<Context> passed_over_here(Machine& machine);
  [[nodiscard]] static StopSet return_to(Machine& machine, const Context& context,
                                         const StopSet& user, std::uint64_t& address);
  std::vector<Delivery> deliveries_until(const StopSet& gates, Position end, bool skip,
                                         CancelToken cancel);

  Timeline& timeline_;
  /// Of the positions in between, those with deliveries are known: the timeline never
  /// changes.
  Position looked_from_;
  Position looked_to_;
  std::vector<Moment> delivered_at_;  ///< how many, by position
};

}  // namespace chronovisor::session
