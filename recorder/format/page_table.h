// Owns the numbers of the distinct pages of a recording: content hash to ordinal. Knows no
// file. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/hash.h"

namespace chronovisor {

/// No more pages, nor checkpoints, are numbered, of all parts of a recording together.
inline constexpr std::uint32_t kMostNumbered = 0xffff'fff0;

/// Content hashes and their ordinals, 24 bytes a slot, at most two thirds of which are used.
class PageOrdinals {
 public:
  [[nodiscard]] std::optional<std::uint32_t> find(const Hash128& content) const;
  /// Of equal contents the first added is found.
  void add(const Hash128& content, std::uint32_t ordinal);
  [[nodiscard]] std::size_t size() const { return used_; }
  [[nodiscard]] std::size_t bytes() const { return slots_.size() * sizeof(Slot); }

 private:
  struct Slot {
    Hash128 content;
    std::uint32_t next_ordinal = 0;  ///< the ordinal + 1; 0: free
  };
  [[nodiscard]] std::size_t slot_of(const Hash128& content) const;

  std::vector<Slot> slots_;  ///< open addressing, a power of two in size
  std::size_t used_ = 0;
};

/// The ordinals of contents that were met lately, so many of them at least and at most twice
/// as many.
class RecentOrdinals {
 public:
  explicit RecentOrdinals(std::size_t remembered) : remembered_(remembered) {}

  [[nodiscard]] std::optional<std::uint32_t> find(const Hash128& content) const;
  void add(const Hash128& content, std::uint32_t ordinal) { recent_.add(content, ordinal); }
  /// A content that is known is not forgotten next.
  void use(const Hash128& content);
  /// Forgets the contents not met for longest, if there are too many.
  void forget();
  [[nodiscard]] std::size_t size() const { return recent_.size() + older_.size(); }
  [[nodiscard]] std::size_t bytes() const { return recent_.bytes() + older_.bytes(); }

 private:
  std::size_t remembered_;
  PageOrdinals recent_;
  PageOrdinals older_;
};

/// The pages that a writer remembers having stored: those used lately, however many there
/// are in the file. What is forgotten is stored again when it comes again.
class PageTable {
 public:
  /// So many pages used lately are remembered, and at most twice as many.
  static constexpr std::size_t kRemembered = std::size_t{1} << 20;
  explicit PageTable(std::size_t remembered = kRemembered) : ordinals_(remembered) {}

  /// The ordinal of the page with this content, if it is remembered.
  [[nodiscard]] std::optional<std::uint32_t> find(const Hash128& content) const {
    return ordinals_.find(content);
  }
  /// Numbers a page; pages are numbered 0, 1, 2 ... in order of adding. Throws Error{host}
  /// when there are kMostNumbered.
  std::uint32_t add(const Hash128& content);
  /// A page that was found is in use: it is not forgotten next.
  void use(const Hash128& content) { ordinals_.use(content); }
  /// Forgets the pages not used for longest, if there are too many. Until the next call
  /// nothing is forgotten.
  void forget() { ordinals_.forget(); }
  /// How many pages have been numbered.
  [[nodiscard]] std::size_t size() const { return next_; }
  [[nodiscard]] std::size_t remembered() const { return ordinals_.size(); }

 private:
  RecentOrdinals ordinals_;
  std::uint32_t next_ = 0;
};

/// The content hash of a page of zeros; such pages are never stored.
[[nodiscard]] const Hash128& zero_page_hash();

}  // namespace chronovisor
