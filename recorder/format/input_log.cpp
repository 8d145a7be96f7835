#include "recorder/format/input_log.h"

#include <algorithm>

#include "base/error.h"

namespace chronovisor {

namespace {

constexpr std::uint8_t kKindMask = 0x1f;
constexpr std::uint8_t kIdleGrows = 0x20;
constexpr std::uint8_t kHasDevice = 0x40;
constexpr std::uint8_t kHasLength = 0x80;

/// Whether the payload is a new idle time.
bool moves_time(InputKind kind) { return kind == InputKind::wakeup || kind == InputKind::clock; }

std::uint64_t little_endian(ByteView data) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < data.size(); ++i) value |= std::uint64_t{data[i]} << (8 * i);
  return value;
}

/// Whether the payload has the form that needs no length.
bool is_plain(const InputEvent& event) {
  switch (event.kind) {
    case InputKind::serial_byte:
      return event.payload.size() == 1;
    case InputKind::wakeup:
    case InputKind::clock:
      return event.payload.size() == 8 && little_endian(event.payload) >= event.idle_ns;
    default:
      return event.payload.empty();
  }
}

std::uint64_t grown(ByteReader& in, std::uint64_t base, const char* what) {
  const std::uint64_t growth = in.varint();
  if (growth > ~base) in.fail(std::string(what) + " overflows");
  return base + growth;
}

Bytes decode_payload(ByteReader& in, std::uint8_t tag, const InputEvent& event) {
  if ((tag & kHasLength) != 0) {
    const ByteView data = in.sized_bytes(kMaxInputPayload);
    return {data.begin(), data.end()};
  }
  if (event.kind == InputKind::serial_byte) return {in.bytes(1)[0]};
  if (moves_time(event.kind)) {
    return wakeup_payload(grown(in, event.idle_ns, "idle time"));
  }
  return {};
}

}  // namespace

bool is_input_kind(std::uint8_t kind) { return kind >= 1 && kind <= 11; }

const char* input_kind_name(InputKind kind) {
  switch (kind) {
    case InputKind::serial_byte:
      return "serial byte";
    case InputKind::serial_closed:
      return "serial closed";
    case InputKind::wakeup:
      return "wakeup";
    case InputKind::key:
      return "key";
    case InputKind::mouse:
      return "mouse";
    case InputKind::network_frame:
      return "network frame";
    case InputKind::cd_change:
      return "cd change";
    case InputKind::power_button:
      return "power button";
    case InputKind::reset_button:
      return "reset button";
    case InputKind::clock:
      return "clock";
    case InputKind::pointer:
      return "pointer";
  }
  return "unknown";
}

Bytes wakeup_payload(std::uint64_t idle_ns) {
  ByteWriter out;
  out.integer(idle_ns);
  return out.take();
}

std::uint64_t wakeup_idle_ns(const InputEvent& event) {
  if (!moves_time(event.kind) || event.payload.size() != 8 ||
      little_endian(event.payload) < event.idle_ns) {
    throw Error{ErrorCode::bad_input, "input log: position " +
                                          std::to_string(event.position.steps) +
                                          ": a wakeup or clock that does not move time forward"};
  }
  return little_endian(event.payload);
}

void InputLogEncoder::begin(Position from) {
  events_ = ByteWriter{};
  from_ = from;
  last_ = from;
  base_idle_ns_ = idle_ns_;
  count_ = 0;
}

void InputLogEncoder::add(const InputEvent& event) {
  CHECK_THAT(event.position >= last_ && event.idle_ns >= idle_ns_, "inputs never go back");
  CHECK_THAT(is_input_kind(static_cast<std::uint8_t>(event.kind)), "an input kind without number");
  CHECK_THAT(event.payload.size() <= kMaxInputPayload, "an input payload above the limit");
  CHECK_THAT(count_ < kMaxInputsPerChunk, "an input chunk above the limit");
  auto tag = static_cast<std::uint8_t>(event.kind);
  if (event.idle_ns != idle_ns_) tag |= kIdleGrows;
  if (event.device != 0) tag |= kHasDevice;
  if (!is_plain(event)) tag |= kHasLength;
  events_.integer(tag);
  events_.varint(event.position.steps - last_.steps);
  if ((tag & kIdleGrows) != 0) events_.varint(event.idle_ns - idle_ns_);
  if ((tag & kHasDevice) != 0) events_.varint(event.device);
  if ((tag & kHasLength) != 0) {
    events_.sized_bytes(event.payload);
  } else if (moves_time(event.kind)) {
    events_.varint(little_endian(event.payload) - event.idle_ns);
  } else {
    events_.bytes(event.payload);
  }
  last_ = event.position;
  idle_ns_ = event.idle_ns;
  ++count_;
}

Bytes InputLogEncoder::finish(Position complete_to) {
  CHECK_THAT(complete_to >= last_, "a log chunk is complete at least to its last event");
  ByteWriter out;
  out.varint(from_.steps);
  out.varint(complete_to.steps - from_.steps);
  out.varint(base_idle_ns_);
  out.varint(count_);
  out.bytes(events_.data());
  return out.take();
}

InputChunk decode_input_chunk(ByteView payload, std::string_view what) {
  ByteReader in(payload, what);
  InputChunk chunk;
  chunk.from.steps = in.varint();
  chunk.complete_to.steps = grown(in, chunk.from.steps, "the position");
  std::uint64_t idle_ns = in.varint();
  const std::uint64_t count = in.varint();
  // Every event takes two bytes or more, so the count is known to be honest
  // before anything is reserved for it.
  if (count > kMaxInputsPerChunk || count > in.remaining() / 2) {
    in.fail("a count of " + std::to_string(count) + " inputs is too large");
  }
  chunk.events.reserve(static_cast<std::size_t>(count));
  std::uint64_t steps = chunk.from.steps;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto tag = in.integer<std::uint8_t>();
    const std::uint8_t kind = tag & kKindMask;
    if (!is_input_kind(kind)) in.fail("input kind " + std::to_string(kind) + " is not known");
    InputEvent event;
    event.kind = static_cast<InputKind>(kind);
    steps = grown(in, steps, "the position");
    if (steps > chunk.complete_to.steps) in.fail("an input past the end of its chunk");
    if ((tag & kIdleGrows) != 0) idle_ns = grown(in, idle_ns, "idle time");
    if ((tag & kHasDevice) != 0) {
      const std::uint64_t device = in.varint();
      if (device == 0 || device > 0xffff) in.fail("a device number out of range");
      event.device = static_cast<std::uint16_t>(device);
    }
    event.position.steps = steps;
    event.idle_ns = idle_ns;
    event.payload = decode_payload(in, tag, event);
    chunk.events.push_back(std::move(event));
  }
  if (!in.at_end()) in.fail("bytes are left over after the last input");
  return chunk;
}

}  // namespace chronovisor
