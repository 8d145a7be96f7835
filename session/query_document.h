// Owns how the answer to a query is written: as text for people, and as JSON
// that the answers of shards are merged from. Main thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "recorder/format/recording_reader.h"
#include "session/request.h"
#include "timetravel/query.h"

namespace chronovisor::session {

/// What was asked of, so that answers about another recording are told apart.
struct QueriedRecording {
  std::string id;  ///< of the file, in hex
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t intervals = 0;
  bool operator==(const QueriedRecording&) const = default;
};
[[nodiscard]] QueriedRecording queried(const RecordingReader& reader);

/// An answer with all that its JSON form says.
struct QueryDocument {
  QueriedRecording recording;
  std::optional<Shard> shard;  ///< nothing: of the whole recording
  QueryAnswer answer;
};

/// Asks the recording. Throws Error{host} when cancelled, and as run_query does.
/// @param progress told how many steps of how many are behind
[[nodiscard]] QueryDocument answer_query(
    const RecordingReader& reader, const QueryRequest& request, CancelToken cancel,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress);

[[nodiscard]] std::string answer_json(const QueryDocument& document);
/// Throws Error{bad_input}, beginning with `name`, for anything else than what
/// answer_json makes.
[[nodiscard]] QueryDocument parse_answer(const std::string& text, const std::string& name);
/// The rows, or the number, on lines of their own; empty when there is nothing.
[[nodiscard]] std::string answer_text(const QueryDocument& document);

/// The answer of the unsharded query from those of all its shards; `names` are
/// for messages. Throws Error{bad_input} when one is missing, given twice or of
/// another query or recording.
[[nodiscard]] QueryDocument merge_shards(std::vector<QueryDocument> shards,
                                         const std::vector<std::string>& names);

[[nodiscard]] const char* query_kind_name(QueryKind kind);

}  // namespace chronovisor::session
