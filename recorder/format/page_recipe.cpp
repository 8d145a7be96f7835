#include "recorder/format/page_recipe.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/units.h"
#include "recorder/format/records.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kLikeMask = 0x07;
constexpr std::uint8_t kDiffers = 0x08;
constexpr std::uint8_t kGoesOn = 0x10;

bool is_of_image(const PageRecipe& recipe) {
  return recipe.like == PageLikeness::image || recipe.like == PageLikeness::unpacked;
}

/// Whether `next` is of the bytes that follow those of `before`.
bool goes_on(const PageRecipe& before, const PageRecipe& next) {
  return is_of_image(next) && before.like == next.like && before.source == next.source &&
         before.at + kPageSize == next.at;
}

}  // namespace

std::optional<ByteView> RecipeBatch::difference(std::size_t n) const {
  if (!recipes[n].differs) return std::nullopt;
  return ByteView(payload).subspan(data[n], kPageSize);
}

Bytes encode_recipes(std::span<const PageRecipe> recipes, ByteView data) {
  ByteWriter out;
  out.varint(recipes.size());
  PageRecipe before;
  for (const PageRecipe& recipe : recipes) {
    const bool follows = goes_on(before, recipe);
    out.integer(static_cast<std::uint8_t>(static_cast<std::uint8_t>(recipe.like) |
                                          (recipe.differs ? kDiffers : 0) |
                                          (follows ? kGoesOn : 0)));
    if (recipe.like == PageLikeness::page) {
      out.varint(recipe.at);
    } else if (recipe.like != PageLikeness::zeros && !follows) {
      out.varint(recipe.source);
      out.varint(recipe.at);
    }
    before = recipe;
  }
  out.bytes(data);
  return out.take();
}

RecipeBatch decode_recipes(Bytes payload, std::string_view what) {
  RecipeBatch batch;
  batch.payload = std::move(payload);
  ByteReader in(batch.payload, what);
  const std::uint64_t count = in.varint();
  if (count == 0 || count > kMaxPagesPerBatch || count > in.remaining()) {
    in.fail("a count of pages out of range");
  }
  batch.recipes.resize(static_cast<std::size_t>(count));
  PageRecipe before;
  for (PageRecipe& recipe : batch.recipes) {
    const auto tag = in.integer<std::uint8_t>();
    const std::uint8_t like = tag & kLikeMask;
    if ((tag & ~(kLikeMask | kDiffers | kGoesOn)) != 0 ||
        like > static_cast<std::uint8_t>(PageLikeness::block)) {
      in.fail("a page made in a way that is not known");
    }
    recipe.like = static_cast<PageLikeness>(like);
    recipe.differs = (tag & kDiffers) != 0;
    if ((tag & kGoesOn) != 0) {
      recipe.source = before.source;
      recipe.at = before.at + kPageSize;
      if (!goes_on(before, recipe)) in.fail("a page goes on from nothing");
    } else if (recipe.like == PageLikeness::page) {
      recipe.at = in.varint();
    } else if (recipe.like != PageLikeness::zeros) {
      recipe.source = in.varint();
      recipe.at = in.varint();
    }
    if (is_of_image(recipe) && recipe.at >= kMostImageOffset) in.fail("an offset out of range");
    before = recipe;
  }
  batch.data.resize(batch.recipes.size());
  for (std::size_t n = 0; n < batch.recipes.size(); ++n) {
    batch.data[n] = in.offset();
    if (batch.recipes[n].differs) in.bytes(kPageSize);
  }
  if (!in.at_end()) in.fail("bytes are left over");
  return batch;
}

}  // namespace chronovisor
