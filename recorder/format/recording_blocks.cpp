// The side of RecordingReader that reads what the guest read of disks.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "recorder/format/block_cache.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {

template <class Value>
std::shared_ptr<const Value> RecordingReader::BlockCache::Lately<Value>::find(
    std::uint64_t sequence) {
  const auto at = std::find_if(recent.begin(), recent.end(),
                               [&](const Cached& cached) { return cached.sequence == sequence; });
  if (at == recent.end()) return nullptr;
  std::rotate(recent.begin(), at, at + 1);
  return recent.front().value;
}

template <class Value>
void RecordingReader::BlockCache::Lately<Value>::keep(std::uint64_t sequence,
                                                      std::shared_ptr<const Value> value,
                                                      std::size_t size) {
  if (find(sequence) != nullptr) return;
  recent.push_front({sequence, std::move(value), size});
  bytes += size;
  while (bytes > limit_bytes && recent.size() > 1) {
    bytes -= recent.back().bytes;
    recent.pop_back();
  }
}

/// Of a block that is told of more than once the first counts.
void RecordingReader::BlockCache::load(const RecordingReader& reader) {
  blocks.clear();
  const auto& chunks = reader.index().block_directories;
  for (std::size_t n = 0; n < chunks.size() && n <= ~std::uint32_t{0}; ++n) {
    const std::uint64_t sequence = chunks[n].sequence;
    if (!reader.is_usable(sequence)) continue;
    for (const BlockEntry& entry : reader.read_block_directory(sequence)) {
      blocks[entry.medium].push_back(
          {static_cast<std::uint32_t>(entry.block), static_cast<std::uint32_t>(n)});
    }
  }
  for (auto& [medium, known] : blocks) {
    std::sort(known.begin(), known.end());
    const auto same = [](const KnownBlock& a, const KnownBlock& b) { return a.block == b.block; };
    known.erase(std::unique(known.begin(), known.end(), same), known.end());
    known.shrink_to_fit();
  }
  loaded = true;
}

std::shared_ptr<const RecordingReader::BlockCache::Directory>
RecordingReader::BlockCache::directory(const RecordingReader& reader, std::uint32_t number) {
  const std::uint64_t sequence = reader.index().block_directories[number].sequence;
  if (auto known = directories.find(sequence)) return known;
  Directory entries = reader.read_block_directory(sequence);
  std::stable_sort(entries.begin(), entries.end(), [](const BlockEntry& a, const BlockEntry& b) {
    return block_key(a.medium, a.block) < block_key(b.medium, b.block);
  });
  const std::size_t size = entries.size() * sizeof(BlockEntry);
  auto read = std::make_shared<const Directory>(std::move(entries));
  directories.keep(sequence, read, size);
  return read;
}

std::optional<BlockEntry> RecordingReader::BlockCache::find(const RecordingReader& reader,
                                                            std::uint32_t medium,
                                                            std::uint64_t block) {
  if (!loaded) load(reader);
  const auto of_medium = blocks.find(medium);
  if (of_medium == blocks.end()) return std::nullopt;
  const std::vector<KnownBlock>& known = of_medium->second;
  const auto at = std::partition_point(known.begin(), known.end(),
                                       [&](const KnownBlock& one) { return one.block < block; });
  if (at == known.end() || at->block != block) return std::nullopt;
  const auto entries = directory(reader, at->directory);
  const std::uint64_t key = block_key(medium, block);
  const auto entry = std::partition_point(
      entries->begin(), entries->end(),
      [&](const BlockEntry& one) { return block_key(one.medium, one.block) < key; });
  if (entry == entries->end() || block_key(entry->medium, entry->block) != key) {
    reader.fail(reader.index().block_directories[at->directory].sequence,
                "it is not what it was when it was read first");
  }
  return *entry;
}

std::size_t RecordingReader::BlockCache::bytes() const {
  std::size_t bytes = data.bytes + directories.bytes;
  for (const auto& [medium, known] : blocks) bytes += known.capacity() * sizeof(KnownBlock);
  return bytes;
}

std::vector<BlockEntry> RecordingReader::read_block_directory(std::uint64_t sequence) const {
  std::vector<BlockEntry> entries =
      decode_block_directory(read_chunk(sequence, ChunkType::block_directory), place(sequence));
  const std::uint64_t before = file_of(sequence).base.chunks;
  for (BlockEntry& entry : entries) {
    if (entry.kind != BlockKind::kept) continue;
    const bool is_before = entry.sequence < sequence - before;
    if (is_before) entry.sequence += before;
    const bool is_there =
        is_before &&
        index().chunks[static_cast<std::size_t>(entry.sequence)].raw_length / kBlockBytes >
            entry.index;
    if (!is_there) fail(sequence, "it names block data that are not there");
  }
  return entries;
}

std::vector<BlockEntry> RecordingReader::block_entries() const {
  return block_entries_to({kNever});
}

std::vector<BlockEntry> RecordingReader::block_entries_to(Position position) const {
  std::vector<BlockEntry> all;
  for (const auto& chunk : index().block_directories) {
    if (!is_usable(chunk.sequence)) continue;
    // What is in the file behind a log was read at its end or later.
    if (index().complete_before(chunk.sequence) > position) break;
    const std::vector<BlockEntry> some = read_block_directory(chunk.sequence);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::shared_ptr<const Bytes> RecordingReader::block_data(std::uint64_t sequence) const {
  {
    const std::lock_guard lock(blocks_->mutex);
    if (auto known = blocks_->data.find(sequence)) return known;
  }
  // Decompressing without the lock lets other threads read other chunks.
  auto data = std::make_shared<const Bytes>(read_chunk(sequence, ChunkType::block_data));
  const std::lock_guard lock(blocks_->mutex);
  blocks_->data.keep(sequence, data, data->size());
  return data;
}

std::optional<BlockKind> RecordingReader::read_block(std::uint32_t medium, std::uint64_t block,
                                                     PageBytes out) const {
  if (medium >= kMostMedia || block >= kMostBlocks) return std::nullopt;
  std::optional<BlockEntry> known;
  {
    const std::lock_guard lock(blocks_->mutex);
    known = blocks_->find(*this, medium, block);
  }
  if (!known) return std::nullopt;
  if (known->kind != BlockKind::kept) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    return known->kind;
  }
  const std::shared_ptr<const Bytes> data = block_data(known->sequence);
  const std::size_t at = std::size_t{known->index} * kBlockBytes;
  if (at + kBlockBytes > data->size()) fail(known->sequence, "a block lies beyond its end");
  const ByteView content = ByteView(*data).subspan(at, kBlockBytes);
  if (hash128(content) != known->hash) {
    fail(known->sequence, "a block's content does not have its hash");
  }
  std::copy(content.begin(), content.end(), out.begin());
  return BlockKind::kept;
}

}  // namespace chronovisor
