// Owns how commands that run on many machines spell their part of the work: --shard I/N.
// Main thread.
#pragma once

#include <string>

#include "timetravel/shard.h"

namespace chronovisor::cli {

class Command;

/// --shard I/N; `merge` joins what the shards give.
void add_shard_option(Command& command, std::string& shard, const std::string& help);
/// Of an empty text the whole. Throws Error{usage}.
[[nodiscard]] Shard shard_of(const std::string& text);

}  // namespace chronovisor::cli
