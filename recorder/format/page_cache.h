// Owns what an opened recording keeps for reading pages: directories, batches unpacked and
// contents named lately, within bounds, and the images that pages are made from. For
// RecordingReader alone, which holds the locks that are named here.
#pragma once

#include <list>
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

  static constexpr std::size_t kRememberedContents = std::size_t{1} << 16;

  std::mutex mutex;          ///< of all but the images
  std::list<Cached> recent;  ///< batches, the latest in front
  std::unordered_map<std::uint64_t, std::list<Cached>::iterator> by_sequence;
  std::size_t recent_bytes = 0;
  std::size_t limit_bytes = 0;
  std::size_t directory_limit_bytes = 0;

  std::mutex images_mutex;
  std::map<std::uint64_t, std::shared_ptr<const InputFile>> images;
  std::map<std::uint64_t, std::shared_ptr<const Bytes>> unpacked;

  // These read directories as they need them, and throw as the reader does.
  /// The ordinal after the last page that checkpoint `checkpoint` can refer to.
  std::uint32_t end_of(const RecordingReader& reader, std::size_t checkpoint);
  /// The content of the page with this number.
  Hash128 content_of(const RecordingReader& reader, std::uint32_t ordinal);
  Batch batch_of(const RecordingReader& reader, std::uint32_t ordinal);
  /// The page's number; nothing when no directory lists it. All directories are read if the
  /// content was not met lately.
  std::optional<std::uint32_t> ordinal_of(const RecordingReader& reader, const Hash128& content);

  std::shared_ptr<const RecipeBatch> find(std::uint64_t sequence);
  void keep(std::uint64_t sequence, std::shared_ptr<const RecipeBatch> content);
  /// Bytes of batches, directories and contents.
  [[nodiscard]] std::size_t bytes() const;

 private:
  struct KeptDirectory {
    std::size_t checkpoint = 0;
    Directory directory;
    std::size_t bytes = 0;
  };
  const Directory& directory_of(const RecordingReader& reader, std::uint32_t ordinal);
  const Directory& load(const RecordingReader& reader, std::size_t checkpoint);
  Directory read(const RecordingReader& reader, std::size_t checkpoint);
  void look_for_firsts(const RecordingReader& reader);
  void read_totals(const RecordingReader& reader);
  [[nodiscard]] std::optional<std::uint32_t> known_first(const RecordingReader& reader,
                                                         std::size_t checkpoint) const;

  bool looked_for_firsts_ = false;
  /// The index says for checkpoints before this one where their pages begin.
  std::size_t indexed_ = 0;
  /// Of each checkpoint from `firsts_of_` on the ordinal of the first page of its directory,
  /// and the one after the last; only as far as is known.
  std::size_t firsts_of_ = 0;
  std::vector<std::uint32_t> firsts_ = {0};
  std::list<KeptDirectory> directories_;  ///< the latest in front
  std::unordered_map<std::size_t, std::list<KeptDirectory>::iterator> by_checkpoint_;
  std::size_t directory_bytes_ = 0;
  RecentOrdinals ordinals_{kRememberedContents};  ///< of contents named lately
};

}  // namespace chronovisor
