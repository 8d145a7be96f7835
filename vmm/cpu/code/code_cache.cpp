#include "vmm/cpu/code/code_cache.h"

#include "vmm/cpu/code/decoder.h"

namespace chronovisor {
namespace {

constexpr std::size_t kMostInstructionsInBlock = 48;
constexpr std::size_t kMostCachedInstructions = 2'000'000;  // about 100 MB

}  // namespace

CodeCache::CodeCache()
    : once_(std::make_unique<Block>()),
      jumps_(kJumps),
      generations_(std::make_unique<Generations>()) {
  forget_jumps();
}

std::unique_ptr<Block> CodeCache::decode_block(ModeKey mode, std::uint64_t ram_offset,
                                               ByteView bytes) {
  auto block = std::make_unique<Block>();
  block->ram_offset = ram_offset;
  block->mode_key = mode.decoding();
  while (block->instructions.size() < kMostInstructionsInBlock) {
    if (!append_one(mode, bytes.subspan(block->length_bytes), *block)) break;
    const Instruction& last = block->instructions.back();
    const std::uint32_t attributes = row_attributes(last);
    if ((attributes & kEndsBlock) != 0) break;
    if ((attributes & kString) != 0 && last.repeat != 0) break;
    if (block->length_bytes == bytes.size()) break;
  }
  return block;
}

bool CodeCache::append_one(ModeKey mode, ByteView bytes, Block& block) {
  Instruction instruction;
  instruction.start_offset = static_cast<std::uint16_t>(block.length_bytes);
  if (decode(mode.decode_mode(), bytes, instruction) == DecodeStatus::need_more) return false;
  block.length_bytes = instruction.next_offset;
  block.instructions.push_back(instruction);
  return true;
}

const Block& CodeCache::insert(std::unique_ptr<Block> block) {
  ++blocks_decoded_;
  if (blocks_.instruction_count() > kMostCachedInstructions) {
    blocks_.clear();
    forget_jumps();
  }
  return blocks_.insert(std::move(block));
}

bool CodeCache::invalidate(std::uint64_t ram_offset, std::uint64_t size) {
  if (!blocks_.invalidate(ram_offset, size)) return false;
  forget_jumps();
  return true;
}

Block& CodeCache::begin_once() {
  ++begun_once_;
  once_->instructions.clear();
  once_->length_bytes = 0;
  once_->mode_key = ~std::uint64_t{0};
  return *once_;
}

}  // namespace chronovisor
