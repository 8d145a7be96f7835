// The side of RecordingReader that reads pages.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "recorder/format/boot_payload.h"
#include "recorder/format/page_cache.h"
#include "recorder/format/page_table.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {
namespace {

/// The batches that pages kept as they are are in, as if there were recipes.
RecipeBatch plain_batch(Bytes payload) {
  RecipeBatch batch;
  const std::size_t count = payload.size() / kPageSize;
  batch.recipes.assign(count, {PageLikeness::zeros, true, 0, 0});
  batch.data.resize(count);
  for (std::size_t n = 0; n < count; ++n) batch.data[n] = n * kPageSize;
  batch.payload = std::move(payload);
  return batch;
}

void put_over(ByteView bytes, PageBytes out) {
  for (std::size_t n = 0; n < kPageSize; n += 8) {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, out.data() + n, 8);
    std::memcpy(&b, bytes.data() + n, 8);
    a ^= b;
    std::memcpy(out.data() + n, &a, 8);
  }
}

}  // namespace

bool RecordingReader::is_there(const PageBatch& batch) const {
  if (batch.sequence >= index().chunks.size()) return false;
  const ChunkEntry chunk = index().chunks[static_cast<std::size_t>(batch.sequence)];
  // What recipes hold shows when they are read.
  if (chunk.type == static_cast<std::uint32_t>(ChunkType::page_recipes)) return true;
  return chunk.raw_length == batch.pages.size() * kPageSize;
}

std::vector<PageRecord> RecordingReader::page_delta(std::size_t checkpoint) const {
  const CheckpointInfo info = checked_checkpoint(checkpoint);
  const PageMapRecord map = decode_page_map(read_stream(info.map, ChunkType::page_map, "page map"),
                                            place(info.sequence) + ": page map");
  const std::uint32_t before = file_of(info.sequence).base.pages;
  if (map.entries.size() != info.pages) {
    fail(info.sequence, "its page map has another count of pages");
  }
  std::vector<PageRecord> pages(map.entries.size());
  std::vector<std::pair<std::uint32_t, std::size_t>> by_place;
  const std::lock_guard lock(cache_->mutex);
  const std::uint32_t end = cache_->end_of(*this, checkpoint);
  for (std::size_t n = 0; n < map.entries.size(); ++n) {
    const PageMapEntry& entry = map.entries[n];
    if (entry.code > end - before) {
      fail(info.sequence, "its page map names a page that is not there");
    }
    pages[n].page = entry.page;
    if (entry.code == 0) {
      pages[n].content = zero_page_hash();
      continue;
    }
    pages[n].place = before + static_cast<std::uint32_t>(entry.code - 1);
    if (map.has_contents) {
      pages[n].content = entry.content;
    } else {
      by_place.emplace_back(*pages[n].place, n);
    }
  }
  // In the order of the directories, so that each is read once.
  std::sort(by_place.begin(), by_place.end());
  for (const auto& [place, n] : by_place) pages[n].content = cache_->content_of(*this, place);
  return pages;
}

std::shared_ptr<const RecipeBatch> RecordingReader::batch_content(std::uint64_t sequence,
                                                                  std::uint32_t count) const {
  std::shared_ptr<const RecipeBatch> known;
  {
    const std::lock_guard lock(cache_->mutex);
    known = cache_->find(sequence);
  }
  const auto checked = [&](std::shared_ptr<const RecipeBatch> content) {
    // Another directory may have named the chunk before, with other pages.
    if (content->recipes.size() != count) fail(sequence, "its count of pages is another one");
    return content;
  };
  if (known != nullptr) return checked(known);
  // Unpacking without the lock lets other threads read other batches.
  const bool has_recipes = index().chunks[static_cast<std::size_t>(sequence)].type ==
                           static_cast<std::uint32_t>(ChunkType::page_recipes);
  auto content = std::make_shared<const RecipeBatch>(
      has_recipes ? decode_recipes(read_chunk(sequence, ChunkType::page_recipes), place(sequence))
                  : plain_batch(read_chunk(sequence, ChunkType::page_batch)));
  {
    const std::lock_guard lock(cache_->mutex);
    cache_->keep(sequence, content);
  }
  return checked(content);
}

std::uint32_t RecordingReader::ordinal_of(const Hash128& content) const {
  const std::optional<std::uint32_t> ordinal = cache_->ordinal_of(*this, content);
  if (!ordinal) {
    throw Error{ErrorCode::bad_input,
                name() + ": no page with content " + content.hex() + " is in the recording"};
  }
  return *ordinal;
}

