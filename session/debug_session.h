// Owns one debugging session on a recording: the settings and bookmarks of its
// user, the destination that is armed, and the answers to requests. Knows no
// protocol, no words and no JSON. One thread at a time: see session/executor.h.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "host/allowed_files.h"
#include "session/answer.h"
#include "session/bookmark_book.h"
#include "session/condition.h"
#include "session/guest_names.h"
#include "session/interrupt_stepping.h"
#include "session/place.h"
#include "session/request.h"
#include "session/run_summary.h"
#include "timetravel/timeline.h"

namespace chronovisor::session {

/// What the user has set.
struct Settings {
  bool skip_interrupts = true;
  /// The program counter is shown with the base of CS added, outside 64-bit code.
  bool linear_pc = true;
  bool physical_memory = false;
  /// Breakpoints at user addresses count in this one only; see session/address_space.h.
  std::optional<std::uint64_t> address_space;
};

class DebugSession {
 public:
  /// The timeline must outlive this.
  /// @param files which of the host's files requests may name
  /// @param symbol_files ELF files that the user names, for names()
  explicit DebugSession(Timeline& timeline, AllowedFiles files = AllowedFiles::all(),
                        std::vector<std::string> symbol_files = {});
  ~DebugSession();
  DebugSession(const DebugSession&) = delete;
  DebugSession& operator=(const DebugSession&) = delete;

  /// Answers a request. Whatever it throws, the session stands where it stood and
  /// goes on. Throws Error{usage} for what cannot be done here, and what the
  /// timeline throws. Returns soon after `cancel` is requested.
  Answer ask(const Request& request, CancelToken cancel);

  [[nodiscard]] Timeline& timeline() { return timeline_; }
  /// Made when they are first asked for. Throws as GuestNames does.
  [[nodiscard]] GuestNames& names();
  /// entered_last(), of the address space that is set.
  [[nodiscard]] std::optional<Position> entered_last(const std::string& function,
                                                     CancelToken cancel);
  [[nodiscard]] InterruptStepping& stepping() { return stepping_; }
  [[nodiscard]] const Settings& settings() const { return settings_; }
  /// Those of another session on the same recording.
  void take_settings(const Settings& settings) { settings_ = settings; }
  void set_physical_memory(bool physical) { settings_.physical_memory = physical; }
  void set_skip_interrupts(bool skip) { settings_.skip_interrupts = skip; }

  /// Grows with every bookmark that is made or taken away.
  [[nodiscard]] std::uint64_t bookmark_changes() const { return bookmarks_.changes(); }

  /// Where the next resume is to go, if a request has armed it.
  [[nodiscard]] const std::optional<Moment>& destination() const { return destination_; }
  void forget_destination() { destination_.reset(); }
  /// Goes there; when cancelled, back where it was.
  TravelStop travel_to_destination(CancelToken cancel);
  /// Goes to a moment of the timeline, giving a branch up; when cancelled, back.
  TravelStop go_to(Moment target, CancelToken cancel);

  /// While it lives, the machine runs, and `cancel` is what asks it to stop.
  class Running {
   public:
    Running(DebugSession& session, CancelToken cancel) : session_(session) {
      session.running_ = cancel;
    }
    ~Running() { session_.running_.reset(); }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    DebugSession& session_;
  };

  /// How the guest ended, when it did so where the machine stands; `by_guest` is set.
  [[nodiscard]] std::optional<RecordedEnd> guest_ended_here();

