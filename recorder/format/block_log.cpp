#include "recorder/format/block_log.h"

#include <utility>

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

/// Tells one content of a block from another, and from none; never 0.
std::uint64_t BlockLog::mark_of(const BlockEntry& entry) {
  constexpr std::uint64_t kUnreadable = 1;
  if (entry.kind == BlockKind::unreadable) return kUnreadable;
  return entry.hash.low > kUnreadable ? entry.hash.low : entry.hash.high | 2;
}

/// Where a content is, which is in use then; the end: it is not remembered.
BlockLog::Places::iterator BlockLog::remembered(const Hash128& content) {
  const auto known = recent_.find(content);
  if (known != recent_.end()) return known;
  const auto older = older_.find(content);
  if (older == older_.end()) return recent_.end();
  return recent_.insert(*older).first;
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
  const std::uint64_t key = block_key(medium, block);
  std::unique_ptr<Marks>& run = known_[key / kRun];
  if (run == nullptr) run = std::make_unique<Marks>();
  std::uint64_t& known = (*run)[key % kRun];
  const std::uint64_t mark = mark_of(entry);
  if (known != 0) return known == mark ? Added::known : Added::contradicts;
  known = mark;
  if (entry.kind == BlockKind::kept) {
    auto place = remembered(entry.hash);
    if (place == recent_.end()) {
      const Place here{kWaits, static_cast<std::uint32_t>(waiting_.size())};
      place = recent_.emplace(entry.hash, here).first;
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
  for (const Hash128& content : waiting_) recent_.at(content).sequence = sequence;
  const Bytes directory = encode_block_directory(entries_);
  entries_.clear();
  waiting_.clear();
  data_.clear();
  // Nothing waits now, so that what is forgotten is in the file.
  if (recent_.size() >= remembered_) older_ = std::exchange(recent_, {});
  return directory;
}

std::optional<BlockLog::Place> BlockLog::place_of(const Hash128& content) const {
  auto found = recent_.find(content);
  if (found == recent_.end()) {
    found = older_.find(content);
    if (found == older_.end()) return std::nullopt;
  }
  if (found->second.sequence == kWaits) return std::nullopt;
  return found->second;
}

}  // namespace chronovisor
