#include "vmm/cpu/code/block_cache.h"

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

namespace chronovisor {
namespace {

std::uint64_t lines_of(std::uint64_t first, std::uint64_t last) {
  const std::uint64_t upto = last / 64 == 63 ? ~std::uint64_t{0} : (1ULL << (last / 64 + 1)) - 1;
  return upto & ~((1ULL << (first / 64)) - 1);
}

struct Extent {
  std::uint64_t first;
  std::uint64_t last;
};

/// The bytes of `block` on `page`, as offsets within the page.
Extent extent_on(const Block& block, std::uint64_t page) {
  const std::uint64_t begin = block.ram_offset & ~kPageMask;
  const std::uint64_t end = begin + block.length_bytes;  // may pass the page
  if (page == block.ram_offset / kPageSize) return {begin, std::min(end, kPageSize) - 1};
  return {0, end - kPageSize - 1};
}

}  // namespace

const Block* BlockCache::find_in_table(std::uint64_t ram_offset, std::uint64_t mode_key) const {
  const auto found = blocks_.find({ram_offset, mode_key});
  if (found == blocks_.end()) return nullptr;
  recent_[recent_index(ram_offset, mode_key)] = found->second.get();
  return found->second.get();
}

const Block& BlockCache::insert(std::unique_ptr<Block> block) {
  Block& added = *block;
  CHECK_THAT(!added.instructions.empty() && added.length_bytes > 0, "an empty block");
  instruction_count_ += added.instructions.size();
  if (const Block* old = find(added.ram_offset, added.mode_key); old != nullptr) {
    remove(const_cast<Block&>(*old));  // its second page changed
  }
  blocks_[{added.ram_offset, added.mode_key}] = std::move(block);
  const std::uint64_t page = added.ram_offset / kPageSize;
  const Extent first = extent_on(added, page);
  add_to_page(added, page, first.first, first.last);
  if (added.second_page != Block::kNoPage && added.second_page != page) {
    const Extent second = extent_on(added, added.second_page);
    add_to_page(added, added.second_page, second.first, second.last);
  }
  return added;
}

void BlockCache::add_to_page(Block& block, std::uint64_t page, std::uint64_t first,
                             std::uint64_t last) {
  Page& entry = pages_[page];
  entry.lines |= lines_of(first, last);
  entry.blocks.push_back(&block);
}

void BlockCache::remove_from_page(Block& block, std::uint64_t page) {
  const auto found = pages_.find(page);
  if (found == pages_.end()) return;
  std::erase(found->second.blocks, &block);
  if (found->second.blocks.empty()) {
    pages_.erase(found);
    return;
  }
  std::uint64_t lines = 0;
  for (const Block* other : found->second.blocks) {
    const Extent extent = extent_on(*other, page);
    lines |= lines_of(extent.first, extent.last);
  }
  found->second.lines = lines;
}

void BlockCache::remove(Block& block) {
  if (block.translation != nullptr) listener_->block_removed(block);
  remove_from_page(block, block.ram_offset / kPageSize);
  if (block.second_page != Block::kNoPage) remove_from_page(block, block.second_page);
  instruction_count_ -= block.instructions.size();
  const Block*& recent = recent_[recent_index(block.ram_offset, block.mode_key)];
  if (recent == &block) recent = nullptr;
  const auto found = blocks_.find({block.ram_offset, block.mode_key});
  CHECK_THAT(found != blocks_.end(), "a block that is not in the cache");
  removed_.push_back(std::move(found->second));
  blocks_.erase(found);
}

bool BlockCache::invalidate(std::uint64_t ram_offset, std::uint64_t size) {
  const std::uint64_t page = ram_offset / kPageSize;
  const auto found = pages_.find(page);
  if (found == pages_.end()) return false;
  const std::uint64_t first = ram_offset & ~kPageMask;
  const std::uint64_t last = first + size - 1;
  if ((found->second.lines & lines_of(first, last)) == 0) return false;
  std::vector<Block*> hit;
  for (Block* block : found->second.blocks) {
    const Extent extent = extent_on(*block, page);
    if (extent.first <= last && first <= extent.last) hit.push_back(block);
  }
  for (Block* block : hit) remove(*block);
  return !hit.empty();
}

void BlockCache::clear() {
  for (auto& [key, block] : blocks_) {
    if (block->translation != nullptr) listener_->block_removed(*block);
    removed_.push_back(std::move(block));
  }
  blocks_.clear();
  std::fill(recent_.begin(), recent_.end(), nullptr);
  pages_.clear();
  instruction_count_ = 0;
}

}  // namespace chronovisor
