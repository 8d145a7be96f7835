// Owns decoded blocks: straight runs of instructions, keyed by where their
// bytes lie in RAM and by the mode they were decoded for, and found again by
// page when bytes change. Knows no execution. One thread a machine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "vmm/cpu/code/instruction.h"

namespace chronovisor {

namespace translate {
struct Translation;
}

/// A run of instructions that is entered at the top and left anywhere.
struct Block {
  std::uint64_t ram_offset = 0;  ///< of the first byte
  std::uint64_t mode_key = 0;
  std::uint64_t length_bytes = 0;
  std::uint64_t second_page = kNoPage;  ///< RAM page of the tail, if the last instruction crosses
  std::vector<Instruction> instructions;
  /// Where an access observer was last told of this block, and in which of its
  /// intervals; saves telling it again.
  mutable std::uint64_t told_linear_rip = 0;
  mutable std::uint64_t told_interval = 0;
  /// What the translator made of it, and how often it was asked to.
  mutable translate::Translation* translation = nullptr;
  mutable std::uint32_t heat = 0;
  static constexpr std::uint64_t kNoPage = ~std::uint64_t{0};
};

/// Told of every translated block that leaves the cache.
class BlockListener {
 public:
  virtual ~BlockListener() = default;
  virtual void block_removed(const Block& block) = 0;
};

class BlockCache {
 public:
  void set_listener(BlockListener* listener) { listener_ = listener; }
  [[nodiscard]] const Block* find(std::uint64_t ram_offset, std::uint64_t mode_key) const {
    const Block* recent = recent_[recent_index(ram_offset, mode_key)];
    if (recent != nullptr && recent->ram_offset == ram_offset && recent->mode_key == mode_key)
        [[likely]] {
      return recent;
    }
    return find_in_table(ram_offset, mode_key);
  }
  /// Takes the block in and remembers the pages and 64-byte lines it covers.
  const Block& insert(std::unique_ptr<Block> block);
  [[nodiscard]] bool page_has_blocks(std::uint64_t page) const { return pages_.contains(page); }
  /// Removes the blocks that overlap [offset, offset + size) within one page.
  /// Removed blocks stay readable until collect().
  /// @return whether any was removed
  bool invalidate(std::uint64_t ram_offset, std::uint64_t size);
  /// Frees removed blocks; no instruction may be executing.
  void collect() { removed_.clear(); }
  [[nodiscard]] bool has_removed() const { return !removed_.empty(); }
  void clear();
  [[nodiscard]] std::size_t instruction_count() const { return instruction_count_; }

 private:
  struct Key {
    std::uint64_t ram_offset;
    std::uint64_t mode_key;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return (key.ram_offset * 0x9e3779b97f4a7c15ULL) ^ (key.mode_key << 7) ^ (key.ram_offset >> 9);
    }
  };
  struct Page {
    std::uint64_t lines = 0;  ///< 64-byte lines with code in them
    std::vector<Block*> blocks;
  };
  [[nodiscard]] const Block* find_in_table(std::uint64_t ram_offset, std::uint64_t mode_key) const;
  [[nodiscard]] static std::size_t recent_index(std::uint64_t ram_offset, std::uint64_t mode_key) {
    return (ram_offset ^ (ram_offset >> 15) ^ (mode_key << 12)) & (kRecent - 1);
  }
  void add_to_page(Block& block, std::uint64_t page, std::uint64_t first, std::uint64_t last);
  void remove_from_page(Block& block, std::uint64_t page);
  void remove(Block& block);

  /// In front of the table: what was found last at each index.
  static constexpr std::size_t kRecent = 1 << 15;
  mutable std::vector<const Block*> recent_ = std::vector<const Block*>(kRecent);
  // Looked up only, never iterated over in an order that matters.
  std::unordered_map<Key, std::unique_ptr<Block>, KeyHash> blocks_;
  std::unordered_map<std::uint64_t, Page> pages_;
  std::vector<std::unique_ptr<Block>> removed_;
  std::size_t instruction_count_ = 0;
  BlockListener* listener_ = nullptr;
};

}  // namespace chronovisor
