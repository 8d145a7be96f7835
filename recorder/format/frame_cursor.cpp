#include "recorder/format/frame_cursor.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

/// Nothing: the chunk is damaged.
std::optional<FrameChunk> readable(const RecordingReader& reader, std::size_t number) {
  try {
    return reader.read_frames(number);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return std::nullopt;
  }
}

/// The first from `number` on, which becomes its number, that is not damaged.
std::optional<FrameChunk> next_readable(const RecordingReader& reader, std::size_t& number) {
  for (; number < reader.frame_chunks(); ++number) {
    if (auto chunk = readable(reader, number)) return chunk;
  }
  return std::nullopt;
}

}  // namespace

FrameCursor::FrameCursor(const RecordingReader& reader, Position from)
    : reader_(&reader), next_chunk_(reader.frame_chunks()) {
  from = std::max(from, reader.start());
  // The first chunk that reaches as far.
  std::size_t low = 0;
  std::size_t high = reader.frame_chunks();
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    std::size_t number = middle;
    const auto chunk = next_readable(reader, number);
    if (chunk && chunk->complete_to < from) {
      low = number + 1;
    } else {
      high = middle;
    }
  }
  auto chunk = next_readable(reader, low);
  if (chunk && chunk->from <= from) {
    chunk_ = std::move(*chunk);
    next_chunk_ = low + 1;
  } else {
    chunk_.complete_to = from;  // nothing is known of what was sent from there on
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
    auto chunk = readable(*reader_, next_chunk_);
    if (!chunk || !follows(*chunk)) {  // some are lost
      next_chunk_ = reader_->frame_chunks();
      return nullptr;
    }
    chunk_ = std::move(*chunk);
    ++next_chunk_;
    next_ = 0;
  }
  return &chunk_.frames[next_];
}

namespace {

/// The first from `number` on, which becomes its number, that has frames.
std::optional<FrameChunk> next_with_frames(const RecordingReader& reader, std::size_t& number) {
  auto chunk = next_readable(reader, number);
  while (chunk && chunk->frames.empty()) chunk = next_readable(reader, ++number);
  return chunk;
}

bool any_came_at(const RecordingReader& reader, Position position) {
  InputCursor inputs(reader, position);
  for (const InputEvent* input = inputs.peek(); input != nullptr && input->position == position;
       input = inputs.peek()) {
    if (input->kind == InputKind::network_frame) return true;
    inputs.pop();
  }
  return false;
}

/// Where a walk over packets can begin but at the start: at a frame that was sent where none
/// came, since it says how many came before it. The last chunk is looked at of whose first
/// frame `is_before(frame, frames sent before it)` holds, as it does of all before.
template <class Predicate>
std::optional<Position> frame_before(const RecordingReader& reader, const Predicate& is_before) {
  std::optional<FrameChunk> last;
  std::size_t low = 0;
  std::size_t high = reader.frame_chunks();
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    std::size_t number = middle;
    auto chunk = next_with_frames(reader, number);
    if (chunk && is_before(chunk->frames.front(), chunk->sent)) {
      low = number + 1;
      last = std::move(chunk);
    } else {
      high = middle;
    }
  }
  if (!last) return std::nullopt;
  std::uint64_t sent = last->sent;
  for (const SentFrame& frame : last->frames) {
    if (!is_before(frame, sent++)) break;
    if (!any_came_at(reader, frame.position)) return frame.position;
  }
  return std::nullopt;
}

}  // namespace

PacketCursor::PacketCursor(const RecordingReader& reader) : inputs_(reader), frames_(reader) {}

PacketCursor::PacketCursor(const RecordingReader& reader, std::optional<Position> frame)
    : inputs_(reader, frame.value_or(Position{})), frames_(reader, frame.value_or(Position{})) {
  const SentFrame* const first = frame ? frames_.peek() : nullptr;
  if (first != nullptr) seen_ = {first->received, frames_.sent_before()};
}

PacketCursor::PacketCursor(const RecordingReader& reader, Position from)
    : PacketCursor(reader, frame_before(reader, [&](const SentFrame& frame, std::uint64_t) {
                     return frame.position < from;
                   })) {}

PacketCursor PacketCursor::near(const RecordingReader& reader, std::uint64_t number) {
  return {reader, frame_before(reader, [&](const SentFrame& frame, std::uint64_t sent) {
            return sent + frame.received < number;
          })};
}

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
  PacketCursor packets = PacketCursor::near(reader, number);
  while (const auto packet = packets.next()) {
    if (packet->place.number > number) break;
    if (packet->place.number == number) return packet->place;
  }
  return std::nullopt;
}

}  // namespace chronovisor
