// Owns how a page is kept that is like something the recording has already: an earlier
// page, a piece of an image that came with the guest, or a block read of a disk; and how
// many such pages are packed into one chunk. Knows no file. Values and pure functions;
// any thread.
//
// page_recipes := varint count, recipe ..., then 4096 bytes for each recipe that differs
// recipe:
//   u8      bits 0..2 what it is like; 3 it differs; 4 it goes on where the image's piece
//           of the recipe before it ended; other bits zero
//   varint  like a page: how many ordinals before this page's own that one is, 1 or more
//   varint  like an image, packed or unpacked, without bit 4: its place among the images,
//   varint    and the offset of the first byte
//   varint  like a block: the sequence number of the block data chunk,
//   varint    and the index of the content in it
// The page is what it is like, with the 4096 bytes, if it differs, put over it by
// exclusive or.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

/// What a page is made from. Stored numbers; never renumbered.
enum class PageLikeness : std::uint8_t {
  zeros = 0,     ///< nothing: with a difference, which is the page as it is
  page = 1,      ///< an earlier page
  image = 2,     ///< bytes of an embedded image
  unpacked = 3,  ///< bytes of what a kernel image unpacks to (boot_payload.h)
  block = 4,     ///< a content in a block data chunk
};

struct PageRecipe {
  PageLikeness like = PageLikeness::zeros;
  bool differs = false;
  std::uint64_t source = 0;  ///< image: which; block: the chunk's sequence number
  std::uint64_t at = 0;      ///< page: ordinals back; image: offset; block: index
  bool operator==(const PageRecipe&) const = default;
};

/// Offsets in images are below this.
inline constexpr std::uint64_t kMostImageOffset = std::uint64_t{1} << 40;
/// The most pages that are read one after the other to make one.
inline constexpr unsigned kMostPageHops = 16;

/// Recipes as they are read.
struct RecipeBatch {
  std::vector<PageRecipe> recipes;
  std::vector<std::size_t> data;  ///< of each that differs: where its bytes begin in payload
  Bytes payload;

  /// The bytes to put over what page `n` is like; nothing if it does not differ.
  [[nodiscard]] std::optional<ByteView> difference(std::size_t n) const;
};

/// @param data the 4096 bytes of each recipe that differs, in order
[[nodiscard]] Bytes encode_recipes(std::span<const PageRecipe> recipes, ByteView data);
/// Throws Error{bad_input}, beginning with `what`.
[[nodiscard]] RecipeBatch decode_recipes(Bytes payload, std::string_view what);

}  // namespace chronovisor