 private:
  using Cancel = CancelToken;
  Answer answer(const HelpRequest& request, const Cancel& cancel);
  // debug_session.cpp: where we are, and going elsewhere
  Answer answer(const WhenRequest& request, const Cancel& cancel);
  Answer answer(const InfoRequest& request, const Cancel& cancel);
  Answer answer(const StripRequest& request, const Cancel& cancel);
  Answer answer(const SeekRequest& request, const Cancel& cancel);
  Answer answer(const SettingRequest& request, const Cancel& cancel);
  // branching.cpp: off the timeline, and names for places on it
  Answer answer(const ListBookmarksRequest& request, const Cancel& cancel);
  Answer answer(const SetBookmarkRequest& request, const Cancel& cancel);
  Answer answer(const DeleteBookmarkRequest& request, const Cancel& cancel);
  Answer answer(const BranchRequest& request, const Cancel& cancel);
  Answer answer(const DiscardRequest& request, const Cancel& cancel);
  Answer answer(const GoLiveRequest& request, const Cancel& cancel);
  Answer answer(const ChangeMediumRequest& request, const Cancel& cancel);
  // history.cpp: questions to the past
  Answer answer(const EventsRequest& request, const Cancel& cancel);
  Answer answer(const PacketRequest& request, const Cancel& cancel);
  Answer answer(const LastWriteRequest& request, const Cancel& cancel);
  Answer answer(const HistoryRequest& request, const Cancel& cancel);
  // search.cpp: where something happens next or last, and many steps at once
  Answer answer(const WatchRequest& request, const Cancel& cancel);
  Answer answer(const ReachedRequest& request, const Cancel& cancel);
  Answer answer(const QueryRequest& request, const Cancel& cancel);
  Answer answer(const StepRequest& request, const Cancel& cancel);
  Answer answer(const AddressSpaceRequest& request, const Cancel& cancel);
  // dumps.cpp: what QEMU's monitor shows
  Answer answer(const DumpRequest& request, const Cancel& cancel);
  Answer answer(const AddressRequest& request, const Cancel& cancel);
  Answer answer(const ExamineRequest& request, const Cancel& cancel);
  // guest_state.cpp: the guest as it is here
  Answer answer(const TranslateRequest& request, const Cancel& cancel);
  Answer answer(const WalkRequest& request, const Cancel& cancel);
  Answer answer(const DisassembleRequest& request, const Cancel& cancel);
  Answer answer(const PixelRequest& request, const Cancel& cancel);
  Answer answer(const LinuxKernelRequest& request, const Cancel& cancel);
  Answer answer(const LinuxLogRequest& request, const Cancel& cancel);
  Answer answer(const LinuxTasksRequest& request, const Cancel& cancel);
  Answer answer(const LinuxModulesRequest& request, const Cancel& cancel);

  void need_timeline(const char* what) const;
  [[nodiscard]] Whereabouts whereabouts();
  /// What is written where: in the present address space, or physically.
  struct WatchedMemory {
    std::uint64_t address = 0;
    std::uint64_t length = 0;
    bool physical = false;
  };
  /// The stops of a search for its writes, of those for which `condition` holds.
  [[nodiscard]] StopSet writes_of(const WatchedMemory& memory, Condition condition);
  /// Goes to the nearest stop, and stays there. Nothing: there is none.
  [[nodiscard]] std::optional<TravelResult> travel_to_stop(const StopSet& stops,
                                                           Direction direction,
                                                           const Cancel& cancel);
  [[nodiscard]] std::optional<FoundAnswer> find_and_arm(const StopSet& stops, Direction direction,
                                                        const Cancel& cancel);
  [[nodiscard]] std::optional<Store> earlier_store(const WatchedMemory& memory,
                                                   const Cancel& cancel);
  [[nodiscard]] std::optional<std::uint64_t> packet_of(const Store& store) const;

  Timeline& timeline_;
  AllowedFiles files_;
  std::vector<std::string> symbol_files_;
  std::optional<GuestNames> names_;
  Settings settings_;
  InterruptStepping stepping_;
  BookmarkBook bookmarks_;
  std::optional<Moment> destination_;
  std::optional<RecordedEnd> recorded_end_;
  std::optional<CancelToken> running_;
  std::string live_file_;               ///< where the present live branch is recorded
  std::shared_ptr<void> live_line_;     ///< its terminal, until the next one
  std::unique_ptr<DiscChanger> discs_;  ///< of the present live branch
  std::string live_report_;             ///< how the last one ended
};

}  // namespace chronovisor::session
