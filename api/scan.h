// Owns questions about a stretch of the whole recording, answered a page at a time: a
// page searches only as far as it has to, so that the first answers come soon, however
// long the recording is. The machine stays where it is. The session's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/context.h"
#include "timetravel/query.h"

namespace chronovisor::api {

struct ScanRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 1;
  bool physical = false;
  std::string from = "start";
  std::string to = "end";
  std::uint64_t limit = 100;
  std::string cursor;
};

struct ScanPage {
  std::vector<QueryEntry> entries;  ///< in order
  std::optional<std::string> next;  ///< cursor; nothing: there is no more
};

/// The entries of `kind` from the cursor on. Fewer than the limit, with a cursor, when
/// it has taken a while to find them. Throws CallError, and as run_query does.
[[nodiscard]] ScanPage scan(Context& context, QueryKind kind, const ScanRequest& request,
                            const Call& call);

}  // namespace chronovisor::api
