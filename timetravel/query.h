// Owns questions about a whole recording that need no debugger: who wrote these
// bytes, when did this code run, what values did this variable have. The
// intervals of the recording are searched side by side, those that the index
// rules out are left out, and the answer depends on neither, nor on how a
// question is dealt out in shards. Knows no terminal. Call from one thread; it
// starts its own.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "recorder/format/recording_reader.h"
#include "timetravel/shard.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

enum class QueryKind : std::uint8_t {
  writes,    ///< each step or delivery that wrote a watched byte
  executes,  ///< each arrival at an instruction that begins in the range
  value,     ///< each step or delivery that wrote the variable and changed its value
};

enum class QuerySelect : std::uint8_t { all, first, last, count };

struct Query {
  QueryKind kind = QueryKind::writes;
  std::uint64_t address = 0;  ///< linear, or physical
  bool physical = false;      ///< of writes: memory by where it lies, however it is mapped
  std::uint64_t length = 1;   ///< bytes; 1, 2, 4 or 8 for a value
  Position from;              ///< positions from here on ...
  Position to{kNever};        ///< ... and before here; cut to what is recorded
  QuerySelect select = QuerySelect::all;
  std::uint64_t limit = 100'000;  ///< most entries of QuerySelect::all; the earliest are given
};

inline constexpr std::uint64_t kMostWatchedBytes = 1U << 20;
inline constexpr std::uint64_t kMostExecutedBytes = 4096;
inline constexpr std::uint64_t kMostQueryEntries = 10'000'000;

struct QueryEntry {
  Moment moment;              ///< just before it happened
  bool by_delivery = false;   ///< an interrupt's or exception's delivery wrote, not a step
  std::uint64_t pc = 0;       ///< linear address of the instruction (delivery: the interrupted one)
  std::uint64_t cr3 = 0;      ///< which address space
  std::uint64_t address = 0;  ///< first watched byte written
  std::string device{};       ///< that wrote by itself, by DMA; empty: no device
  std::string request{};      ///< what it was about
  std::optional<std::uint64_t> started{};  ///< position of the access that began that
  std::optional<std::uint64_t> before;     ///< value: nothing where it cannot be read
  std::optional<std::uint64_t> after;
  bool operator==(const QueryEntry&) const = default;
};

struct QueryOptions {
  unsigned jobs = 0;  ///< threads; 0: one a core
  bool use_index = true;
  /// Compare the state at the end of an interval with the recorded digest.
  bool verify = true;
  Shard shard;  ///< of the intervals
  CancelToken cancel{};
  /// Of QuerySelect::all: how many there are need not be known beyond the limit.
  bool count_all = true;
  /// Told of entries soon after they were seen, at `seen_ns` of the host's monotonic clock: in
  /// no order, from any of the threads, perhaps of more than the answer will have. May be
  /// empty.
  std::function<void(const QueryEntry& entry, std::uint64_t seen_ns)> found{};
};

struct QueryAnswer {
  Query query;                      ///< with its range as it was searched
  std::uint64_t count = 0;          ///< how many there are, with QuerySelect::all and ::count
  std::vector<QueryEntry> entries;  ///< ascending
  std::size_t intervals = 0;        ///< of the whole recording
  std::size_t searched = 0;         ///< of them, by this run
  std::uint64_t steps = 0;          ///< executed for it
  bool cancelled = false;           ///< then the answer is void
};

/// Answers `query`. `progress` is told how many steps of how many are behind,
/// from the calling thread. Throws Error{usage} for a query that makes no sense,
/// Error{bad_input} when the recording cannot be used, Error{divergence}.
[[nodiscard]] QueryAnswer run_query(
    const RecordingReader& reader, const Query& query, const QueryOptions& options,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress);

/// The answer to the whole query from the answers to its parts, in any order.
/// All must be of the same query.
[[nodiscard]] QueryAnswer merge_answers(std::vector<QueryAnswer> parts);

/// How many intervals a recording's queries are dealt out by.
[[nodiscard]] std::size_t query_intervals(const RecordingReader& reader);

}  // namespace chronovisor
