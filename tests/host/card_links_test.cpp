// What network cards of a live run are plugged into: how much waits for a guest, and
// captures that are played by their own times.
#include "host/network/card_links.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "host/live_input.h"

namespace chronovisor {
namespace {

class Room final : public InputRoom {
 public:
  [[nodiscard]] bool has_room(InputKind /*kind*/, std::uint16_t /*device*/) const override {
    return there;
  }
  bool there = true;
};

CapturedFrame frame_at(std::uint64_t time_ns, std::uint8_t content) { return {time_ns, {content}}; }

}  // namespace

TEST_CASE("what a source may push is bounded until the guest takes some") {
  std::atomic<bool> stop{false};
  LiveInput live(-1, false, IdlePolicy::warp, stop);
  Inbox::Source card(live.inbox(), InputKind::network_frame, 0);
  Inbox::Source other(live.inbox(), InputKind::network_frame, 1);
  const Bytes frame(1000);
  CHECK(card.offer(Bytes(5000), 3000));  // alone, it may be any size
  CHECK_FALSE(card.offer(frame, 3000));
  CHECK(other.offer(frame, 3000));
  CHECK(live.take({{1}, 0}, Room())->payload.size() == 5000);
  CHECK(card.offer(frame, 3000));
  CHECK(card.offer(frame, 3000));
  CHECK(card.offer(frame, 3000));
  CHECK_FALSE(card.offer(frame, 3000));
}

TEST_CASE("a guest that made room and fell idle is woken for the frame that waits") {
  std::atomic<bool> stop{false};
  LiveInput live(-1, false, IdlePolicy::warp, stop);
  Inbox::Source card(live.inbox(), InputKind::network_frame, 0);
  card.push({7});
  Room room;
  room.there = false;
  CHECK_FALSE(live.take({{1'000'000}, 0}, room));
  // It has gone on a little, and now waits for a timer that is far away.
  const IdleOutcome woken = live.idle({{1'000'100}, 0}, 1'000'000'000);
  CHECK(woken.kind == IdleOutcome::Kind::early);
  CHECK(woken.idle_ns < 100'000);
  CHECK_FALSE(live.take({{1'000'100}, woken.idle_ns}, room));
  // There is no room after all: once is enough.
  CHECK(live.idle({{1'000'100}, woken.idle_ns}, 1'000'000'000).kind == IdleOutcome::Kind::deadline);
}

TEST_CASE("a capture is played by its own times, in virtual time") {
  NoInput none;
  CaptureInput capture({frame_at(0, 1), frame_at(500, 2), frame_at(500, 3)}, 4, 1'000, 1, none);
  const Room room;
  CHECK_FALSE(capture.take({{100}, 0}, room));
  CHECK(capture.next_look({100}) == Position{1'000});
  CHECK(capture.take({{1'000}, 0}, room)->payload == Bytes{1});
  CHECK_FALSE(capture.take({{1'000}, 0}, room));
  // Idle time counts, too, and a timer before is due before.
  CHECK(capture.idle({{1'100}, 0}, 300).kind == IdleOutcome::Kind::deadline);
  const IdleOutcome outcome = capture.idle({{1'100}, 300}, 100'000);
  CHECK(outcome.kind == IdleOutcome::Kind::early);
  CHECK(outcome.idle_ns == 400);
  CHECK(capture.take({{1'100}, 400}, room)->device == 4);
  CHECK(capture.take({{1'100}, 400}, room)->payload == Bytes{3});
  CHECK_FALSE(capture.take({{1'100}, 400}, room));
  CHECK(capture.played() == 3);
  CHECK(capture.idle({{1'200}, 400}, kNever).kind == IdleOutcome::Kind::forever);
}

TEST_CASE("a captured frame waits for room, but not for ever") {
  NoInput none;
  CaptureInput capture({frame_at(0, 1), frame_at(2'000'000'000, 2)}, 0, 0, 1, none);
  Room room;
  room.there = false;
  CHECK_FALSE(capture.take({{10}, 0}, room));
  CHECK(capture.dropped() == 0);
  CHECK(capture.next_look({10}) > Position{10});
  CHECK_FALSE(capture.take({{1'500'000'000}, 0}, room));
  CHECK(capture.dropped() == 1);
  room.there = true;
  CHECK(capture.take({{2'000'000'000}, 0}, room)->payload == Bytes{2});
}

}  // namespace chronovisor
