#include "replica/protocol/frame.h"

#include <algorithm>

#include "base/error.h"

namespace chronovisor::replica {
namespace {

constexpr std::size_t kCheckedHeader = 40;
/// What was read already is given back when so much of it lies in front.
constexpr std::size_t kMostRead = 1U << 20;

}  // namespace

std::uint64_t session_tag(const SessionId& session) {
  ByteWriter out;
  out.integer(session.low);
  out.integer(session.high);
  return hash64(out.data());
}

void FrameWriter::write(const Message& message, Bytes& out) {
  const Bytes payload = encode_payload(message);
  CHECK_THAT(payload.size() <= kMostPiece, "a message fits into a frame");
  std::array<std::uint8_t, kFrameHeaderSize> header{};
  const auto put = [&](std::size_t at, std::uint64_t value, std::size_t size) {
    for (std::size_t n = 0; n < size; ++n)
      header[at + n] = static_cast<std::uint8_t>(value >> 8 * n);
  };
  std::ranges::copy(kFrameMagic, header.begin());
  put(4, message_type(message), 2);
  put(8, payload.size(), 4);
  put(16, next_++, 8);
  put(24, std::holds_alternative<Hello>(message) ? 0 : tag_, 8);
  put(32, hash64(payload), 8);
  put(40, hash64(ByteView(header).first(kCheckedHeader)), 8);
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), payload.begin(), payload.end());
}

std::optional<Message> FrameReader::next() {
  bool again = true;
  std::optional<Message> message;
  while (again) message = take_frame(again);
  if (from_ == incoming_.size() || from_ > kMostRead) {
    incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(from_));
    from_ = 0;
  }
  return message;
}

std::optional<Message> FrameReader::take_frame(bool& again) {
  again = false;
  const ByteView bytes = ByteView(incoming_).subspan(from_);
  if (bytes.size() < kFrameHeaderSize) return std::nullopt;
  // A short name, since there is one for each frame.
  ByteReader in(bytes.first(kFrameHeaderSize), "replica frame");
  if (!std::ranges::equal(in.bytes(kFrameMagic.size()), kFrameMagic)) in.fail("it is none");
  const auto type = in.integer<std::uint16_t>();
  const auto zero16 = in.integer<std::uint16_t>();
  const auto length = in.integer<std::uint32_t>();
  const auto zero32 = in.integer<std::uint32_t>();
  const auto sequence = in.integer<std::uint64_t>();
  const auto tag = in.integer<std::uint64_t>();
  const auto payload_checksum = in.integer<std::uint64_t>();
  if (in.integer<std::uint64_t>() != hash64(bytes.first(kCheckedHeader))) {
    in.fail("its header is damaged");
  }
  if (zero16 != 0 || zero32 != 0) in.fail("its header has bits that mean nothing");
  if (length > kMostPiece) in.fail("it is too long");
  if (bytes.size() - kFrameHeaderSize < length) return std::nullopt;
  const ByteView payload = bytes.subspan(kFrameHeaderSize, length);
  if (hash64(payload) != payload_checksum) in.fail("its payload is damaged");
  const bool is_hello = type == message_type(Hello{});
  if (tag != (is_hello ? 0 : tag_)) in.fail("it is of another session");
  if (sequence > next_) in.fail("frames before " + std::to_string(sequence) + " are missing");
  Message message = decode_message(type, payload);
  from_ += kFrameHeaderSize + length;
  if (sequence < next_) {
    again = true;
    return std::nullopt;
  }
  ++next_;
  return message;
}

}  // namespace chronovisor::replica
