#include "recorder/format/counted_log.h"

#include "base/error.h"
#include "recorder/format/input_log.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kKindMask = 0x1f;
constexpr std::uint8_t kIdleGrows = 0x20;
constexpr std::uint8_t kHasDevice = 0x40;
constexpr std::uint8_t kHasPayload = 0x80;
constexpr std::uint8_t kBranchesExact = 1;
constexpr std::uint8_t kInstructionsExact = 2;
/// Tag, one count, RIP, RCX and the hash.
constexpr std::size_t kLeastEventBytes = 12;

CountedEvent decode_event(ByteReader& in, const CounterTrust& trust, std::uint64_t& idle_ns) {
  CountedEvent event;
  const auto tag = in.integer<std::uint8_t>();
  const std::uint8_t kind = tag & kKindMask;
  event.ends_run = kind == 0;
  if (!event.ends_run) {
    if (!is_input_kind(kind)) in.fail("input kind " + std::to_string(kind) + " is not known");
    event.kind = static_cast<InputKind>(kind);
  }
  if (trust.branches_exact) event.place.branches = in.varint();
  if (trust.instructions_exact) event.place.instructions = in.varint();
  event.place.rip = in.varint();
  event.place.rcx = in.varint();
  event.place.registers = in.integer<std::uint64_t>();
  if ((tag & kIdleGrows) != 0) {
    const std::uint64_t growth = in.varint();
    if (growth > ~idle_ns) in.fail("idle time overflows");
    idle_ns += growth;
  }
  event.idle_ns = idle_ns;
  if ((tag & kHasDevice) != 0) {
    const std::uint64_t device = in.varint();
    if (device == 0 || device > 0xffff) in.fail("a device number out of range");
    event.device = static_cast<std::uint16_t>(device);
  }
  if ((tag & kHasPayload) != 0) {
    const ByteView data = in.sized_bytes(kMaxInputPayload);
    event.payload.assign(data.begin(), data.end());
  }
  return event;
}

}  // namespace

void CountedLogEncoder::add(const CountedEvent& event, const CounterTrust& trust) {
  CHECK_THAT(trust.usable(), "places by counters that are not exact");
  CHECK_THAT(count_ == 0 || trust == trust_, "one trust a chunk");
  CHECK_THAT(event.idle_ns >= idle_ns_, "idle time never goes back");
  CHECK_THAT(event.payload.size() <= kMaxInputPayload, "an input payload above the limit");
  CHECK_THAT(count_ < kMaxInputsPerChunk, "a counted chunk above the limit");
  trust_ = trust;
  std::uint8_t tag = event.ends_run ? 0 : static_cast<std::uint8_t>(event.kind);
  if (event.idle_ns != idle_ns_) tag |= kIdleGrows;
  if (event.device != 0) tag |= kHasDevice;
  if (!event.payload.empty()) tag |= kHasPayload;
  events_.integer(tag);
  if (trust.branches_exact) events_.varint(event.place.branches);
  if (trust.instructions_exact) events_.varint(event.place.instructions);
  events_.varint(event.place.rip);
  events_.varint(event.place.rcx);
  events_.integer(event.place.registers);
  if ((tag & kIdleGrows) != 0) events_.varint(event.idle_ns - idle_ns_);
  if ((tag & kHasDevice) != 0) events_.varint(event.device);
  if ((tag & kHasPayload) != 0) events_.sized_bytes(event.payload);
  idle_ns_ = event.idle_ns;
  ++count_;
}

Bytes CountedLogEncoder::take() {
  ByteWriter out;
  out.varint(first_);
  out.varint(base_idle_ns_);
  out.integer(static_cast<std::uint8_t>((trust_.branches_exact ? kBranchesExact : 0) |
                                        (trust_.instructions_exact ? kInstructionsExact : 0)));
  out.varint(count_);
  out.bytes(events_.data());
  events_ = ByteWriter{};
  first_ += count_;
  count_ = 0;
  base_idle_ns_ = idle_ns_;
  return out.take();
}

CountedChunk decode_counted_chunk(ByteView payload, std::string_view what) {
  ByteReader in(payload, what);
  CountedChunk chunk;
  chunk.first = in.varint();
  std::uint64_t idle_ns = in.varint();
  const auto trust = in.integer<std::uint8_t>();
  if (trust == 0 || trust > (kBranchesExact | kInstructionsExact)) {
    in.fail("which counts are exact is not one of the ways known");
  }
  chunk.trust = {(trust & kBranchesExact) != 0, (trust & kInstructionsExact) != 0};
  const std::uint64_t count = in.varint();
  if (count > kMaxInputsPerChunk || count > in.remaining() / kLeastEventBytes) {
    in.fail("a count of " + std::to_string(count) + " events is too large");
  }
  chunk.events.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!chunk.events.empty() && chunk.events.back().ends_run) in.fail("events after the end");
    chunk.events.push_back(decode_event(in, chunk.trust, idle_ns));
  }
  if (!in.at_end()) in.fail("bytes are left over after the last event");
  return chunk;
}

}  // namespace chronovisor
