// Owns what an opened recording keeps for reading pages: the directories that were needed
// so far, batches unpacked lately, and the images that pages are made from. For
// RecordingReader alone, which holds the locks that are named here.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "recorder/format/page_recipe.h"
#include "recorder/format/page_table.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {

/// Batches of damaged or hostile files may be larger than what a writer makes, so the
/// bound is kept in bytes.
struct RecordingReader::PageCache {
  struct Batch {
    std::uint64_t sequence = 0;
    std::uint32_t first = 0;  ///< ordinal of its first page
    std::uint32_t count = 0;
  };
  /// What became new with one checkpoint.
  struct Directory {
    std::uint32_t first = 0;  ///< ordinal of its first page
    std::vector<Batch> batches;
    std::vector<Hash128> pages;
  };
  struct Cached {
    std::uint64_t sequence = 0;
    std::shared_ptr<const RecipeBatch> content;
  };

  std::mutex mutex;           ///< of all but the images
  std::deque<Cached> recent;  ///< the latest in front
  std::size_t recent_bytes = 0;
  std::size_t limit_bytes = 0;

  std::mutex images_mutex;
  std::map<std::uint64_t, std::shared_ptr<const InputFile>> images;
  std::map<std::uint64_t, std::shared_ptr<const Bytes>> unpacked;

  // These read directories as they need them, and throw as the reader does.
  /// The ordinal after the last page that checkpoint `checkpoint` can refer to.
  std::uint32_t end_of(const RecordingReader& reader, std::size_t checkpoint);
  const Directory& directory_of(const RecordingReader& reader, std::uint32_t ordinal);
  Batch batch_of(const RecordingReader& reader, std::uint32_t ordinal);
  /// The page's number; nothing when no directory lists it.
  std::optional<std::uint32_t> ordinal_of(const RecordingReader& reader, const Hash128& content);

  std::shared_ptr<const RecipeBatch> find(std::uint64_t sequence);
  void keep(std::uint64_t sequence, std::shared_ptr<const RecipeBatch> content);

 private:
  const Directory& load(const RecordingReader& reader, std::size_t checkpoint);
  void read_totals(const RecordingReader& reader);

  bool totals_looked_for_ = false;
  /// Of each checkpoint the ordinal of the first page of its directory, and the one after
  /// the last; only as far as is known.
  std::vector<std::uint32_t> firsts_ = {0};
  std::unordered_map<std::size_t, Directory> directories_;  ///< those that were read
  PageOrdinals ordinals_;                                   ///< of the pages in them
  std::size_t searched_ = 0;                                ///< directories before it were read
};

}  // namespace chronovisor
