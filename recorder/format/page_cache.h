// Owns what an opened recording keeps for reading pages: the distinct pages seen so far,
// batches unpacked lately, and the images that pages are made from. For RecordingReader
// alone, which holds the locks that are named here.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
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
  struct Cached {
    std::size_t batch = 0;
    std::shared_ptr<const RecipeBatch> content;
  };

  std::mutex mutex;  ///< of all but the images
  PageTable pages;
  std::vector<Batch> batches;
  std::size_t directories = 0;  ///< checkpoints whose directory is loaded
  std::deque<Cached> recent;    ///< the latest in front
  std::size_t recent_bytes = 0;
  std::size_t limit_bytes = 0;

  std::mutex images_mutex;
  std::map<std::uint64_t, std::shared_ptr<const InputFile>> images;
  std::map<std::uint64_t, std::shared_ptr<const Bytes>> unpacked;

  [[nodiscard]] std::size_t batch_of(std::uint32_t ordinal) const {
    const auto after = std::partition_point(
        batches.begin(), batches.end(), [&](const Batch& batch) { return batch.first <= ordinal; });
    return static_cast<std::size_t>(after - batches.begin()) - 1;
  }

  std::shared_ptr<const RecipeBatch> find(std::size_t batch) {
    const auto at = std::find_if(recent.begin(), recent.end(),
                                 [&](const Cached& cached) { return cached.batch == batch; });
    if (at == recent.end()) return nullptr;
    std::rotate(recent.begin(), at, at + 1);
    return recent.front().content;
  }

  void keep(std::size_t batch, std::shared_ptr<const RecipeBatch> content) {
    if (find(batch) != nullptr) return;
    recent_bytes += bytes_of(*content);
    recent.push_front({batch, std::move(content)});
    while (recent_bytes > limit_bytes && recent.size() > 1) {
      recent_bytes -= bytes_of(*recent.back().content);
      recent.pop_back();
    }
  }

 private:
  [[nodiscard]] static std::size_t bytes_of(const RecipeBatch& batch) {
    return batch.payload.size() + batch.recipes.size() * (sizeof(PageRecipe) + sizeof(std::size_t));
  }
};

}  // namespace chronovisor
