#include "timetravel/packets.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

#include "base/error.h"
#include "timetravel/replay.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSliceSteps = 50'000'000;

/// Keeps what the guest sends, until it is asked for.
class SentFrames final : public OutputObserver {
 public:
  void output(Position /*position*/, const Output& output) override {
    if (output.kind != OutputKind::frame) return;
    frames_.emplace_back(output.payload.begin(), output.payload.end());
  }
  [[nodiscard]] Bytes take() {
    if (frames_.empty()) return {};
    Bytes frame = std::move(frames_.front());
    frames_.pop_front();
    return frame;
  }

 private:
  std::deque<Bytes> frames_;
};

/// Where a replay that leads to the walk's packets begins, if not at the recording's start.
std::optional<std::size_t> checkpoint_for(const RecordingReader& reader, const PacketWalk& walk) {
  return walk.from > reader.start() ? reader.checkpoint_before(walk.from) : std::nullopt;
}

/// A replay that is always as far as the packet that is looked at.
class Sender {
 public:
  Sender(const RecordingReader& reader, const PacketWalk& walk)
      : reader_(reader),
        walk_(walk),
        from_(checkpoint_for(reader, walk) ? std::optional(walk.from) : std::nullopt),
        run_(reader, from_),
        listening_(run_.machine().outputs(), &sent_) {}

  /// The next frame that was sent, at `position`; empty when it lies where the recording
  /// ends.
  [[nodiscard]] Bytes next(Position position) {
    while (run_.position() <= position && run_.position() < reader_.usable_to()) {
      if (walk_.progress) walk_.progress(run_.position());
      const Position target{
          std::min({reader_.usable_to().steps, run_.position().steps + kSliceSteps,
                    std::max(position.steps + 1, run_.position().steps + 1)})};
      const ReplayRun::Arrival arrival = run_.run_to(target, walk_.cancel);
      if (arrival == ReplayRun::Arrival::interrupted) throw Error(ErrorCode::host, "interrupted");
      if (arrival != ReplayRun::Arrival::arrived) {
        throw DivergenceError(
            reader_.name() + ": the replay differs from the recording: " + run_.trouble(), target,
            from_);
      }
    }
    return sent_.take();
  }

 private:
  const RecordingReader& reader_;
  const PacketWalk& walk_;
  std::optional<Position> from_;
  SentFrames sent_;
  ReplayRun run_;
  Listening listening_;
};

}  // namespace

void for_each_packet(const RecordingReader& reader, const PacketWalk& walk,
                     const std::function<bool(const WholePacket&)>& visit) {
  const auto checkpoint = checkpoint_for(reader, walk);
  const Position begin = checkpoint ? reader.checkpoints()[*checkpoint].position : reader.start();
  std::optional<Sender> sender;
  PacketCursor packets(reader, std::min(walk.from, begin));
  while (const auto packet = packets.next()) {
    if (walk.cancel.requested()) throw Error(ErrorCode::host, "interrupted");
    if (packet->place.position >= walk.to) return;
    WholePacket whole{packet->place, packet->received};
    Bytes sent;
    if (packet->sent != nullptr) {
      if (packet->place.position < begin) continue;
      if (!sender) sender.emplace(reader, walk);
      sent = sender->next(packet->place.position);
      whole.bytes = sent;
    }
    if (packet->place.position < walk.from) continue;
    if (!visit(whole)) return;
  }
}

}  // namespace chronovisor
