#include "gdbstub/text.h"

#include "base/encoding.h"
#include "base/error.h"

namespace chronovisor::gdb {

namespace {
constexpr char kDigits[] = "0123456789abcdef";
constexpr std::size_t kShownCharacters = 40;
}  // namespace

int hex_digit(char c) { return chronovisor::hex_digit(c); }

void append_hex(std::string& out, ByteView data) { chronovisor::append_hex(out, data); }

std::string hex_bytes(ByteView data) { return chronovisor::hex_text(data); }

std::string hex_text(std::string_view text) { return hex_bytes(as_bytes(text)); }

std::string hex_number(std::uint64_t value) {
  std::string out;
  int shift = 60;
  while (shift > 0 && ((value >> shift) & 15) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) out.push_back(kDigits[(value >> shift) & 15]);
  return out;
}

std::string join(std::initializer_list<std::string_view> pieces) {
  std::string out;
  for (const std::string_view piece : pieces) out += piece;
  return out;
}

std::optional<Bytes> decode_hex(std::string_view text) { return bytes_of_hex(text); }

bool PacketReader::take(char c) {
  if (at_end() || packet_[offset_] != c) return false;
  ++offset_;
  return true;
}

bool PacketReader::take(std::string_view text) {
  if (!rest().starts_with(text)) return false;
  offset_ += text.size();
  return true;
}

void PacketReader::expect(char c) {
  if (!take(c)) fail(std::string("expected '") + c + "'");
}

void PacketReader::expect_end() {
  if (!at_end()) fail("more than the packet may hold");
}

std::uint64_t PacketReader::hex() {
  std::uint64_t value = 0;
  std::size_t digits = 0;
  while (!at_end() && hex_digit(packet_[offset_]) >= 0) {
    if (++digits > 16) fail("number of more than 64 bits");
    value = value << 4 | static_cast<std::uint64_t>(hex_digit(packet_[offset_]));
    ++offset_;
  }
  if (digits == 0) fail("expected a hexadecimal number");
  return value;
}

std::string_view PacketReader::until(char separator) {
  const std::string_view left = rest();
  const std::size_t end = left.find(separator);
  if (end == std::string_view::npos) {
    offset_ = packet_.size();
    return left;
  }
  offset_ += end + 1;
  return left.substr(0, end);
}

std::string_view PacketReader::characters(std::size_t count) {
  if (rest().size() < count) fail("packet too short");
  const std::string_view out = rest().substr(0, count);
  offset_ += count;
  return out;
}

void PacketReader::fail(std::string_view reason) const {
  throw Error(ErrorCode::bad_input, "packet '" + std::string(packet_.substr(0, kShownCharacters)) +
                                        "': " + std::string(reason) + " at character " +
                                        std::to_string(offset_));
}

}  // namespace chronovisor::gdb
