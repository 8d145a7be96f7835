#include "vmm/cpu/translate/statistics.h"

#include <algorithm>
#include <mutex>

#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::translate {
namespace {

std::mutex total_mutex;
Statistics total;

}  // namespace

Statistics total_statistics() {
  const std::lock_guard lock(total_mutex);
  return total;
}

void add_to_total(const Statistics& s) {
  const std::lock_guard lock(total_mutex);
  total.blocks += s.blocks;
  total.instructions += s.instructions;
  total.code_bytes += s.code_bytes;
  total.links += s.links;
  total.unlinks += s.unlinks;
  total.flushes += s.flushes;
  total.entries += s.entries;
  total.steps += s.steps;
  total.all_steps += s.all_steps;
  total.handler_calls += s.handler_calls;
  total.refills += s.refills;
  total.jumps_filled += s.jumps_filled;
  total.aliases += s.aliases;
  total.slow_accesses += s.slow_accesses;
  total.page_walks += s.page_walks;
  total.tlb_flushes += s.tlb_flushes;
  total.user_half_drops += s.user_half_drops;
  total.spaces_entered += s.spaces_entered;
  total.spaces_known += s.spaces_known;
  for (std::size_t n = 0; n < s.exits.size(); ++n) total.exits[n] += s.exits[n];
  total.handler_calls_by_row.resize(
      std::max(total.handler_calls_by_row.size(), s.handler_calls_by_row.size()));
  for (std::size_t n = 0; n < s.handler_calls_by_row.size(); ++n) {
    total.handler_calls_by_row[n] += s.handler_calls_by_row[n];
  }
}

std::string_view exit_name(Exit reason) {
  switch (reason) {
    case Exit::none:
      return "none";
    case Exit::edge:
      return "jump not linked";
    case Exit::miss:
      return "target not known";
    case Exit::budget:
      return "budget";
    case Exit::left:
      return "handler";
    case Exit::fault:
      return "fault";
    case Exit::error:
      return "error";
  }
  return "?";
}

std::vector<std::pair<std::string, std::uint64_t>> most_called_rows(const Statistics& s,
                                                                    std::size_t most) {
  std::vector<std::pair<std::string, std::uint64_t>> rows;
  for (std::size_t n = 0; n < s.handler_calls_by_row.size(); ++n) {
    if (s.handler_calls_by_row[n] == 0) continue;
    const std::string_view name =
        n < instruction_table().size() ? instruction_table()[n].name : "undefined";
    rows.emplace_back(std::string(name), s.handler_calls_by_row[n]);
  }
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second > b.second; });
  if (rows.size() > most) rows.resize(most);
  return rows;
}

}  // namespace chronovisor::translate
