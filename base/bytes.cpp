#include "base/bytes.h"

#include "base/error.h"

namespace chronovisor {

void ByteWriter::varint(std::uint64_t value) {
  while (value >= 0x80) {
    out_.push_back(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  out_.push_back(static_cast<std::uint8_t>(value));
}

void ByteWriter::sized_bytes(ByteView data) {
  varint(data.size());
  bytes(data);
}

std::uint64_t ByteReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const std::uint8_t byte = bytes(1)[0];
    if (shift == 63 && byte > 1) fail("a varint does not fit in 64 bits");
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  fail("a varint does not end");
}

ByteView ByteReader::bytes(std::size_t count) {
  if (count > remaining()) {
    fail("needs " + std::to_string(count) + " bytes, " + std::to_string(remaining()) + " are left");
  }
  const ByteView view = data_.subspan(offset_, count);
  offset_ += count;
  return view;
}

ByteView ByteReader::sized_bytes(std::size_t limit) {
  const std::uint64_t size = varint();
  if (size > limit) {
    fail("a length of " + std::to_string(size) + " exceeds the limit of " + std::to_string(limit));
  }
  return bytes(static_cast<std::size_t>(size));
}

std::string ByteReader::sized_text(std::size_t limit) {
  const ByteView view = sized_bytes(limit);
  return {reinterpret_cast<const char*>(view.data()), view.size()};
}

void ByteReader::fail(std::string_view reason) const {
  throw Error(ErrorCode::bad_input,
              what_ + ": at byte " + std::to_string(offset_) + ": " + std::string(reason));
}

}  // namespace chronovisor
