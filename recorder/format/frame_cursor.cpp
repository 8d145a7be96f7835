#include "recorder/format/frame_cursor.h"

#include <utility>

namespace chronovisor {

FrameCursor::FrameCursor(const RecordingReader& reader, Position from) : reader_(&reader) {
  // The first chunk that reaches as far.
  std::size_t low = 0;
  std::size_t high = reader.frame_chunks();
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (reader.read_frames(middle).complete_to < from) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low < reader.frame_chunks()) {
    chunk_ = reader.read_frames(low);
    next_chunk_ = low + 1;
  } else {
    next_chunk_ = low;
    chunk_.complete_to = from;
  }
  while (const SentFrame* frame = peek()) {
    if (frame->position >= from) break;
    pop();
  }
}

bool FrameCursor::follows(const FrameChunk& chunk) const {
  if (chunk.from < chunk_.complete_to || chunk.sent != chunk_.sent + chunk_.frames.size()) {
    return false;
  }
  if (chunk.frames.empty() || chunk_.frames.empty()) return true;
  const SentFrame& before = chunk_.frames.back();
  const SentFrame& after = chunk.frames.front();
  return before.idle_ns <= after.idle_ns && before.received <= after.received;
}

const SentFrame* FrameCursor::peek() {
  while (next_ >= chunk_.frames.size()) {
    if (next_chunk_ >= reader_->frame_chunks()) return nullptr;
    FrameChunk chunk = reader_->read_frames(next_chunk_);
    if (!follows(chunk)) return nullptr;  // some are lost
    chunk_ = std::move(chunk);
    ++next_chunk_;
    next_ = 0;
  }
  return &chunk_.frames[next_];
}

PacketCursor::PacketCursor(const RecordingReader& reader) : inputs_(reader), frames_(reader) {}

std::optional<PacketCursor::Packet> PacketCursor::next() {
  if (std::exchange(pop_input_, false)) inputs_.pop();
  if (std::exchange(pop_frame_, false)) frames_.pop();
  const SentFrame* const sent = frames_.peek();
  const InputEvent* input = inputs_.peek();
  while (input != nullptr && input->kind != InputKind::network_frame) {
    inputs_.pop();
    input = inputs_.peek();
  }
  Packet packet;
  packet.place.number = seen_.received + seen_.sent + 1;
  if (sent != nullptr && (sent->received <= seen_.received || input == nullptr)) {
    packet.place.direction = PacketPlace::Direction::sent;
    packet.place.card = sent->card;
    packet.place.position = sent->position;
    packet.place.idle_ns = sent->idle_ns;
    packet.place.length_bytes = sent->length_bytes;
    packet.sent = sent;
    pop_frame_ = true;
    ++seen_.sent;
    return packet;
  }
  if (input == nullptr) return std::nullopt;
  packet.place.card = input->device;
  packet.place.position = input->position;
  packet.place.idle_ns = input->idle_ns;
  packet.place.length_bytes = static_cast<std::uint32_t>(input->payload.size());
  packet.received = input->payload;
  pop_input_ = true;
  ++seen_.received;
  return packet;
}

std::optional<PacketPlace> find_packet(const RecordingReader& reader, std::uint64_t number) {
  PacketCursor packets(reader);
  while (const auto packet = packets.next()) {
    if (packet->place.number == number) return packet->place;
  }
  return std::nullopt;
}

}  // namespace chronovisor
