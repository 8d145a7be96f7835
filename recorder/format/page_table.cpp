#include "recorder/format/page_table.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/units.h"

namespace chronovisor {

std::size_t PageOrdinals::slot_of(const Hash128& content) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(content.low) & mask;
  while (slots_[slot].next_ordinal != 0 && slots_[slot].content != content) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

std::optional<std::uint32_t> PageOrdinals::find(const Hash128& content) const {
  if (slots_.empty()) return std::nullopt;
  const Slot& slot = slots_[slot_of(content)];
  if (slot.next_ordinal == 0) return std::nullopt;
  return slot.next_ordinal - 1;
}

void PageOrdinals::add(const Hash128& content, std::uint32_t ordinal) {
  if (used_ + used_ / 2 + 1 >= slots_.size()) {
    std::vector<Slot> old = std::exchange(slots_, {});
    slots_.resize(std::max<std::size_t>(64, old.size() * 2));
    for (const Slot& slot : old) {
      if (slot.next_ordinal != 0) slots_[slot_of(slot.content)] = slot;
    }
  }
  Slot& slot = slots_[slot_of(content)];
  if (slot.next_ordinal != 0) return;
  slot = {content, ordinal + 1};
  ++used_;
}

std::optional<std::uint32_t> RecentOrdinals::find(const Hash128& content) const {
  const std::optional<std::uint32_t> ordinal = recent_.find(content);
  return ordinal ? ordinal : older_.find(content);
}

void RecentOrdinals::use(const Hash128& content) {
  if (recent_.find(content)) return;
  if (const auto ordinal = older_.find(content)) recent_.add(content, *ordinal);
}

void RecentOrdinals::forget() {
  if (recent_.size() < remembered_) return;
  older_ = std::exchange(recent_, {});
}

std::uint32_t PageTable::add(const Hash128& content) {
  if (next_ == kMostNumbered) {
    throw Error{ErrorCode::host, "the recording has as many pages as can be numbered"};
  }
  ordinals_.add(content, next_);
  return next_++;
}

const Hash128& zero_page_hash() {
  static const Hash128 hash = hash128(Bytes(kPageSize));
  return hash;
}

}  // namespace chronovisor
