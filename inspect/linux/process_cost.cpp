#include "inspect/linux/process_cost.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "inspect/linux/kernel.h"
#include "recorder/format/recording_cost.h"
#include "recorder/format/start_condition.h"
#include "timetravel/checkpoint_store.h"
#include "timetravel/traveller.h"

namespace chronovisor::linux_guest {
namespace {

/// So many checkpoints are looked at, evenly apart.
constexpr std::size_t kLooks = 24;
constexpr std::uint64_t kStoreBytes = std::uint64_t{64} << 20;

constexpr unsigned kLevels = 4;
constexpr std::size_t kEntries = 512;
constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kLargePage = 1 << 7;
constexpr std::uint64_t kAddress = 0x000f'ffff'ffff'f000;

using Process = std::pair<std::uint32_t, std::string>;
const Process kShared{0, "(several processes)"};
const Process kKernel{0, "(the kernel and its caches)"};
const Process kUnknown{0, "(not known)"};

/// Whose page is whose, at one moment.
class Owners {
 public:
  explicit Owners(Machine& machine) : machine_(&machine) {
    std::unordered_set<std::uint64_t> seen;  // address spaces
    const Kernel kernel(machine);
    for (const Task& task : kernel.tasks()) {
      const auto tables = kernel.user_tables(task);
      if (!tables || !seen.insert(tables->value).second) continue;
      processes_.emplace_back(task.pid, task.name);
      tables_.clear();
      walk(*tables, kLevels);
      if (budget_ == 0) break;
    }
  }
  [[nodiscard]] const Process& of(std::uint64_t page) const {
    const auto found = owner_.find(page);
    if (found == owner_.end()) return budget_ == 0 ? kUnknown : kKernel;
    return found->second == kSeveral ? kShared : processes_[found->second];
  }

 private:
  static constexpr std::size_t kSeveral = ~std::size_t{0};

  /// The tables are the guest's: each is looked at once, whatever leads to it.
  void walk(GuestPhysical table, unsigned level) {
    if (budget_ == 0 || !tables_.insert(table.value).second) return;
    --budget_;
    std::array<std::uint8_t, kEntries * 8> bytes{};
    if (machine_->ram().read(table, bytes) != bytes.size()) return;
    ByteReader in(bytes, "a page table");
    // Of the first level the lower half is the process's own.
    const std::size_t count = level == kLevels ? kEntries / 2 : kEntries;
    for (std::size_t n = 0; n < count; ++n) {
      const auto entry = in.integer<std::uint64_t>();
      if ((entry & kPresent) == 0) continue;
      const std::uint64_t address = entry & kAddress;
      if (level == 1) {
        take(address / kPageSize, 1);
      } else if (level < kLevels && (entry & kLargePage) != 0) {
        take(address / kPageSize, level == 2 ? kEntries : kEntries * kEntries);
      } else {
        walk({address}, level - 1);
      }
    }
  }
  void take(std::uint64_t first, std::uint64_t count) {
    const std::uint64_t end = std::min(first + count, machine_->pages().page_count());
    for (std::uint64_t page = first; page < end && budget_ != 0; ++page, --budget_) {
      const auto [known, is_new] = owner_.emplace(page, processes_.size() - 1);
      if (!is_new && known->second != processes_.size() - 1) known->second = kSeveral;
    }
  }

  Machine* machine_;  ///< a pointer, so that it can be assigned
  /// Tables and pages that are looked at: a guest's tables may list every page everywhere.
  std::uint64_t budget_ = 16 * machine_->pages().page_count() + (std::uint64_t{1} << 20);
  std::vector<Process> processes_;
  std::unordered_map<std::uint64_t, std::size_t> owner_;
  std::unordered_set<std::uint64_t> tables_;  ///< of the process that is looked at
};

/// Puts one machine at one checkpoint after the other.
class Looks {
 public:
  explicit Looks(const RecordingReader& reader)
      : condition_(inspectable_start_of(reader)),
        machine_(std::make_unique<Machine>(condition_.machine)),
        store_(reader, machine_->pages().page_count(), kStoreBytes),
        traveller_(std::move(machine_), store_) {}

  /// Nothing: no Linux is known there.
  std::optional<Owners> at(std::size_t checkpoint) {
    const Position position = store_.reader().checkpoints()[checkpoint].position;
    traveller_.restore({position, checkpoint, nullptr});
    try {
      return std::make_optional<Owners>(traveller_.machine());
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_input) throw;
      return std::nullopt;
    }
  }

 private:
  StartCondition condition_;
  std::unique_ptr<Machine> machine_;
  CheckpointStore store_;
  Traveller traveller_;
};

}  // namespace

std::vector<ProcessCost> cost_by_process(const RecordingReader& reader) {
  const std::size_t count = reader.checkpoints().size();
  if (count == 0) return {};
  Looks looks(reader);
  const std::size_t apart = (count + kLooks - 1) / kLooks;
  std::map<Process, ProcessCost> costs;
  std::optional<Owners> owners;
  std::size_t looked_up_to = 0;
  bool any = false;
  for_each_kept(reader, [&](const KeptPages& kept) {
    if (kept.checkpoint >= looked_up_to) {
      looked_up_to = std::min(count, looked_up_to + apart);
      owners = looks.at(looked_up_to - 1);
      any = any || owners.has_value();
    }
    std::map<Process, std::uint64_t> contents;
    for (const std::uint64_t page : kept.pages) ++contents[owners ? owners->of(page) : kUnknown];
    for (const auto& [process, pages] : contents) {
      ProcessCost& cost = costs[process];
      cost.pid = process.first;
      cost.name = process.second;
      cost.contents += pages;
      cost.bytes += kept.bytes * pages / kept.pages.size();
    }
  });
  std::vector<ProcessCost> all;
  if (!any) return all;
  for (const auto& [process, cost] : costs) all.push_back(cost);
  std::stable_sort(all.begin(), all.end(),
                   [](const ProcessCost& a, const ProcessCost& b) { return a.bytes > b.bytes; });
  return all;
}

}  // namespace chronovisor::linux_guest
