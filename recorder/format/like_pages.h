// Owns finding what a page that is to be kept is like: its own content of before, a piece
// of an image, or nothing. Used while a recording is written; knows no file. Its memory
// is that of the images it was given and of a bounded number of pages. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "recorder/format/page_recipe.h"

namespace chronovisor {

class LikePages {
 public:
  /// Images beyond so many bytes in all, unpacked kernels included, are not looked at.
  static constexpr std::size_t kMostImageBytes = std::size_t{256} << 20;
  /// Contents of before that are remembered, of so many pages of memory.
  static constexpr std::size_t kMostKept = 16384;
  /// The most pages read one after the other to make one of those written here.
  static constexpr unsigned kMostHops = 8;

  /// Whether there is room for an image of this size.
  [[nodiscard]] bool has_room(std::uint64_t image_bytes) const {
    return image_bytes <= kMostImageBytes - image_bytes_;
  }
  /// Pages may be like `bytes` of the image with this place among the images, and like
  /// what they unpack to.
  void add_image(std::uint64_t image, Bytes bytes);

  /// How to keep the content `bytes` of page `page` of memory, whose ordinal will be
  /// `ordinal`; what has to be written with the recipe is appended to `data`. It is
  /// remembered as the page's content.
  PageRecipe recipe(std::uint64_t page, ByteView bytes, std::uint32_t ordinal, Bytes& data);

 private:
  struct Source {
    PageLikeness like;
    std::uint64_t image;
    Bytes bytes;
  };
  /// A piece of a source, of a page's size.
  struct Piece {
    std::size_t source = 0;
    std::uint64_t offset = 0;
  };
  struct Kept {
    std::uint64_t page = 0;
    std::uint32_t ordinal = 0;
    unsigned hops = 0;
    Bytes bytes;
  };
  /// Where the eight bytes lie that some unit of a source begins with.
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t source = 0;
    std::uint32_t unit = 0;  ///< 1 + its number; 0: a free slot
  };
  /// Something like a page, and in how many words of eight bytes it differs.
  struct Match {
    Piece piece;
    unsigned words = 0;
  };

  void add_source(PageLikeness like, std::uint64_t image, Bytes bytes);
  void enter(std::uint64_t key, std::size_t source, std::uint64_t unit);
  [[nodiscard]] std::size_t slot_of(std::uint64_t key) const;
  [[nodiscard]] std::optional<Match> in_images(std::uint64_t page, ByteView bytes);
  [[nodiscard]] std::optional<unsigned> compare(const Piece& piece, ByteView bytes,
                                                unsigned most) const;
  void keep(std::uint64_t page, ByteView bytes, std::uint32_t ordinal, unsigned hops);

  std::vector<Source> sources_;
  std::size_t image_bytes_ = 0;
  std::vector<Slot> slots_;  ///< open addressing, a power of two in size
  std::size_t entered_ = 0;
  /// The latest page found in an image, and where: the next is mostly beside it.
  std::optional<Piece> latest_;
  std::uint64_t latest_page_ = 0;
  std::vector<Kept> kept_;
  std::size_t next_kept_ = 0;  ///< which is replaced next when all are in use
  std::unordered_map<std::uint64_t, std::size_t> kept_of_;  ///< page to its place in kept_
};

}  // namespace chronovisor
