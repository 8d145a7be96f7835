#include "api/lanes.h"

#include <algorithm>
#include <map>
#include <utility>

#include "api/console_name.h"
#include "base/error.h"
#include "recorder/format/chunk.h"
#include "recorder/format/frame_cursor.h"
#include "recorder/format/input_log.h"

namespace chronovisor::api {
namespace {

/// Beyond this a lane tells fewer positions apart: 64 MiB.
constexpr std::size_t kMostPlaces = 1U << 22;

/// The lanes by their order, made when something happens in them.
class Gatherer {
 public:
  Lane& lane(std::uint64_t order, const std::string& name, const char* kind, const char* unit) {
    return lanes_.try_emplace(order, name, kind, unit).first->second;
  }
  [[nodiscard]] std::vector<Lane> take() {
    std::vector<Lane> all;
    for (auto& [order, lane] : lanes_) all.push_back(std::move(lane));
    return all;
  }

 private:
  std::map<std::uint64_t, Lane> lanes_;
};

// The order: a kind's first number, and the number of the device behind it.
enum Order : std::uint64_t {
  kConsole = 0x10000,
  kKeyboard = 0x20000,
  kPointer = 0x30000,
  kSerialInput = 0x40000,
  kButtons = 0x50000,
  kMedia = 0x60000,
  kReceived = 0x70000,
  kSent = 0x80000,
  kDisk = 0x90000,
  kIdle = 0xa0000,
  kCheckpoint = 0xb0000,
};

Lane& lane_of(Gatherer& lanes, const InputEvent& event) {
  const std::uint64_t device = event.device;
  const std::string number = std::to_string(device);
  switch (event.kind) {
    case InputKind::serial_byte:
    case InputKind::serial_closed:
      return lanes.lane(kSerialInput + device, "to serial" + number, "input", "inputs");
    case InputKind::key:
      return lanes.lane(kKeyboard, "keyboard", "input", "inputs");
    case InputKind::mouse:
    case InputKind::pointer:
      return lanes.lane(kPointer, "pointer", "input", "inputs");
    case InputKind::network_frame:
      return lanes.lane(kReceived + device, "net" + number + " received", "network", "packets");
    case InputKind::cd_change:
      return lanes.lane(kMedia, "media changed", "input", "inputs");
    case InputKind::power_button:
    case InputKind::reset_button:
      return lanes.lane(kButtons, "buttons", "input", "inputs");
    case InputKind::wakeup:
    case InputKind::clock:
      break;
  }
  return lanes.lane(kIdle, "idle waits", "idle", "waits");
}

void check(CancelToken cancel) {
  if (cancel.requested()) throw Error(ErrorCode::host, "interrupted");
}

void gather_log(const RecordingReader& reader, Gatherer& lanes, CancelToken cancel) {
  reader.for_each_console([&](const ConsoleView& view) {
    lanes
        .lane(kConsole + static_cast<std::uint64_t>(view.channel), console_name(view.channel),
              "console", "bytes")
        .add(view.position, view.bytes.size());
  });
  check(cancel);
  try {
    std::uint64_t number = 0;
    for (InputCursor inputs(reader); const InputEvent* event = inputs.peek(); inputs.pop()) {
      lane_of(lanes, *event).add(event->position, 1);
      if (++number % 65'536 == 0) check(cancel);
    }
    for (FrameCursor frames(reader); const SentFrame* frame = frames.peek(); frames.pop()) {
      lanes
          .lane(kSent + frame->card, "net" + std::to_string(frame->card) + " sent", "network",
                "packets")
          .add(frame->position, 1);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;  // damage is said elsewhere
  }
}

/// Data that the guest read for the first time lies in the file between the logs of before
/// and after it was read.
void gather_disk(const RecordingReader& reader, Gatherer& lanes) {
  const RecordingIndex& index = reader.index();
  for (std::size_t n = 0; n < index.chunks.size(); ++n) {
    const ChunkEntry& chunk = index.chunks[n];
    if (!chunk.usable || chunk.type != static_cast<std::uint32_t>(ChunkType::block_data)) continue;
    lanes.lane(kDisk, "disks", "disk", "bytes").add(index.complete_before(n), chunk.raw_length);
  }
}

}  // namespace

std::uint64_t Bins::first_of(std::uint64_t bin) const {
  const std::uint64_t width = to.steps - from.steps;
  return from.steps + width / count * bin + width % count * bin / count;
}

void Lane::add(Position position, std::uint64_t amount) {
  const std::uint64_t sum = total() + amount;
  const bool same =
      !places_.empty() && places_.back().position >> grain_bits_ >= position.steps >> grain_bits_;
  if (same) {
    places_.back().sum = sum;
    return;
  }
  if (places_.size() >= kMostPlaces) coarsen();
  places_.push_back({position.steps, sum});
}

/// Half as many places or fewer.
void Lane::coarsen() {
  while (places_.size() > kMostPlaces / 2) {
    ++grain_bits_;
    std::size_t kept = 0;
    for (std::size_t n = 1; n < places_.size(); ++n) {
      if (places_[kept].position >> grain_bits_ == places_[n].position >> grain_bits_) {
        places_[kept].sum = places_[n].sum;
      } else {
        places_[++kept] = places_[n];
      }
    }
    places_.resize(kept + 1);
  }
}

std::uint64_t Lane::sum_before(std::uint64_t position) const {
  const auto after =
      std::lower_bound(places_.begin(), places_.end(), position,
                       [](const Place& place, std::uint64_t at) { return place.position < at; });
  return after == places_.begin() ? 0 : (after - 1)->sum;
}

std::vector<std::uint64_t> Lane::counts(const Bins& bins) const {
  std::vector<std::uint64_t> counts;
  std::uint64_t before = sum_before(bins.from.steps);
  for (std::uint64_t bin = 0; bin < bins.count; ++bin) {
    const bool last = bin + 1 == bins.count;
    const std::uint64_t behind =
        last ? sum_before(bins.to.steps + 1) : sum_before(bins.first_of(bin + 1));
    counts.push_back(behind - before);
    before = behind;
  }
  return counts;
}

std::vector<Lane> lanes_of(const RecordingReader& reader, CancelToken cancel) {
  Gatherer lanes;
  gather_log(reader, lanes, cancel);
  gather_disk(reader, lanes);
  Lane& checkpoints = lanes.lane(kCheckpoint, "checkpoints", "checkpoint", "checkpoints");
  for (const CheckpointInfo& info : reader.checkpoints()) checkpoints.add(info.position, 1);
  return lanes.take();
}

}  // namespace chronovisor::api
