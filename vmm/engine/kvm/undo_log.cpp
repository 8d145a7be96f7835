#include "vmm/engine/kvm/undo_log.h"

#include <algorithm>
#include <span>

namespace chronovisor::kvm {

void UndoLog::remember(std::uint64_t linear, std::uint64_t size) {
  while (size != 0) {
    const std::uint64_t part = std::min(size, kPageSize - (linear & ~kPageMask));
    if (const auto physical = cpu_.translate_for_debugger({linear})) {
      if (used_ == entries_.size()) entries_.emplace_back();
      Entry& entry = entries_[used_];
      entry.at = *physical;
      entry.size = part;
      if (ram_.read(*physical, std::span(entry.bytes).first(part)) == part) ++used_;
    }
    linear += part;
    size -= part;
  }
}

void UndoLog::restore() {
  // The latest first: where two overlap, both hold what was there before.
  for (std::size_t n = used_; n-- > 0;) {
    ram_.write(entries_[n].at, ByteView(entries_[n].bytes).first(entries_[n].size));
  }
  used_ = 0;
}

}  // namespace chronovisor::kvm
