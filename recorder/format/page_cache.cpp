#include "recorder/format/page_cache.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

std::size_t bytes_of(const RecipeBatch& batch) {
  return batch.payload.size() + batch.recipes.size() * (sizeof(PageRecipe) + sizeof(std::size_t));
}

}  // namespace

std::shared_ptr<const RecipeBatch> RecordingReader::PageCache::find(std::uint64_t sequence) {
  const auto known = by_sequence.find(sequence);
  if (known == by_sequence.end()) return nullptr;
  recent.splice(recent.begin(), recent, known->second);
  return recent.front().content;
}

void RecordingReader::PageCache::keep(std::uint64_t sequence,
                                      std::shared_ptr<const RecipeBatch> content) {
  if (find(sequence) != nullptr) return;
  recent_bytes += bytes_of(*content);
  recent.push_front({sequence, std::move(content)});
  by_sequence[sequence] = recent.begin();
  while (recent_bytes > limit_bytes && recent.size() > 1) {
    recent_bytes -= bytes_of(*recent.back().content);
    by_sequence.erase(recent.back().sequence);
    recent.pop_back();
  }
}

std::size_t RecordingReader::PageCache::bytes() const {
  return recent_bytes + directory_bytes_ + ordinals_.bytes();
}

/// What the index says of where pages begin; if it says nothing, what the totals say.
void RecordingReader::PageCache::look_for_firsts(const RecordingReader& reader) {
  if (std::exchange(looked_for_firsts_, true)) return;
  const IndexTable<CheckpointInfo>& checkpoints = reader.index().checkpoints;
  const auto known = std::partition_point(
      checkpoints.begin(), checkpoints.end(),
      [](const CheckpointInfo& info) { return info.pages_before.has_value(); });
  indexed_ = static_cast<std::size_t>(known - checkpoints.begin());
  if (indexed_ == 0) return read_totals(reader);
  firsts_of_ = indexed_ - 1;
  firsts_ = {*checkpoints[firsts_of_].pages_before};
}

/// Takes the totals, if they are there and of this recording; else directories are read
/// from the first on.
void RecordingReader::PageCache::read_totals(const RecordingReader& reader) {
  const RecordingIndex& index = reader.index();
  if (!index.totals.contains(static_cast<std::uint32_t>(ChunkType::page_totals))) return;
  for (std::size_t i = index.chunks.size(); i-- > 0;) {
    const ChunkEntry chunk = index.chunks[i];
    if (chunk.type != static_cast<std::uint32_t>(ChunkType::page_totals) || !chunk.usable) {
      continue;
    }
    std::vector<std::uint32_t> totals;
    try {
      totals = decode_page_totals(reader.read_chunk(i, ChunkType::page_totals), reader.place(i));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_input) throw;
      return;
    }
    if (totals.size() != index.checkpoints.size()) return;
    std::vector<std::uint32_t> firsts = {0};
    for (const std::uint32_t total : totals) {
      if (total > kMostNumbered - firsts.back()) return;
      firsts.push_back(firsts.back() + total);
    }
    firsts_ = std::move(firsts);
    return;
  }
}

/// Where the pages of a checkpoint begin, if that is known; of the one after the last, where
/// all end.
std::optional<std::uint32_t> RecordingReader::PageCache::known_first(const RecordingReader& reader,
                                                                     std::size_t checkpoint) const {
  if (checkpoint < indexed_) return reader.index().checkpoints[checkpoint].pages_before;
  if (checkpoint < firsts_of_ || checkpoint - firsts_of_ >= firsts_.size()) return std::nullopt;
  return firsts_[checkpoint - firsts_of_];
}

RecordingReader::PageCache::Directory RecordingReader::PageCache::read(
    const RecordingReader& reader, std::size_t checkpoint) {
  const CheckpointInfo info = reader.index().checkpoints[checkpoint];
  std::vector<PageBatch> batches = decode_page_directory(
      reader.read_stream(info.directory, ChunkType::page_directory, "page directory"),
      reader.place(info.sequence) + ": page directory");
  Directory directory;
  directory.first = known_first(reader, checkpoint).value();
  const std::uint64_t before = reader.file_of(info.sequence).base.chunks;
  for (PageBatch& batch : batches) {
    batch.sequence += before;
    if (!reader.is_there(batch)) {
      reader.fail(info.sequence, "its page directory names a page batch that is not there");
    }
    if (directory.first + directory.pages.size() + batch.pages.size() > kMostNumbered) {
      reader.fail(info.sequence, "more pages than can be numbered");
    }
    directory.batches.push_back(
        {batch.sequence, directory.first + static_cast<std::uint32_t>(directory.pages.size()),
         static_cast<std::uint32_t>(batch.pages.size())});
    directory.pages.insert(directory.pages.end(), batch.pages.begin(), batch.pages.end());
  }
  return directory;
}

