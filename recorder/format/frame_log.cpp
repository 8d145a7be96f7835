#include "recorder/format/frame_log.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "base/hash.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kIdleGrows = 1;
constexpr std::uint8_t kHasCard = 2;
constexpr std::uint8_t kReceived = 4;
/// Tag, steps, length and digest.
constexpr std::size_t kLeastRecordBytes = 11;

std::uint64_t grown(ByteReader& in, std::uint64_t base, const char* what) {
  const std::uint64_t growth = in.varint();
  if (growth > ~base) in.fail(std::string(what) + " overflows");
  return base + growth;
}

}  // namespace

std::uint64_t frame_digest(ByteView frame) { return hash64(frame); }

void FrameLogEncoder::add(const SentFrame& frame) {
  CHECK_THAT(frame.position >= last_.position && frame.idle_ns >= last_.idle_ns &&
                 frame.received >= last_.received,
             "sent frames never go back");
  CHECK_THAT(count_ < kMostFramesPerChunk, "a chunk of frames above the limit");
  if (count_ == 0) base_ = last_;
  std::uint8_t tag = 0;
  if (frame.idle_ns != last_.idle_ns) tag |= kIdleGrows;
  if (frame.card != 0) tag |= kHasCard;
  if (frame.received != last_.received) tag |= kReceived;
  frames_.integer(tag);
  frames_.varint(frame.position.steps - last_.position.steps);
  if ((tag & kIdleGrows) != 0) frames_.varint(frame.idle_ns - last_.idle_ns);
  if ((tag & kHasCard) != 0) frames_.varint(frame.card);
  if ((tag & kReceived) != 0) frames_.varint(frame.received - last_.received);
  frames_.varint(frame.length_bytes);
  frames_.integer(frame.digest);
  last_ = frame;
  ++count_;
}

Bytes FrameLogEncoder::take(Position complete_to) {
  CHECK_THAT(complete_to >= last_.position, "a chunk is complete at least to its last frame");
  if (count_ == 0) base_ = last_;
  ByteWriter out;
  out.varint(from_.steps);
  out.varint(complete_to.steps - from_.steps);
  out.varint(base_.idle_ns);
  out.varint(sent_);
  out.varint(base_.received);
  out.varint(count_);
  out.bytes(frames_.data());
  frames_ = ByteWriter{};
  sent_ += std::exchange(count_, 0);
  from_ = last_.position = complete_to;
  return out.take();
}

FrameChunk decode_frame_chunk(ByteView payload, std::string_view what) {
  ByteReader in(payload, what);
  FrameChunk chunk;
  chunk.from.steps = in.varint();
  chunk.complete_to.steps = grown(in, chunk.from.steps, "the position");
  SentFrame frame;
  frame.position = chunk.from;
  frame.idle_ns = in.varint();
  chunk.sent = in.varint();
  frame.received = in.varint();
  const std::uint64_t count = in.varint();
  if (count > kMostFramesPerChunk || count > in.remaining() / kLeastRecordBytes) {
    in.fail("a count of " + std::to_string(count) + " sent frames is too large");
  }
  chunk.frames.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t n = 0; n < count; ++n) {
    const auto tag = in.integer<std::uint8_t>();
    if ((tag & ~(kIdleGrows | kHasCard | kReceived)) != 0) in.fail("a tag with unknown bits");
    frame.position.steps = grown(in, frame.position.steps, "the position");
    if (frame.position > chunk.complete_to) in.fail("a frame past the end of its chunk");
    if ((tag & kIdleGrows) != 0) frame.idle_ns = grown(in, frame.idle_ns, "idle time");
    const std::uint64_t card = (tag & kHasCard) != 0 ? in.varint() : 0;
    if (card > 0xffff) in.fail("a card's number out of range");
    frame.card = static_cast<std::uint16_t>(card);
    if ((tag & kReceived) != 0) {
      frame.received = grown(in, frame.received, "the count of received frames");
    }
    const std::uint64_t length = in.varint();
    if (length > 0xffff) in.fail("a frame's length out of range");
    frame.length_bytes = static_cast<std::uint32_t>(length);
    frame.digest = in.integer<std::uint64_t>();
    chunk.frames.push_back(frame);
  }
  if (!in.at_end()) in.fail("bytes are left over after the last frame");
  return chunk;
}

}  // namespace chronovisor
