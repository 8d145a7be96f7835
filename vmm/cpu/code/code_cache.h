// Owns all decoded code of a processor: the blocks by where their bytes lie, the
// one block that is never kept, and a small table from linear RIP to block that
// makes the common case one comparison. Whoever changes bytes or mappings says so
// here. Knows no memory and no execution; bytes are given to it. One thread a
// machine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "vmm/cpu/code/block_cache.h"
#include "vmm/cpu/state/mode.h"

namespace chronovisor {

class CodeCache {
 public:
  CodeCache();

  // ---- jumps: from a linear address to a block, while mappings stay -------------
  [[nodiscard]] const Block* jump(std::uint64_t linear_rip, ModeKey mode) const {
    const Jump& entry = jumps_[jump_index(linear_rip)];
    const bool same = entry.linear_rip == linear_rip && entry.tag == tag_of(mode);
    return same ? entry.block : nullptr;
  }
  void remember_jump(std::uint64_t linear_rip, ModeKey mode, const Block& block) {
    jumps_[jump_index(linear_rip)] = {linear_rip, tag_of(mode), &block};
  }
  void forget_jumps() {
    generations_->system = ++generations_->latest;
    forget_user_jumps();
  }
  /// Those of user code (CPL 3), in all address spaces.
  void forget_user_jumps() {
    for (std::uint64_t& generation : generations_->user) generation = ++generations_->latest;
  }
  /// User code runs in another address space from here on; its jumps are those of the
  /// last time, if they are `known` to hold.
  void enter_address_space(unsigned number, bool known) {
    generations_->address_space = number;
    if (!known) generations_->user[number] = ++generations_->latest;
  }
  /// What was learnt about linear addresses in another generation need not hold.
  [[nodiscard]] std::uint64_t generation(ModeKey mode) const {
    return mode.user() ? generations_->user[generations_->address_space] : generations_->system;
  }

  // ---- blocks: by RAM offset and mode, while bytes stay --------------------------
  [[nodiscard]] const Block* find(std::uint64_t ram_offset, ModeKey mode) const {
    return blocks_.find(ram_offset, mode.decoding());
  }
  /// Decodes a block from `bytes`, which lie at `ram_offset` and end with the page
  /// or the segment. Without instructions when the first one does not fit.
  [[nodiscard]] static std::unique_ptr<Block> decode_block(ModeKey mode, std::uint64_t ram_offset,
                                                           ByteView bytes);
  /// Appends the instruction at the start of `bytes`; for those that cross a page.
  /// @return whether the bytes hold all of it
  [[nodiscard]] static bool append_one(ModeKey mode, ByteView bytes, Block& block);
  const Block& insert(std::unique_ptr<Block> block);
  [[nodiscard]] bool page_has_blocks(std::uint64_t page) const {
    return blocks_.page_has_blocks(page);
  }
  /// Bytes of one page change. Removed blocks stay readable until collect().
  /// @return whether a block was removed
  bool invalidate(std::uint64_t ram_offset, std::uint64_t size);
  /// Frees removed blocks; no instruction may be executing.
  void collect() {
    if (blocks_.has_removed()) blocks_.collect();
  }
  /// Drops all blocks.
  void clear() {
    blocks_.clear();
    forget_jumps();
  }
  /// Told of every translated block that leaves; null: nobody.
  void set_listener(BlockListener* listener) { blocks_.set_listener(listener); }
  /// Begins the block that is never kept: of one instruction, for code outside RAM
  /// or cut by the segment limit.
  [[nodiscard]] Block& begin_once();
  /// How often that was done.
  [[nodiscard]] std::uint64_t begun_once() const { return begun_once_; }
  [[nodiscard]] bool is_once(const Block& block) const { return &block == once_.get(); }

  [[nodiscard]] std::uint64_t blocks_decoded() const { return blocks_decoded_; }

 private:
  struct Jump {
    std::uint64_t linear_rip = 0;
    std::uint64_t tag = 0;  ///< generation and mode; 0 never matches
    const Block* block = nullptr;
  };
  /// Numbers of what jumps hold in: no two that were ever in use are the same.
  struct Generations {
    std::uint64_t latest = 0;
    std::uint64_t system = 0;
    std::array<std::uint64_t, kAddressSpaces> user{};
    unsigned address_space = 0;
  };
  static constexpr std::size_t kJumps = 8192;
  [[nodiscard]] static std::size_t jump_index(std::uint64_t linear_rip) {
    return (linear_rip ^ (linear_rip >> 13)) & (kJumps - 1);
  }
  [[nodiscard]] std::uint64_t tag_of(ModeKey mode) const {
    return generation(mode) << ModeKey::kBits | mode.bits();
  }

  BlockCache blocks_;
  std::unique_ptr<Block> once_;
  std::vector<Jump> jumps_;
  std::unique_ptr<Generations> generations_;
  std::uint64_t blocks_decoded_ = 0;
  std::uint64_t begun_once_ = 0;
};

}  // namespace chronovisor