const RecordingReader::PageCache::Directory& RecordingReader::PageCache::load(
    const RecordingReader& reader, std::size_t checkpoint) {
  while (!known_first(reader, checkpoint)) load(reader, firsts_of_ + firsts_.size() - 1);
  if (const auto known = by_checkpoint_.find(checkpoint); known != by_checkpoint_.end()) {
    directories_.splice(directories_.begin(), directories_, known->second);
    return known->second->directory;
  }
  // Nothing is taken over before all of it is known to be sound.
  Directory directory = read(reader, checkpoint);
  const auto end = static_cast<std::uint32_t>(directory.first + directory.pages.size());
  const auto next = known_first(reader, checkpoint + 1);
  if (!next && checkpoint + 1 == firsts_of_ + firsts_.size()) {
    firsts_.push_back(end);
  } else if (next && *next != end) {
    reader.fail(reader.index().checkpoints[checkpoint].sequence,
                "its page directory and the page totals contradict each other");
  }
  const std::size_t bytes = sizeof(KeptDirectory) + directory.batches.size() * sizeof(Batch) +
                            directory.pages.size() * sizeof(Hash128);
  directories_.push_front({checkpoint, std::move(directory), bytes});
  by_checkpoint_[checkpoint] = directories_.begin();
  directory_bytes_ += bytes;
  while (directory_bytes_ > directory_limit_bytes && directories_.size() > 1) {
    directory_bytes_ -= directories_.back().bytes;
    by_checkpoint_.erase(directories_.back().checkpoint);
    directories_.pop_back();
  }
  return directories_.front().directory;
}

std::uint32_t RecordingReader::PageCache::end_of(const RecordingReader& reader,
                                                 std::size_t checkpoint) {
  look_for_firsts(reader);
  if (!known_first(reader, checkpoint + 1)) load(reader, checkpoint);
  return known_first(reader, checkpoint + 1).value();
}

const RecordingReader::PageCache::Directory& RecordingReader::PageCache::directory_of(
    const RecordingReader& reader, std::uint32_t ordinal) {
  const auto holds = [ordinal](const Directory& directory) {
    return ordinal >= directory.first && ordinal - directory.first < directory.pages.size();
  };
  // Pages are mostly asked for in their order.
  if (!directories_.empty() && holds(directories_.front().directory)) {
    return directories_.front().directory;
  }
  look_for_firsts(reader);
  const IndexTable<CheckpointInfo>& checkpoints = reader.index().checkpoints;
  std::size_t checkpoint = 0;
  if (ordinal < firsts_.front()) {
    const auto end = checkpoints.begin() + static_cast<std::ptrdiff_t>(firsts_of_);
    const auto after = std::partition_point(
        checkpoints.begin(), end,
        [&](const CheckpointInfo& info) { return info.pages_before.value_or(0) <= ordinal; });
    checkpoint = static_cast<std::size_t>(after - checkpoints.begin());
  } else {
    while (ordinal >= firsts_.back() && firsts_of_ + firsts_.size() <= checkpoints.size()) {
      load(reader, firsts_of_ + firsts_.size() - 1);
    }
    const auto after = std::upper_bound(firsts_.begin(), firsts_.end(), ordinal);
    if (after != firsts_.end()) {
      checkpoint = firsts_of_ + static_cast<std::size_t>(after - firsts_.begin());
    }
  }
  if (checkpoint != 0) {
    const Directory& directory = load(reader, checkpoint - 1);
    if (holds(directory)) return directory;
  }
  throw Error{ErrorCode::bad_input, reader.name() + ": page " + std::to_string(ordinal) +
                                        " is in none of the page directories"};
}

Hash128 RecordingReader::PageCache::content_of(const RecordingReader& reader,
                                               std::uint32_t ordinal) {
  const Directory& directory = directory_of(reader, ordinal);
  const Hash128 content = directory.pages[ordinal - directory.first];
  ordinals_.forget();
  ordinals_.use(content);
  ordinals_.add(content, ordinal);
  return content;
}

RecordingReader::PageCache::Batch RecordingReader::PageCache::batch_of(
    const RecordingReader& reader, std::uint32_t ordinal) {
  const std::vector<Batch>& batches = directory_of(reader, ordinal).batches;
  const auto after = std::partition_point(
      batches.begin(), batches.end(), [&](const Batch& batch) { return batch.first <= ordinal; });
  return *std::prev(after);
}

std::optional<std::uint32_t> RecordingReader::PageCache::ordinal_of(const RecordingReader& reader,
                                                                    const Hash128& content) {
  if (const auto known = ordinals_.find(content)) return known;
  look_for_firsts(reader);
  for (std::size_t n = 0; n < reader.index().checkpoints.size(); ++n) {
    const Directory& directory = load(reader, n);
    const auto at = std::find(directory.pages.begin(), directory.pages.end(), content);
    if (at == directory.pages.end()) continue;
    const auto ordinal = directory.first + static_cast<std::uint32_t>(at - directory.pages.begin());
    ordinals_.add(content, ordinal);
    return ordinal;
  }
  return std::nullopt;
}

}  // namespace chronovisor
