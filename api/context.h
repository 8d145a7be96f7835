// Owns what the methods work on: a debugging session, the breakpoints that are set in
// it through the API, and the names of the guest's addresses. Shared by all clients.
// Knows no protocol. The session's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/lanes.h"
#include "api/method.h"
#include "api/source_texts.h"
#include "session/condition.h"
#include "session/debug_session.h"

namespace chronovisor::api {

enum class StopKind : std::uint8_t { execute, write, read, access };
inline constexpr const char* kStopKinds[] = {"execute", "write", "read", "access"};

/// A breakpoint or watchpoint.
struct StopPoint {
  std::uint64_t id = 0;
  StopKind kind = StopKind::execute;
  std::uint64_t address = 0;
  std::uint64_t length = 1;
  std::string text;              ///< of the condition; empty: there is none
  session::Condition condition;  ///< as `text` was understood when it was set
};

/// How a run stands that is going on elsewhere; one of the two is empty.
struct RunStatus {
  std::string json;     ///< an object
  std::string trouble;  ///< why it is not known
};

struct ContextOptions {
  bool allow_changes = false;
  std::vector<std::string> source_folders{};
  /// Of the run that makes the recording; must not wait. May be empty.
  std::function<RunStatus()> run_status{};
};

/// Where a session stands, for questions that are asked beside it.
struct Standing {
  Moment moment;
  session::Settings settings;
  std::vector<Bookmark> bookmarks;
};

class Desks;

/// Who asks: to others it matters only what kind of client it is.
struct Caller {
  std::uint64_t number = 0;
  const char* kind = "page";  ///< or "program", "agent"
};

class Context {
 public:
  /// The session must outlive this. Throws as session::GuestNames does.
  Context(session::DebugSession& session, const ContextOptions& options);

  [[nodiscard]] session::DebugSession& session() { return session_; }
  [[nodiscard]] Timeline& timeline() { return session_.timeline(); }
  [[nodiscard]] Machine& machine() { return session_.timeline().machine(); }
  [[nodiscard]] bool allow_changes() const { return allow_changes_; }
  [[nodiscard]] session::GuestNames& names() { return session_.names(); }
  [[nodiscard]] SourceTexts& sources() { return sources_; }
  /// Nothing: there is no run to ask.
  [[nodiscard]] std::optional<RunStatus> run_status() const;

  [[nodiscard]] Standing standing();
  /// Answers as if it stood there; the machine stays.
  void stand_in(const Standing& standing);
  /// Goes there, and is on the timeline then. Throws CallError{cancelled}.
  void go_to(Moment there, const Call& call);
  /// Null: everything is answered by the session itself.
  [[nodiscard]] Desks* desks() const { return desks_; }
  void set_desks(Desks* desks) { desks_ = desks; }

  [[nodiscard]] std::vector<Bookmark> bookmarks();
  /// From where places are counted.
  [[nodiscard]] Position here();
  /// What happened where, gathered when it is first asked for. Throws CallError{cancelled}.
  [[nodiscard]] const std::vector<Lane>& lanes(const Call& call);

  /// Asks the session. What it armed is forgotten, unless `go`: then it is gone to.
  /// Throws CallError{cancelled} when cancelled.
  session::Answer ask(const session::Request& request, const Call& call, bool go = false);
  /// ask() of which the answer is of one kind.
  template <typename Wanted>
  Wanted ask_for(const session::Request& request, const Call& call, bool go = false) {
    return std::get<Wanted>(ask(request, call, go));
  }
  /// The position that a parameter means. Throws CallError{wrong_parameters}, {not_found} for
  /// a function that is never entered.
  [[nodiscard]] Position place(const std::string& text, const char* parameter, const Call& call);
  /// Throws CallError{refused} on a branch.
  void need_timeline(const char* what);

  [[nodiscard]] const std::vector<StopPoint>& stop_points() const { return stop_points_; }
  /// Sets one, and says which number it has. Throws Error{usage} for a condition that is none.
  const StopPoint& add_stop_point(StopPoint stop);
  /// @return whether there was one
  bool remove_stop_point(std::uint64_t id);
  /// All of them.
  [[nodiscard]] StopSet stops();

  /// "copy_text+0x12", or null.
  [[nodiscard]] Value symbol_at(std::uint64_t address, const Call& call);
  /// Where the machine stands; see where_shape().
  [[nodiscard]] Value where(const Call& call);

  /// Memory or registers were changed by a client.
  void count_change() { ++changes_; }
  /// How often that was, and how often breakpoints were set or taken off.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  [[nodiscard]] std::uint64_t breakpoint_changes() const { return breakpoint_changes_; }
  /// Told when a client's call has been done, before its answer is given. May be empty.
  using Follower = std::function<void(const Caller& caller)>;
  void set_follower(Follower follower) { follower_ = std::move(follower); }
  void call_done(const Caller& caller);

 private:
  session::DebugSession& session_;
  bool allow_changes_;
  std::function<RunStatus()> run_status_;
  SourceTexts sources_;
  std::vector<StopPoint> stop_points_;
  std::uint64_t last_stop_id_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t breakpoint_changes_ = 0;
  Follower follower_;
  Desks* desks_ = nullptr;
  std::optional<Standing> standing_;  ///< another's
  std::optional<std::vector<Lane>> lanes_;
};

[[nodiscard]] Value where_shape();
/// "0x1f"
[[nodiscard]] std::string hex(std::uint64_t value);
/// Throws CallError{cancelled}.
void check_cancelled(const Call& call);

}  // namespace chronovisor::api