std::uint64_t RecordingReader::page_place(const Hash128& content) const {
  const std::lock_guard lock(cache_->mutex);
  return ordinal_of(content);
}

void RecordingReader::read_page(const Hash128& content, PageBytes out,
                                std::optional<std::uint32_t> place) const {
  if (content == zero_page_hash()) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    return;
  }
  std::uint32_t ordinal = 0;
  std::uint64_t sequence = 0;
  {
    const std::lock_guard lock(cache_->mutex);
    ordinal = place ? *place : ordinal_of(content);
    sequence = cache_->batch_of(*this, ordinal).sequence;
  }
  make_page(ordinal, out);
  if (hash128(out) != content) fail(sequence, "a page's content does not have its hash");
}

void RecordingReader::make_page(std::uint32_t ordinal, PageBytes out) const {
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  // Each difference is put over the others, and what the last page begins from over them.
  for (unsigned hops = 0;; ++hops) {
    PageCache::Batch batch;
    {
      const std::lock_guard lock(cache_->mutex);
      batch = cache_->batch_of(*this, ordinal);
    }
    const std::uint64_t sequence = batch.sequence;
    const std::size_t n = ordinal - batch.first;
    const std::shared_ptr<const RecipeBatch> content = batch_content(sequence, batch.count);
    const PageRecipe& recipe = content->recipes[n];
    if (const auto difference = content->difference(n)) put_over(*difference, out);
    std::array<std::uint8_t, kPageSize> bytes{};
    switch (recipe.like) {
      case PageLikeness::zeros:
        return;
      case PageLikeness::page:
        if (recipe.at == 0 || recipe.at > ordinal - file_of(sequence).base.pages) {
          fail(sequence, "a page is made from one that does not come before it");
        }
        if (hops == kMostPageHops) fail(sequence, "a page is made from too many others");
        ordinal -= static_cast<std::uint32_t>(recipe.at);
        continue;
      case PageLikeness::image:
      case PageLikeness::unpacked:
        read_image_piece(recipe, sequence, bytes);
        break;
      case PageLikeness::block:
        read_block_content(recipe, sequence, bytes);
        break;
    }
    put_over(bytes, out);
    return;
  }
}

void RecordingReader::read_image_piece(const PageRecipe& recipe, std::uint64_t sequence,
                                       PageBytes out) const {
  // Images are in the first file alone.
  const bool is_known = file_of(sequence).base.chunks == 0 &&
                        recipe.source < index().images.size() &&
                        index().images[recipe.source].storage == ImageStorage::embedded;
  if (!is_known) fail(sequence, "a page is made from an image that is not there");
  const auto image = static_cast<std::size_t>(recipe.source);
  if (recipe.like == PageLikeness::image) {
    std::shared_ptr<const InputFile> file;
    {
      const std::lock_guard lock(cache_->images_mutex);
      auto& known = cache_->images[image];
      if (known == nullptr) known = open_image(image);
      file = known;
    }
    if (file->read(recipe.at, out) != out.size()) fail(sequence, "a page lies out of its image");
    return;
  }
  std::shared_ptr<const Bytes> unpacked;
  {
    // One thread unpacks, the others wait for it.
    const std::lock_guard lock(cache_->images_mutex);
    auto& known = cache_->unpacked[image];
    if (known == nullptr) {
      auto bytes = unpack_boot_payload(read_image(image, kMostUnpackedBytes));
      if (!bytes) fail(sequence, "a page is made from an image that does not unpack");
      known = std::make_shared<const Bytes>(std::move(*bytes));
    }
    unpacked = known;
  }
  if (recipe.at > unpacked->size() || unpacked->size() - recipe.at < kPageSize) {
    fail(sequence, "a page lies out of its image");
  }
  std::copy_n(unpacked->begin() + static_cast<std::ptrdiff_t>(recipe.at), kPageSize, out.begin());
}

void RecordingReader::read_block_content(const PageRecipe& recipe, std::uint64_t sequence,
                                         PageBytes out) const {
  const std::uint64_t before = file_of(sequence).base.chunks;
  if (recipe.source >= sequence - before) {
    fail(sequence, "a page is made from a block that comes after it");
  }
  const std::shared_ptr<const Bytes> data = block_data(before + recipe.source);
  if (recipe.at >= data->size() / kBlockBytes) {
    fail(sequence, "a page is made from a block that is not there");
  }
  std::copy_n(data->begin() + static_cast<std::ptrdiff_t>(recipe.at * kBlockBytes), kBlockBytes,
              out.begin());
}

}  // namespace chronovisor
