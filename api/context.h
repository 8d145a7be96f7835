// Owns what the methods work on: a debugging session, the breakpoints that are set in
// it through the API, and the names of the guest's addresses. Shared by all clients.
// Knows no protocol. The session's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/guest_names.h"
#include "api/method.h"
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
  std::string condition;
};

struct ContextOptions {
  bool allow_changes = false;
  std::vector<std::string> symbol_files{};
};

class Context {
 public:
  /// The session must outlive this. Throws as GuestNames does.
  Context(session::DebugSession& session, const ContextOptions& options);

  [[nodiscard]] session::DebugSession& session() { return session_; }
  [[nodiscard]] Timeline& timeline() { return session_.timeline(); }
  [[nodiscard]] Machine& machine() { return session_.timeline().machine(); }
  [[nodiscard]] bool allow_changes() const { return allow_changes_; }
  [[nodiscard]] GuestNames& names() { return names_; }

  /// Asks the session. What it armed is forgotten, unless `go`: then it is gone to.
  /// Throws CallError{cancelled} when cancelled.
  session::Answer ask(const session::Request& request, const Call& call, bool go = false);
  /// ask() of which the answer is of one kind.
  template <typename Wanted>
  Wanted ask_for(const session::Request& request, const Call& call, bool go = false) {
    return std::get<Wanted>(ask(request, call, go));
  }
  /// The position that a parameter means. Throws CallError{wrong_parameters}.
  [[nodiscard]] Position place(const std::string& text, const char* parameter);
  /// Throws CallError{refused} on a branch.
  void need_timeline(const char* what);

  [[nodiscard]] std::vector<StopPoint>& stop_points() { return stop_points_; }
  [[nodiscard]] std::uint64_t next_stop_id() { return ++last_stop_id_; }
  /// All of them.
  [[nodiscard]] StopSet stops();

  /// "copy_text+0x12", or null.
  [[nodiscard]] Value symbol_at(std::uint64_t address, const Call& call);
  /// Where the machine stands; see where_shape().
  [[nodiscard]] Value where(const Call& call);

 private:
  session::DebugSession& session_;
  bool allow_changes_;
  GuestNames names_;
  std::vector<StopPoint> stop_points_;
  std::uint64_t last_stop_id_ = 0;
};

[[nodiscard]] Value where_shape();
/// "0x1f"
[[nodiscard]] std::string hex(std::uint64_t value);
/// Throws CallError{cancelled}.
void check_cancelled(const Call& call);

}  // namespace chronovisor::api
