// Owns why a call has no answer: a number of JSON-RPC's or ours, a word, what was
// wrong, and where. Values; any thread.
#pragma once

#include <string>

#include "api/value.h"
#include "base/error.h"

namespace chronovisor::api {

/// Published numbers; never renumbered. Those above -32100 and -32800 are ours.
/// Source: JSON-RPC 2.0 Specification, 5.1; -32800 as the Language Server Protocol has it.
enum class CallFault : int {
  not_json = -32700,
  no_request = -32600,
  unknown_method = -32601,
  wrong_parameters = -32602,
  internal = -32603,
  refused = -32001,     ///< cannot be done here, or now
  not_found = -32002,   ///< what was looked for is not there
  bad_input = -32003,   ///< the recording, or the guest, does not have it
  divergence = -32004,  ///< the replay differs from the recording
  host = -32005,
  read_only = -32006,  ///< needs --allow-changes
  busy = -32007,       ///< too much is waiting
  too_large = -32008,  ///< the message, or the answer
  cancelled = -32800,
};

class CallError : public Error {
 public:
  /// @param where a JSON pointer into the request, "/params/count"; empty: no one place
  CallError(CallFault fault, const std::string& message, std::string where = {})
      : Error(ErrorCode::usage, message), fault_(fault), where_(std::move(where)) {}
  [[nodiscard]] CallFault fault() const { return fault_; }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  CallFault fault_;
  std::string where_;
};

/// "not-found"
[[nodiscard]] const char* fault_word(CallFault fault);
/// What an error of the project's is to a client.
[[nodiscard]] CallError call_error(const Error& error);
/// The error object of JSON-RPC: code, message, and data {"code": word, "where": ...}.
[[nodiscard]] Value error_object(const CallError& error);

}  // namespace chronovisor::api
