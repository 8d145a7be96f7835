// Owns what is known of many intervals at once without listing it: bits that several hashes
// of everything touched have set. It errs on one side only, as the lists of the intervals
// do: what it rules out happened in none of them. Knows no file. Values; any thread.
//
//   filter := u8 layout, 1; u8 flags (bit 0 all code, 1 all data, 2 a device wrote);
//             varint 64-bit words, a power of two or 0; words * u64
//   Of a line or page touched the bits h, h + d, h + 2d ... (kHashes of them, modulo the
//   count of bits) are set, where h and d are the low and the high half of
//   mix(number * 4 + kind). Kinds: 0 a line of 64 bytes of code, 1 a page that was read,
//   2 a page that was written, not known where, 3 a line of 64 bytes that was written. No words:
//   the intervals touched too much for bits to say anything.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "recorder/format/interval_index.h"

namespace chronovisor {

/// Filters are over so many intervals, over so many groups of these, and so on.
inline constexpr std::uint64_t kFilterGroup = 64;
inline constexpr unsigned kFilterLevels = 3;

class AccessFilter {
 public:
  /// Of nothing that was touched.
  AccessFilter();

  void add(const IntervalAccesses& accesses);
  /// What `other` says may have been touched; it is as new or comes from add() alone.
  void add(const AccessFilter& other);
  /// Something was touched that is not known.
  void add_everything();

  [[nodiscard]] bool may_execute(std::uint64_t address) const;
  /// As IntervalAccesses::may_access.
  [[nodiscard]] bool may_access(std::uint64_t address, std::uint64_t length, bool read,
                                bool write) const;

  [[nodiscard]] Bytes encode() const;
  /// Throws Error{bad_input}, beginning with `what`.
  [[nodiscard]] static AccessFilter decode(ByteView data, std::string_view what);
  [[nodiscard]] std::size_t size_bytes() const { return words_.size() * sizeof(std::uint64_t); }

 private:
  enum class Kind : std::uint8_t { code_line = 0, page_read = 1, page_written = 2, line = 3 };
  void set(Kind kind, std::uint64_t number);
  [[nodiscard]] bool has(Kind kind, std::uint64_t number) const;

  bool all_code_ = false;
  bool all_data_ = false;
  bool devices_ = false;              ///< one wrote, where by linear address is not known
  std::vector<std::uint64_t> words_;  ///< of bits
};

}  // namespace chronovisor
