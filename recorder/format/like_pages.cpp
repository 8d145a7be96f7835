#include "recorder/format/like_pages.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "recorder/format/boot_payload.h"

namespace chronovisor {
namespace {

/// Pieces of images begin at multiples of this relative to pages: sectors of a kernel
/// image, sections of an ELF file.
constexpr std::size_t kUnit = 512;
constexpr std::size_t kWords = kPageSize / 8;
/// A page is like another that differs in no more words of eight bytes.
constexpr unsigned kMostWords = kWords / 2;
/// Up to so many, the next content is compared with the same older one again, so that few
/// pages have to be read for one.
constexpr unsigned kFewWords = kWords / 8;

std::uint64_t word_at(ByteView bytes, std::size_t at) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data() + at, sizeof word);
  return word;
}

/// How many words differ; nothing when they are more than `most`.
std::optional<unsigned> differing(ByteView a, ByteView b, unsigned most) {
  constexpr std::size_t kPiece = kPageSize / 8;
  unsigned words = 0;
  for (std::size_t at = 0; at < kPageSize; at += kPiece) {
    for (std::size_t n = at; n < at + kPiece; n += 8) {
      words += word_at(a, n) != word_at(b, n) ? 1 : 0;
    }
    if (words > most) return std::nullopt;
  }
  return words;
}

void append_difference(ByteView a, ByteView b, Bytes& out) {
  std::array<std::uint64_t, kWords> difference{};
  for (std::size_t n = 0; n < kWords; ++n) difference[n] = word_at(a, n * 8) ^ word_at(b, n * 8);
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(difference.data());
  out.insert(out.end(), bytes, bytes + kPageSize);
}

}  // namespace

void LikePages::add_image(std::uint64_t image, Bytes bytes) {
  std::optional<Bytes> unpacked = unpack_boot_payload(bytes);
  add_source(PageLikeness::image, image, std::move(bytes));
  if (unpacked && has_room(unpacked->size())) {
    add_source(PageLikeness::unpacked, image, std::move(*unpacked));
  }
}

void LikePages::add_source(PageLikeness like, std::uint64_t image, Bytes bytes) {
  if (bytes.size() < kPageSize) return;
  image_bytes_ += bytes.size();
  const std::size_t source = sources_.size();
  sources_.push_back({like, image, std::move(bytes)});
  const ByteView data = sources_.back().bytes;
  for (std::uint64_t unit = 0; unit < data.size() / kUnit; ++unit) {
    enter(word_at(data, unit * kUnit), source, unit);
  }
}

std::size_t LikePages::slot_of(std::uint64_t key) const {
  const std::size_t mask = slots_.size() - 1;
  // The high half of a product depends on all bits of the key.
  std::size_t slot = static_cast<std::size_t>(key * 0x9e37'79b9'7f4a'7c15 >> 32) & mask;
  while (slots_[slot].unit != 0 && slots_[slot].key != key) slot = (slot + 1) & mask;
  return slot;
}

/// Of units that begin alike the first is found.
void LikePages::enter(std::uint64_t key, std::size_t source, std::uint64_t unit) {
  if (key == 0) return;
  if (entered_ * 2 >= slots_.size()) {
    std::vector<Slot> old = std::exchange(slots_, {});
    slots_.resize(std::max<std::size_t>(1024, old.size() * 2));
    for (const Slot& slot : old) {
      if (slot.unit != 0) slots_[slot_of(slot.key)] = slot;
    }
  }
  Slot& slot = slots_[slot_of(key)];
  if (slot.unit != 0) return;
  slot = {key, static_cast<std::uint32_t>(source), static_cast<std::uint32_t>(unit + 1)};
  ++entered_;
}

std::optional<unsigned> LikePages::compare(const Piece& piece, ByteView bytes,
                                           unsigned most) const {
  const ByteView data = sources_[piece.source].bytes;
  if (piece.offset > data.size() || data.size() - piece.offset < kPageSize) return std::nullopt;
  return differing(data.subspan(static_cast<std::size_t>(piece.offset), kPageSize), bytes, most);
}

std::optional<LikePages::Match> LikePages::in_images(std::uint64_t page, ByteView bytes) {
  if (sources_.empty()) return std::nullopt;
  std::optional<Match> best;
  const auto consider = [&](const Piece& piece) {
    const unsigned most = best ? best->words : kMostWords;
    if (const auto words = compare(piece, bytes, most)) best = Match{piece, *words};
    return best && best->words == 0;
  };
  // Beside the latest, before or after it; what wraps around is out of the image.
  if (latest_) {
    consider({latest_->source, latest_->offset + (page - latest_page_) * kPageSize});
  }
  for (std::size_t at = 0; at < kPageSize && !(best && best->words <= kFewWords); at += kUnit) {
    const std::uint64_t key = word_at(bytes, at);
    if (key == 0) continue;
    const Slot& slot = slots_[slot_of(key)];
    if (slot.unit == 0 || (slot.unit - 1) * std::uint64_t{kUnit} < at) continue;
    if (consider({slot.source, (slot.unit - 1) * std::uint64_t{kUnit} - at})) break;
  }
  if (best) {
    latest_ = best->piece;
    latest_page_ = page;
  }
  return best;
}

void LikePages::keep(std::uint64_t page, ByteView bytes, std::uint32_t ordinal, unsigned hops) {
  const auto [known, is_new] = kept_of_.try_emplace(page, next_kept_);
  if (is_new) {
    if (kept_.size() < kMostKept) {
      known->second = kept_.size();
      kept_.emplace_back();
    } else {
      kept_of_.erase(kept_[next_kept_].page);
      next_kept_ = (next_kept_ + 1) % kMostKept;
    }
  }
  Kept& kept = kept_[known->second];
  kept.page = page;
  kept.ordinal = ordinal;
  kept.hops = hops;
  kept.bytes.assign(bytes.begin(), bytes.end());
}

PageRecipe LikePages::recipe(std::uint64_t page, ByteView bytes, std::uint32_t ordinal,
                             Bytes& data) {
  PageRecipe recipe;
  const std::optional<Match> match = in_images(page, bytes);
  if (match) {
    const Source& source = sources_[match->piece.source];
    recipe = {source.like, match->words != 0, source.image, match->piece.offset};
    if (match->words == 0) return recipe;
  }
  unsigned words = match ? match->words : kMostWords + 1;
  unsigned hops = 0;
  const Kept* before = nullptr;
  const auto known = kept_of_.find(page);
  if (known != kept_of_.end() && kept_[known->second].hops < kMostHops) {
    const Kept& kept = kept_[known->second];
    if (const auto count = differing(kept.bytes, bytes, words - 1)) {
      before = &kept;
      words = *count;
      hops = kept.hops + 1;
      recipe = {PageLikeness::page, true, 0, ordinal - kept.ordinal};
    }
  }
  recipe.differs = true;
  if (before != nullptr) {
    append_difference(bytes, before->bytes, data);
    if (words <= kFewWords) return recipe;
  } else if (match) {
    const ByteView image = sources_[match->piece.source].bytes;
    append_difference(bytes, image.subspan(static_cast<std::size_t>(match->piece.offset)), data);
    if (words <= kFewWords) return recipe;
  } else {
    data.insert(data.end(), bytes.begin(), bytes.end());
  }
  keep(page, bytes, ordinal, hops);
  return recipe;
}

}  // namespace chronovisor
