#include "recorder/format/page_cache.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kMostPages = 0xffff'fffe;

std::size_t bytes_of(const RecipeBatch& batch) {
  return batch.payload.size() + batch.recipes.size() * (sizeof(PageRecipe) + sizeof(std::size_t));
}

}  // namespace

std::shared_ptr<const RecipeBatch> RecordingReader::PageCache::find(std::uint64_t sequence) {
  const auto at = std::find_if(recent.begin(), recent.end(),
                               [&](const Cached& cached) { return cached.sequence == sequence; });
  if (at == recent.end()) return nullptr;
  std::rotate(recent.begin(), at, at + 1);
  return recent.front().content;
}

void RecordingReader::PageCache::keep(std::uint64_t sequence,
                                      std::shared_ptr<const RecipeBatch> content) {
  if (find(sequence) != nullptr) return;
  recent_bytes += bytes_of(*content);
  recent.push_front({sequence, std::move(content)});
  while (recent_bytes > limit_bytes && recent.size() > 1) {
    recent_bytes -= bytes_of(*recent.back().content);
    recent.pop_back();
  }
}

/// Takes the totals, if they are there and of this recording; else directories are read
/// from the first on.
void RecordingReader::PageCache::read_totals(const RecordingReader& reader) {
  if (std::exchange(totals_looked_for_, true)) return;
  const std::vector<ChunkEntry>& chunks = reader.index_.chunks;
  for (std::size_t i = chunks.size(); i-- > 0;) {
    if (chunks[i].type != static_cast<std::uint32_t>(ChunkType::page_totals) || !chunks[i].usable) {
      continue;
    }
    std::vector<std::uint32_t> totals;
    try {
      totals = decode_page_totals(reader.read_chunk(i, ChunkType::page_totals), reader.place(i));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_input) throw;
      return;
    }
    if (totals.size() != reader.index_.checkpoints.size()) return;
    std::vector<std::uint32_t> firsts = {0};
    for (const std::uint32_t total : totals) {
      if (total > kMostPages - firsts.back()) return;
      firsts.push_back(firsts.back() + total);
    }
    firsts_ = std::move(firsts);
    return;
  }
}

const RecordingReader::PageCache::Directory& RecordingReader::PageCache::load(
    const RecordingReader& reader, std::size_t checkpoint) {
  while (firsts_.size() <= checkpoint) load(reader, firsts_.size() - 1);
  if (const auto known = directories_.find(checkpoint); known != directories_.end()) {
    return known->second;
  }
  const CheckpointInfo& info = reader.index_.checkpoints[checkpoint];
  const std::vector<PageBatch> batches = decode_page_directory(
      reader.read_stream(info.directory, ChunkType::page_directory, "page directory"),
      reader.place(info.sequence) + ": page directory");
  Directory directory;
  directory.first = firsts_[checkpoint];
  // Nothing is taken over before all of it is known to be sound.
  for (const PageBatch& batch : batches) {
    if (!reader.is_there(batch)) {
      reader.fail(info.sequence, "its page directory names a page batch that is not there");
    }
    if (batch.pages.size() > kMostPages - directory.first - directory.pages.size()) {
      reader.fail(info.sequence, "more pages than can be numbered");
    }
    directory.batches.push_back(
        {batch.sequence, directory.first + static_cast<std::uint32_t>(directory.pages.size()),
         static_cast<std::uint32_t>(batch.pages.size())});
    directory.pages.insert(directory.pages.end(), batch.pages.begin(), batch.pages.end());
  }
  const auto end = static_cast<std::uint32_t>(directory.first + directory.pages.size());
  if (firsts_.size() == checkpoint + 1) {
    firsts_.push_back(end);
  } else if (firsts_[checkpoint + 1] != end) {
    reader.fail(info.sequence, "its page directory and the page totals contradict each other");
  }
  for (std::size_t n = 0; n < directory.pages.size(); ++n) {
    ordinals_.add(directory.pages[n], directory.first + static_cast<std::uint32_t>(n));
  }
  return directories_[checkpoint] = std::move(directory);
}

std::uint32_t RecordingReader::PageCache::end_of(const RecordingReader& reader,
                                                 std::size_t checkpoint) {
  read_totals(reader);
  if (firsts_.size() <= checkpoint + 1) load(reader, checkpoint);
  return firsts_[checkpoint + 1];
}

const RecordingReader::PageCache::Directory& RecordingReader::PageCache::directory_of(
    const RecordingReader& reader, std::uint32_t ordinal) {
  const auto after = std::upper_bound(firsts_.begin(), firsts_.end(), ordinal);
  CHECK_THAT(after != firsts_.end(), "the page is in a directory that is known of");
  return load(reader, static_cast<std::size_t>(after - firsts_.begin()) - 1);
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
  read_totals(reader);
  std::optional<std::uint32_t> ordinal = ordinals_.find(content);
  for (; !ordinal && searched_ < reader.index_.checkpoints.size(); ++searched_) {
    load(reader, searched_);
    ordinal = ordinals_.find(content);
  }
  return ordinal;
}

}  // namespace chronovisor
