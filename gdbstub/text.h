// Owns the small text codecs of the GDB Remote Serial Protocol: hexadecimal
// numbers and bytes, and a bounded reader over one packet. Knows no packet's
// meaning. Free functions and values; any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace chronovisor::gdb {

/// The value of one hexadecimal digit, or -1.
int hex_digit(char c);
/// Appends two lower-case digits for each byte.
void append_hex(std::string& out, ByteView data);
std::string hex_bytes(ByteView data);
/// `text` as hexadecimal bytes.
std::string hex_text(std::string_view text);
/// A number without leading zeros, lower case: 0 is "0".
std::string hex_number(std::uint64_t value);
/// The pieces in a row.
std::string join(std::initializer_list<std::string_view> pieces);
/// Decodes pairs of digits; nothing when a character is not one or one is missing.
std::optional<Bytes> decode_hex(std::string_view text);

/// Reads one packet from the left. What does not parse throws
/// Error{bad_input} naming the packet and the offset.
class PacketReader {
 public:
  explicit PacketReader(std::string_view packet) : packet_(packet) {}

  [[nodiscard]] bool at_end() const { return offset_ == packet_.size(); }
  [[nodiscard]] std::string_view all() const { return packet_; }
  [[nodiscard]] std::string_view rest() const { return packet_.substr(offset_); }
  [[nodiscard]] char peek() const { return at_end() ? '\0' : packet_[offset_]; }
  /// Consumes `c` if it comes next.
  bool take(char c);
  bool take(std::string_view text);
  void expect(char c);
  void expect_end();
  /// One to sixteen digits.
  std::uint64_t hex();
  /// Everything up to `separator` (consumed) or the end.
  std::string_view until(char separator);
  /// Exactly `count` characters.
  std::string_view characters(std::size_t count);
  [[noreturn]] void fail(std::string_view reason) const;

 private:
  std::string_view packet_;
  std::size_t offset_ = 0;
};

}  // namespace chronovisor::gdb
