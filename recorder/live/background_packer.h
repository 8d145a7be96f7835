// Owns one thread that packs the pages of checkpoints while the recorded machine runs on:
// it finds what each is like, joins them to batches and compresses those, and gives them
// back in the order they came. Knows no file. Called from one thread, the writer's; the
// thread inside touches nothing but what it was given. It begins with the first pages.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "recorder/format/chunk.h"
#include "recorder/format/like_pages.h"
#include "recorder/format/page_recipe.h"
#include "recorder/format/page_table.h"
#include "recorder/format/records.h"

namespace chronovisor {

/// Contents that are new with a checkpoint.
struct NewPages {
  static constexpr std::size_t kMost = 64;  ///< that fit into one of these

  struct Page {
    std::uint64_t page = 0;  ///< of memory
    Hash128 content;
    std::uint32_t ordinal = 0;
    std::optional<PageRecipe> recipe;  ///< how it is made, if that is known already
  };
  std::vector<Page> pages;
  Bytes bytes;        ///< 4096 of each
  bool last = false;  ///< of the checkpoint
};

/// Pages packed together; the sequence number of their chunk is still missing.
struct PackedPages {
  PageBatch pages;  ///< none: nothing is to be written
  ChunkType type = ChunkType::page_batch;
  PackedChunk chunk;
  bool last = false;  ///< of the checkpoint
};

class BackgroundPacker {
 public:
  /// @param level as of ChunkEncoder::pack
  /// @param batch_bytes what differs from what is known already, compressed together
  BackgroundPacker(int level, std::size_t batch_bytes) : level_(level), batch_bytes_(batch_bytes) {}
  /// Pages not yet packed are forgotten.
  ~BackgroundPacker();
  BackgroundPacker(const BackgroundPacker&) = delete;
  BackgroundPacker& operator=(const BackgroundPacker&) = delete;

  /// Pages that come from here on may be like the image with this place among the images.
  void add_image(std::uint64_t image, Bytes bytes);
  /// Room for bytes of pages, as it happens to be there.
  [[nodiscard]] Bytes buffer();
  /// Throws Error{host} when the host has no thread for it.
  void submit(NewPages pages);
  /// The next batch in order, if it is ready. Throws what packing threw.
  [[nodiscard]] std::optional<PackedPages> take_ready();
  /// The next batch in order; the last of a checkpoint, or more than fill one, must be on
  /// their way.
  [[nodiscard]] PackedPages take();
  /// Bytes of pages submitted and not yet taken.
  [[nodiscard]] std::size_t bytes_in_flight() const { return bytes_in_flight_; }

 private:
  struct Image {
    std::uint64_t image = 0;
    Bytes bytes;
  };
  /// A batch that is being made, on the thread inside.
  struct Batch {
    PageBatch pages;
    std::vector<PageRecipe> recipes;
    Bytes data;
  };
  void start();
  void run();
  void pack(Image& image);
  void pack(NewPages& pages);
  void finish_batch(bool last);
  PackedPages take_locked();

  const int level_;
  const std::size_t batch_bytes_;
  std::size_t bytes_in_flight_ = 0;  ///< the caller's thread only
  // The thread inside only.
  LikePages like_;
  ChunkEncoder encoder_;
  Batch batch_;

  std::mutex mutex_;
  std::condition_variable submitted_;
  std::condition_variable packed_;
  std::deque<std::variant<Image, NewPages>> waiting_;
  std::deque<PackedPages> ready_;
  std::vector<Bytes> buffers_;  ///< to be used again
  std::exception_ptr failure_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace chronovisor
