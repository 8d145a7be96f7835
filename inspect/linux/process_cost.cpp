#include "inspect/linux/process_cost.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "inspect/guest_memory_map.h"
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

/// From here on linear addresses are the kernel's.
constexpr std::uint64_t kUserEnd = 1ULL << 47;

using Process = std::pair<std::uint32_t, std::string>;
const Process kShared{0, "(several processes)"};
const Process kKernel{0, "(the kernel and its caches)"};
const Process kUnknown{0, "(not known)"};

/// Whose page is whose, at one moment.
class Owners {
 public:
  explicit Owners(Machine& machine) : machine_(&machine) {
    Paging paging = Paging::of(machine.cpu().state);
    // Of others it is not known where a process's tables begin.
    if (paging.kind != PagingKind::four_levels) pages_ = 0;
    std::unordered_set<std::uint64_t> seen;  // address spaces
    const Kernel kernel(machine);
    for (const Task& task : kernel.tasks()) {
      if (is_cut_short()) break;
      const auto tables = kernel.user_tables(task);
      if (!tables || !seen.insert(tables->value).second) continue;
      processes_.emplace_back(task.pid, task.name);
      paging.cr3 = tables->value;
      for_each_mapped_page(machine, paging, tables_, [this](const MappedPage& page) {
        if (page.linear >= kUserEnd) return false;
        take(page);
        return pages_ != 0;
      });
    }
  }
  [[nodiscard]] const Process& of(std::uint64_t page) const {
    const auto found = owner_.find(page);
    if (found == owner_.end()) return is_cut_short() ? kUnknown : kKernel;
    return found->second == kSeveral ? kShared : processes_[found->second];
  }

 private:
  static constexpr std::size_t kSeveral = ~std::size_t{0};

  [[nodiscard]] bool is_cut_short() const { return pages_ == 0 || tables_.tables == 0; }
  void take(const MappedPage& mapped) {
    for (std::uint64_t at = 0; at < mapped.size && pages_ != 0; at += kPageSize, --pages_) {
      const auto offset = machine_->ram().offset_of({mapped.physical + at});
      if (!offset) continue;
      const auto [known, is_new] = owner_.emplace(*offset / kPageSize, processes_.size() - 1);
      if (!is_new && known->second != processes_.size() - 1) known->second = kSeveral;
    }
  }

  Machine* machine_;  ///< a pointer, so that it can be assigned
  // What is looked at: a guest's tables may list every page everywhere.
  TableBudget tables_{2 * machine_->pages().page_count()};
  std::uint64_t pages_ = 16 * machine_->pages().page_count() + (std::uint64_t{1} << 20);
  std::vector<Process> processes_;
  std::unordered_map<std::uint64_t, std::size_t> owner_;
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
