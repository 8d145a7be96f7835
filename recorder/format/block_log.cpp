#include "recorder/format/block_log.h"

#include "base/error.h"
#include "recorder/format/page_table.h"

namespace chronovisor {

Bytes encode_block_directory(const std::vector<BlockEntry>& entries) {
  ByteWriter out;
  out.varint(entries.size());
  for (const BlockEntry& entry : entries) {
    out.varint(entry.medium);
    out.varint(entry.block);
    out.integer(static_cast<std::uint8_t>(entry.kind));
    if (entry.kind != BlockKind::kept) continue;
    out.integer(entry.hash.low);
    out.integer(entry.hash.high);
    out.varint(entry.sequence);
    out.varint(entry.index);
  }
  return out.take();
}

std::vector<BlockEntry> decode_block_directory(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  const std::uint64_t count = in.varint();
  if (count > in.remaining() / 3) in.fail("more blocks than the bytes left can hold");
  std::vector<BlockEntry> entries(static_cast<std::size_t>(count));
  for (BlockEntry& entry : entries) {
    const std::uint64_t medium = in.varint();
    entry.block = in.varint();
    if (medium >= kMostMedia || entry.block >= kMostBlocks) in.fail("a block out of range");
    entry.medium = static_cast<std::uint32_t>(medium);
    const auto kind = in.integer<std::uint8_t>();
    if (kind > static_cast<std::uint8_t>(BlockKind::kept)) in.fail("a block of an unknown kind");
    entry.kind = static_cast<BlockKind>(kind);
    if (entry.kind != BlockKind::kept) continue;
    entry.hash.low = in.integer<std::uint64_t>();
    entry.hash.high = in.integer<std::uint64_t>();
    entry.sequence = in.varint();
    const std::uint64_t index = in.varint();
    if (index >= 0xffff'ffff) in.fail("a content out of range");
    entry.index = static_cast<std::uint32_t>(index);
  }
  if (!in.at_end()) in.fail("bytes are left over");
  return entries;
}

BlockLog::Added BlockLog::add(std::uint32_t medium, std::uint64_t block,
                              std::optional<ByteView> content) {
  CHECK_THAT(medium < kMostMedia && block < kMostBlocks, "a block within the format's limits");
  CHECK_THAT(!content || content->size() == kBlockBytes, "a block is whole");
  BlockEntry entry{medium, block, BlockKind::unreadable, {}, 0, 0};
  if (content) {
    entry.hash = hash128(*content);
    entry.kind = entry.hash == zero_page_hash() ? BlockKind::zeros : BlockKind::kept;
  }
  const auto [known, is_new] =
      known_.try_emplace(block_key(medium, block), Known{entry.kind, entry.hash});
  if (!is_new) {
    const bool same = known->second.kind == entry.kind && known->second.hash == entry.hash;
    return same ? Added::known : Added::contradicts;
  }
  if (entry.kind == BlockKind::kept) {
    const Place here{kWaits, static_cast<std::uint32_t>(waiting_.size())};
    const auto [place, is_first] = contents_.try_emplace(entry.hash, here);
    if (is_first) {
      waiting_.push_back(entry.hash);
      data_.insert(data_.end(), content->begin(), content->end());
    }
    entry.sequence = place->second.sequence;
    entry.index = place->second.index;
  }
  entries_.push_back(entry);
  return Added::fresh;
}

Bytes BlockLog::take_directory(std::uint64_t sequence) {
  for (BlockEntry& entry : entries_) {
    if (entry.sequence == kWaits) entry.sequence = sequence;
  }
  for (const Hash128& content : waiting_) contents_[content].sequence = sequence;
  const Bytes directory = encode_block_directory(entries_);
  entries_.clear();
  waiting_.clear();
  data_.clear();
  return directory;
}

std::optional<BlockLog::Place> BlockLog::place_of(const Hash128& content) const {
  const auto found = contents_.find(content);
  if (found == contents_.end() || found->second.sequence == kWaits) return std::nullopt;
  return found->second;
}

}  // namespace chronovisor
