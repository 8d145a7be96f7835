// Owns the little-endian byte codecs used by every on-disk format. Knows no
// format. Values; any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace chronovisor {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// Appends little-endian values to a buffer.
class ByteWriter {
 public:
  template <class T>
  requires std::is_integral_v<T>
  void integer(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      out_.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i)));
    }
  }
  /// LEB128, at most ten bytes.
  void varint(std::uint64_t value);
  void bytes(ByteView data) { out_.insert(out_.end(), data.begin(), data.end()); }
  /// A varint length, then the bytes.
  void sized_bytes(ByteView data);
  void sized_text(std::string_view text) { sized_bytes(as_bytes(text)); }

  [[nodiscard]] const Bytes& data() const { return out_; }
  [[nodiscard]] Bytes take() { return std::move(out_); }
  [[nodiscard]] std::size_t size() const { return out_.size(); }

 private:
  Bytes out_;
};

/// Reads little-endian values from untrusted bytes. Every read is bounded;
/// reading past the end throws Error{bad_input} naming `what` and the offset.
class ByteReader {
 public:
  ByteReader(ByteView data, std::string_view what) : data_(data), what_(what) {}

  template <class T>
  requires std::is_integral_v<T> T integer() {
    const ByteView raw = bytes(sizeof(T));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t{raw[i]} << (8 * i);
    return static_cast<T>(value);
  }
  std::uint64_t varint();
  ByteView bytes(std::size_t count);
  /// A varint length of at most `limit`, then the bytes.
  ByteView sized_bytes(std::size_t limit);
  std::string sized_text(std::size_t limit);
  [[nodiscard]] std::size_t remaining() const { return data_.size() - offset_; }
  [[nodiscard]] std::size_t offset() const { return offset_; }
  [[nodiscard]] bool at_end() const { return offset_ == data_.size(); }
  /// Throws Error{bad_input} with what is being read, the offset and `reason`.
  [[noreturn]] void fail(std::string_view reason) const;

 private:
  ByteView data_;
  std::string what_;
  std::size_t offset_ = 0;
};

}  // namespace chronovisor
