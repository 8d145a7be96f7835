// Owns what is counted about translation: diagnostics outside the guest. Values;
// the totals of the process may be used from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/cpu/translate/context.h"

namespace chronovisor::translate {

inline constexpr std::size_t kExits = 7;

struct Statistics {
  std::uint64_t blocks = 0;        ///< translated
  std::uint64_t instructions = 0;  ///< in them
  std::uint64_t code_bytes = 0;    ///< emitted
  std::uint64_t links = 0;         ///< direct jumps joined
  std::uint64_t unlinks = 0;
  std::uint64_t flushes = 0;                  ///< of the whole cache
  std::uint64_t entries = 0;                  ///< times emitted code was entered
  std::uint64_t steps = 0;                    ///< retired in it
  std::uint64_t all_steps = 0;                ///< retired by the processors, in either gear
  std::array<std::uint64_t, kExits> exits{};  ///< by Exit
  std::uint64_t handler_calls = 0;
  std::uint64_t refills = 0;        ///< of the TLB, from emitted code, asked for
  std::uint64_t jumps_filled = 0;   ///< entries of the table of jumps
  std::uint64_t aliases = 0;        ///< code pages that appeared at another address
  std::uint64_t slow_accesses = 0;  ///< that the TLB did not answer, in either gear
  std::uint64_t page_walks = 0;
  std::uint64_t tlb_flushes = 0;
  std::uint64_t user_half_drops = 0;  ///< of the TLB's entries of all address spaces
  std::uint64_t spaces_entered = 0;   ///< changes of CR3 that did not flush
  std::uint64_t spaces_known = 0;     ///< of those: to one whose entries were kept
  std::vector<std::uint64_t> handler_calls_by_row;
};

/// Sums over all translators that are gone.
[[nodiscard]] Statistics total_statistics();
void add_to_total(const Statistics& statistics);
[[nodiscard]] std::string_view exit_name(Exit reason);
/// Rows by how often emitted code called their handlers, the most first.
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> most_called_rows(
    const Statistics& statistics, std::size_t most);

}  // namespace chronovisor::translate
