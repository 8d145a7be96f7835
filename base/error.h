// Owns the one error type of the project and the invariant check. An Error is
// thrown where a job cannot be done and caught where a command, a packet or a
// test ends. What the guest does wrong is never an Error. Any thread.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace chronovisor {

/// Why a job could not be done. The values are the exit statuses of the
/// command line.
enum class ErrorCode : int {
  usage = 2,       ///< the command line is wrong
  bad_input = 3,   ///< missing, corrupt or unsupported input
  divergence = 4,  ///< a replay differs from its recording
  host = 5,        ///< the host failed us: disk full, no KVM, no memory
};

class Error : public std::runtime_error {
 public:
  /// @param message says what, where, and what to do
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// Reports a broken invariant on stderr and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               std::string_view detail);

}  // namespace chronovisor

/// Aborts loudly when an invariant of ours is broken; on in release builds.
// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): needs the text of the condition
#define CHECK_THAT(condition, detail) \
  (static_cast<bool>(condition)       \
       ? static_cast<void>(0)         \
       : ::chronovisor::check_failed(#condition, __FILE__, __LINE__, (detail)))
