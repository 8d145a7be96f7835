// Owns how a file of folded stacks says which shard of what it is, and that it is whole: in a
// line before the stacks, and one behind them. Main thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/units.h"
#include "timetravel/shard.h"

namespace chronovisor::cli {

/// What the stacks are of.
struct FoldedQuestion {
  std::string recording;  ///< the id of the file
  Position from;
  Position to;
  std::uint64_t every = 1;
  std::vector<std::string> symbols;  ///< digests of the files, in the order in which they are given
  bool operator==(const FoldedQuestion&) const = default;
};

struct FoldedShard {
  FoldedQuestion question;
  Shard shard;
  std::map<std::string, std::uint64_t> stacks;  ///< how often each was met
};

/// The line before the stacks, with its newline.
[[nodiscard]] std::string folded_head(const FoldedQuestion& question, const Shard& shard);
/// The line behind so many.
[[nodiscard]] std::string folded_tail(std::uint64_t lines);

[[nodiscard]] bool is_folded_shard(const std::string& text);
/// Throws Error{bad_input}, beginning with `name`, for anything else than a whole one.
[[nodiscard]] FoldedShard parse_folded_shard(const std::string& text, const std::string& name);

}  // namespace chronovisor::cli
