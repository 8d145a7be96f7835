#include "recorder/format/page_table.h"

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

namespace chronovisor {

std::size_t PageTable::slot_of(const Hash128& content) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(content.low) & mask;
  while (slots_[slot] != 0 && pages_[slots_[slot] - 1] != content) slot = (slot + 1) & mask;
  return slot;
}

std::optional<std::uint32_t> PageTable::find(const Hash128& content) const {
  if (slots_.empty()) return {};
  const std::uint32_t found = slots_[slot_of(content)];
  if (found == 0) return {};
  return found - 1;
}

std::uint32_t PageTable::add(const Hash128& content) {
  CHECK_THAT(pages_.size() < 0xffff'fffe, "more distinct pages than ordinals");
  if (pages_.size() + pages_.size() / 2 + 1 >= slots_.size()) grow();
  const auto ordinal = static_cast<std::uint32_t>(pages_.size());
  const std::size_t slot = slot_of(content);
  pages_.push_back(content);
  if (slots_[slot] == 0) slots_[slot] = ordinal + 1;
  return ordinal;
}

void PageTable::grow() {
  std::vector<std::uint32_t> old = std::move(slots_);
  slots_.assign(std::max<std::size_t>(64, old.size() * 2), 0);
  for (const std::uint32_t entry : old) {
    if (entry != 0) slots_[slot_of(pages_[entry - 1])] = entry;
  }
}

const Hash128& zero_page_hash() {
  static const Hash128 hash = hash128(Bytes(kPageSize));
  return hash;
}

}  // namespace chronovisor
