// Finds the decoded block at RIP, or makes it. A fetch that faults is a value
// (Cpu::pending_), since it is the most frequent fault of all: a program's pages
// come in as it runs.
#include <algorithm>

#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor {

const Block* Cpu::find_block() {
  if (!long64()) rip() = static_cast<std::uint32_t>(rip());
  const std::uint64_t linear_rip = this->linear_rip();
  if (const Block* block = code_.jump(linear_rip, mode_.key()); block != nullptr) [[likely]] {
    if (long64() || rip() + block->length_bytes - 1 <= state.segment[kCs].limit) [[likely]] {
      return block;
    }
  }
  const Block* block =
      watch_.observer() == nullptr ? find_block_slow(linear_rip) : find_block_observed(linear_rip);
  if (block != nullptr && !code_.is_once(*block)) {
    code_.remember_jump(linear_rip, mode_.key(), *block);
  }
  return block;
}

/// As find_block_slow, and tells the observer what it has not been told in
/// this interval.
const Block* Cpu::find_block_observed(std::uint64_t linear_rip) {
  AccessObserver& observer = *watch_.observer();
  const Block* block = find_block_slow(linear_rip);
  if (block == nullptr) {
    // An instruction whose fetch faults was still arrived at.
    observer.executes(linear_rip, 1);
    return nullptr;
  }
  if (code_.is_once(*block) || block->told_interval != watch_.interval() ||
      block->told_linear_rip != linear_rip) {
    block->told_interval = watch_.interval();
    block->told_linear_rip = linear_rip;
    observer.executes(linear_rip, block->length_bytes);
  }
  return block;
}

const Block* Cpu::find_block_slow(std::uint64_t linear_rip) {
  const GuestFault outside = GuestFault::with_code(kGeneralProtection, 0);
  std::uint64_t limit_bytes = kNever;
  if (long64()) {
    if (!canonical(linear_rip)) return fetch_fault(outside);
  } else {
    const std::uint64_t limit = state.segment[kCs].limit;
    if (rip() > limit) return fetch_fault(outside);
    limit_bytes = limit - rip() + 1;
  }
  const auto page_offset = mmu_.fetch_page(linear_rip);
  if (!page_offset) return fetch_fault(mmu_.fault());
  if (*page_offset == kNever) return decode_once(linear_rip, limit_bytes);
  const std::uint64_t ram_offset = *page_offset + (linear_rip & ~kPageMask);
  if (const Block* block = code_.find(ram_offset, mode_.key()); block != nullptr) {
    bool same = block->length_bytes <= limit_bytes;
    if (same && block->second_page != Block::kNoPage) {
      const auto second = mmu_.fetch_page((linear_rip & kPageMask) + kPageSize);
      if (!second) return fetch_fault(mmu_.fault());
      same = *second == block->second_page * kPageSize;
    }
    if (same) return block;
    if (block->length_bytes > limit_bytes) return decode_once(linear_rip, limit_bytes);
  }
  return build_block(linear_rip, ram_offset, limit_bytes);
}

void Cpu::mark_code_page(std::uint64_t page) {
  ram_.add_use(page, kPageHasCode);
  mmu_.page_has_code(page);
}

const Block* Cpu::build_block(std::uint64_t linear_rip, std::uint64_t ram_offset,
                              std::uint64_t limit_bytes) {
  const std::uint64_t in_page = std::min(kPageSize - (ram_offset & ~kPageMask), limit_bytes);
  const ByteView bytes{ram_.host(ram_offset), in_page};
  auto block = CodeCache::decode_block(mode_.key(), ram_offset, bytes);
  if (block->instructions.empty()) {
    return build_crossing_block(linear_rip, bytes, limit_bytes, std::move(block));
  }
  const std::uint64_t page = ram_offset / kPageSize;
  if ((ram_.use(page) & kPageHasCode) == 0) mark_code_page(page);
  return &code_.insert(std::move(block));
}

/// The first instruction runs past the page, whose last bytes are `first`, or past
/// the segment limit.
const Block* Cpu::build_crossing_block(std::uint64_t linear_rip, ByteView first,
                                       std::uint64_t limit_bytes, std::unique_ptr<Block> block) {
  const GuestFault outside = GuestFault::with_code(kGeneralProtection, 0);
  if (limit_bytes <= first.size()) return fetch_fault(outside);
  const std::uint64_t next = (linear_rip & kPageMask) + kPageSize;
  const auto second = mmu_.fetch_page(long64() ? next : static_cast<std::uint32_t>(next));
  if (!second) return fetch_fault(mmu_.fault());
  if (*second == kNever) return decode_once(linear_rip, limit_bytes);
  std::array<std::uint8_t, kLongestInstruction> joined{};
  std::copy(first.begin(), first.end(), joined.begin());
  const std::size_t tail = std::min<std::uint64_t>(joined.size(), limit_bytes) - first.size();
  std::copy_n(ram_.host(*second), tail, joined.begin() + static_cast<std::ptrdiff_t>(first.size()));
  if (!CodeCache::append_one(mode_.key(), ByteView(joined).first(first.size() + tail), *block)) {
    return fetch_fault(outside);
  }
  block->second_page = *second / kPageSize;
  mark_code_page(block->second_page);
  const std::uint64_t page = block->ram_offset / kPageSize;
  if ((ram_.use(page) & kPageHasCode) == 0) mark_code_page(page);
  return &code_.insert(std::move(block));
}

/// Decodes one instruction that cannot be cached: outside RAM and ROM, or cut by the
/// segment limit. That is slow, so whoever wants to end the run is let look often.
const Block* Cpu::decode_once(std::uint64_t linear_rip, std::uint64_t limit_bytes) {
  constexpr std::uint64_t kBetweenLooks = 1U << 14;
  if (code_.begun_once() % kBetweenLooks == 0) recheck_ = true;
  std::array<std::uint8_t, kLongestInstruction> bytes{};
  const std::size_t wanted = std::min<std::uint64_t>(bytes.size(), limit_bytes);
  Block& block = code_.begin_once();
  for (std::size_t have = 0; have < wanted; ++have) {
    const std::uint64_t at =
        long64() ? linear_rip + have : static_cast<std::uint32_t>(linear_rip + have);
    if (!mmu_.fetch_byte(at, bytes[have])) return fetch_fault(mmu_.fault());
    if (CodeCache::append_one(mode_.key(), ByteView(bytes).first(have + 1), block)) return &block;
  }
  return fetch_fault(GuestFault::with_code(kGeneralProtection, 0));
}

}  // namespace chronovisor
