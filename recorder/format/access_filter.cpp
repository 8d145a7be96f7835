#include "recorder/format/access_filter.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/units.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kLayout = 1;
constexpr std::uint8_t kAllCode = 1;
constexpr std::uint8_t kAllData = 2;
constexpr std::uint8_t kDevices = 4;
constexpr unsigned kHashes = 3;
constexpr std::uint64_t kLine = IntervalAccesses::kDataLineBytes;
/// Of filters as written today: 128 KiB, which compresses to some bits for each thing touched.
constexpr std::size_t kUsualWords = std::size_t{1} << 14;
constexpr std::size_t kMostWords = std::size_t{1} << 17;
/// Of a stretch of more lines or pages than these nothing is told apart.
constexpr std::uint64_t kMostListed = std::uint64_t{1} << 16;
/// And of the code of one interval no more lines: a filter would be full of them.
constexpr std::uint64_t kMostCodeLines = std::uint64_t{1} << 20;
/// With more bits set than this part of them a filter rules out next to nothing.
constexpr double kMostFilled = 0.75;

/// Source: the finalizer of MurmurHash3, by Austin Appleby, in the public domain.
std::uint64_t mix(std::uint64_t value) {
  value ^= value >> 33;
  value *= 0xff51'afd7'ed55'8ccdULL;
  value ^= value >> 33;
  value *= 0xc4ce'b9fe'1a85'ec53ULL;
  return value ^ value >> 33;
}

/// The bits of something touched, one after the other.
class Places {
 public:
  Places(std::uint64_t number, std::uint8_t kind, std::size_t words)
      : hash_(mix(number * 4 + kind)), mask_(words * 64 - 1) {}
  [[nodiscard]] std::size_t at(unsigned n) const {
    return static_cast<std::size_t>(((hash_ & 0xffff'ffff) + n * (hash_ >> 32)) & mask_);
  }

 private:
  std::uint64_t hash_;
  std::uint64_t mask_;
};

}  // namespace

AccessFilter::AccessFilter() : words_(kUsualWords) {}

void AccessFilter::set(Kind kind, std::uint64_t number) {
  const Places places(number, static_cast<std::uint8_t>(kind), words_.size());
  for (unsigned n = 0; n < kHashes; ++n) {
    const std::size_t bit = places.at(n);
    words_[bit / 64] |= std::uint64_t{1} << bit % 64;
  }
}

bool AccessFilter::has(Kind kind, std::uint64_t number) const {
  const Places places(number, static_cast<std::uint8_t>(kind), words_.size());
  for (unsigned n = 0; n < kHashes; ++n) {
    const std::size_t bit = places.at(n);
    if ((words_[bit / 64] >> bit % 64 & 1) == 0) return false;
  }
  return true;
}

void AccessFilter::add_everything() { all_code_ = all_data_ = true; }

void AccessFilter::add(const IntervalAccesses& accesses) {
  all_code_ = all_code_ || accesses.all_code;
  all_data_ = all_data_ || accesses.all_data;
  devices_ = devices_ || accesses.all_devices || !accesses.devices.empty();
  std::uint64_t lines_of_code = 0;
  for (const CodeRun& run : accesses.code) {
    const std::uint64_t lines = run.last / kLine - run.first / kLine;
    lines_of_code += std::min(lines, kMostListed) + 1;
    if (lines > kMostListed || lines_of_code > kMostCodeLines) {
      all_code_ = true;
      break;
    }
    for (std::uint64_t line = run.first / kLine; line <= run.last / kLine; ++line) {
      set(Kind::code_line, line);
    }
  }
  for (const TouchedPage& page : accesses.pages) {
    if (page.read) set(Kind::page_read, page.page);
    if (page.written) {
      set(Kind::page_written, page.page);
      continue;
    }
    for (std::uint64_t lines = page.lines; lines != 0; lines &= lines - 1) {
      const auto line = static_cast<std::uint64_t>(std::countr_zero(lines));
      set(Kind::line, page.page * (kPageSize / kLine) + line);
    }
  }
}

void AccessFilter::add(const AccessFilter& other) {
  CHECK_THAT(words_.size() == other.words_.size(), "filters of one size");
  all_code_ = all_code_ || other.all_code_;
  all_data_ = all_data_ || other.all_data_;
  devices_ = devices_ || other.devices_;
  for (std::size_t n = 0; n < words_.size(); ++n) words_[n] |= other.words_[n];
}

bool AccessFilter::may_execute(std::uint64_t address) const {
  return all_code_ || words_.empty() || has(Kind::code_line, address / kLine);
}

bool AccessFilter::may_access(std::uint64_t address, std::uint64_t length, bool read,
                              bool write) const {
  if (all_data_ || words_.empty() || (write && devices_)) return true;
  if (length == 0) return false;
  const std::uint64_t last = address + (length - 1);
  // Where it goes around the end of the address space, or over very much.
  if (last < address || last / kLine - address / kLine > kMostListed) return true;
  for (std::uint64_t page = address / kPageSize; page <= last / kPageSize; ++page) {
    if (read && has(Kind::page_read, page)) return true;
    if (write && has(Kind::page_written, page)) return true;
  }
  if (!write) return false;
  for (std::uint64_t line = address / kLine; line <= last / kLine; ++line) {
    if (has(Kind::line, line)) return true;
  }
  return false;
}

Bytes AccessFilter::encode() const {
  std::uint64_t set_bits = 0;
  for (const std::uint64_t word : words_) set_bits += static_cast<unsigned>(std::popcount(word));
  const bool says_something =
      !(all_code_ && all_data_) &&
      static_cast<double>(set_bits) <= kMostFilled * 64 * static_cast<double>(words_.size());
  ByteWriter out;
  out.integer(kLayout);
  out.integer(static_cast<std::uint8_t>((all_code_ ? kAllCode : 0) | (all_data_ ? kAllData : 0) |
                                        (devices_ ? kDevices : 0)));
  out.varint(says_something ? words_.size() : 0);
  if (says_something) {
    for (const std::uint64_t word : words_) out.integer(word);
  }
  return out.take();
}

AccessFilter AccessFilter::decode(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  if (in.integer<std::uint8_t>() != kLayout) in.fail("a filter of another layout");
  AccessFilter filter;
  const auto flags = in.integer<std::uint8_t>();
  filter.all_code_ = (flags & kAllCode) != 0;
  filter.all_data_ = (flags & kAllData) != 0;
  filter.devices_ = (flags & kDevices) != 0;
  const std::uint64_t words = in.varint();
  if (words > kMostWords || (words & (words - 1)) != 0 || words * 8 != in.remaining()) {
    in.fail("a filter's size is out of range");
  }
  filter.words_.resize(static_cast<std::size_t>(words));
  for (std::uint64_t& word : filter.words_) word = in.integer<std::uint64_t>();
  return filter;
}

}  // namespace chronovisor
