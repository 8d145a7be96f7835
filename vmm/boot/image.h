// Owns the bounded view of one untrusted image file and the wording of its
// errors. Knows no format. Values; any thread. The bytes must outlive it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"
#include "base/text.h"

namespace chronovisor {

/// The file's bytes with the name that its errors carry.
class Image {
 public:
  Image(std::string name, ByteView bytes) : name_(std::move(name)), bytes_(bytes) {}

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] ByteView bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }

  /// True when [offset, offset + size) lies in the file; safe for any values.
  [[nodiscard]] bool contains(std::uint64_t offset, std::uint64_t size) const {
    return offset <= bytes_.size() && size <= bytes_.size() - offset;
  }

  /// The little-endian integer at `offset`; Error{bad_input} naming `what` when
  /// the file ends before it.
  template <class T>
  requires std::is_integral_v<T>
  [[nodiscard]] T at(std::uint64_t offset, std::string_view what) const {
    const ByteView raw = slice(offset, sizeof(T), what);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t{raw[i]} << (8 * i);
    return static_cast<T>(value);
  }

  /// The integer at `offset`, or nothing when the file ends before it.
  [[nodiscard]] std::optional<std::uint32_t> peek32(std::uint64_t offset) const;
  [[nodiscard]] bool matches(std::uint64_t offset, std::string_view text) const;

  /// The bytes [offset, offset + size); Error{bad_input} naming `what` when the
  /// file ends before their end.
  [[nodiscard]] ByteView slice(std::uint64_t offset, std::uint64_t size,
                               std::string_view what) const;

  /// Throws Error{bad_input, "name: reason"}.
  [[noreturn]] void fail(std::string_view reason) const;

 private:
  std::string name_;
  ByteView bytes_;
};

/// Refuses a line for the guest that is longer than any kernel's, before it is placed.
void check_text(const Image& image, const std::string& text, std::string_view what);

/// Says what a file that is not a guest kernel seems to be and what to do with
/// it ("is compressed with gzip; unpack it first (gunzip)"), or nothing.
std::optional<std::string> describe_mistaken_file(const Image& image);

}  // namespace chronovisor
