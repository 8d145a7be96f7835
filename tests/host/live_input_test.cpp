// What comes to a live guest from several sources at once.
#include "host/live_input.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <string_view>
#include <thread>

namespace chronovisor {
namespace {

/// Devices of which serial ports may be full.
class Room final : public InputRoom {
 public:
  explicit Room(bool serial) : serial_(serial) {}
  [[nodiscard]] bool has_room(InputKind kind, std::uint16_t /*device*/) const override {
    return kind != InputKind::serial_byte || serial_;
  }

 private:
  bool serial_;
};
const Room kRoom{true};
const Room kFull{false};

/// A serial line with a writing end.
class Pipe {
 public:
  Pipe() { REQUIRE(pipe2(ends_, O_CLOEXEC) == 0); }
  ~Pipe() {
    hang_up();
    close(ends_[0]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  [[nodiscard]] int reading_end() const { return ends_[0]; }
  void type(std::string_view text) const {
    REQUIRE(write(ends_[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void hang_up() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  int ends_[2] = {-1, -1};
};

/// Everything that can be taken from `position` on.
std::string taken(LiveInput& live, std::uint64_t position, const InputRoom& room = kRoom) {
  std::string out;
  for (int n = 0; n < 1000; ++n) {
    const auto input = live.take({{position}, 0}, room);
    if (!input) {
      const Position next = live.next_look({position});
      if (next.steps > position + 10'000'000) return out;
      position = next.steps;
      continue;
    }
    if (input->kind == InputKind::serial_closed) return out + "|";
    if (input->kind == InputKind::network_frame) out += "<" + std::to_string(input->device) + ">";
    for (const std::uint8_t byte : input->payload) out += static_cast<char>(byte);
  }
  return out;
}

}  // namespace

TEST_CASE("bytes of a line come one after the other at its speed, then that it is closed") {
  Pipe pipe;
  std::atomic<bool> stop{false};
  LiveInput live(pipe.reading_end(), false, IdlePolicy::warp, stop);
  pipe.type("abc");
  pipe.hang_up();
  CHECK(live.take({{100}, 0}, kRoom)->payload == Bytes{'a'});
  CHECK_FALSE(live.take({{101}, 0}, kRoom));
  CHECK(live.next_look({101}).steps == 100 + 86'806);
  CHECK_FALSE(live.take({{100 + 86'806}, 0}, kFull));
  CHECK(taken(live, 400'000) == "bc|");
  CHECK(live.next_look({3'000'000}).steps == kNever);
}

TEST_CASE("keys that come at once are not pressed at once, whether the guest runs or waits") {
  std::atomic<bool> stop{false};
  LiveInput live(-1, false, IdlePolicy::warp, stop);
  Inbox::Source keyboard(live.inbox(), InputKind::key, 0);
  for (const std::uint8_t key : {'a', 'b', 'c'}) keyboard.push({key});
  CHECK(live.take({{100}, 0}, kRoom)->payload == Bytes{'a'});
  CHECK_FALSE(live.take({{900'000}, 0}, kRoom));
  CHECK(live.next_look({900'000}).steps <= 1'000'100);
  CHECK(live.take({{1'000'100}, 0}, kRoom)->payload == Bytes{'b'});
  const IdleOutcome waited = live.idle({{1'000'200}, 0}, 50'000'000);
  CHECK(waited.kind == IdleOutcome::Kind::early);
  CHECK(waited.idle_ns == 1'000'000);
  CHECK(live.take({{1'000'200}, waited.idle_ns}, kRoom)->payload == Bytes{'c'});
}

TEST_CASE("another source is not held up by a line without room, nor by a closed one") {
  Pipe pipe;
  std::atomic<bool> stop{false};
  LiveInput live(pipe.reading_end(), false, IdlePolicy::warp, stop);
  Inbox::Source card(live.inbox(), InputKind::network_frame, 1);
  pipe.type("x");
  card.push({'f'});
  const auto first = live.take({{100}, 0}, kFull);
  REQUIRE(first);
  CHECK(first->kind == InputKind::network_frame);
  CHECK(first->device == 1);
  pipe.hang_up();
  CHECK(taken(live, 2'000'000) == "x|");
  card.push({'g'});
  CHECK(taken(live, 4'000'000) == "<1>g");
  card.close();
  CHECK(live.next_look({9'000'000}).steps == kNever);
}

TEST_CASE("a source wakes an idle guest whose standard input is closed") {
  for (const IdlePolicy policy : {IdlePolicy::warp, IdlePolicy::wait}) {
    Pipe pipe;
    pipe.hang_up();
    std::atomic<bool> stop{false};
    LiveInput live(pipe.reading_end(), false, policy, stop);
    CHECK(taken(live, 10) == "|");
    Inbox::Source card(live.inbox(), InputKind::network_frame, 0);
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      card.push({'p'});
      card.close();
    });
    const IdleOutcome outcome = live.idle({{2'000'000}, 500}, kNever);
    other.join();
    CHECK(outcome.kind == IdleOutcome::Kind::early);
    CHECK(outcome.idle_ns > 500);
    CHECK(taken(live, 2'000'000) == "<0>p");
    // Now nothing can come any more.
    CHECK(live.idle({{3'000'000}, 500}, kNever).kind == IdleOutcome::Kind::forever);
  }
}

TEST_CASE("a guest with a timer does not wait for sources when idle time warps") {
  std::atomic<bool> stop{false};
  LiveInput live(-1, false, IdlePolicy::warp, stop);
  Inbox::Source card(live.inbox(), InputKind::network_frame, 0);
  const IdleOutcome outcome = live.idle({{10}, 0}, 1'000'000'000'000);
  CHECK(outcome.kind == IdleOutcome::Kind::deadline);
  CHECK(outcome.idle_ns == 1'000'000'000'000);
}

TEST_CASE("a waiting guest is stopped, and its recorder called meanwhile") {
  std::atomic<bool> stop{false};
  LiveInput live(-1, false, IdlePolicy::wait, stop);
  Inbox::Source card(live.inbox(), InputKind::network_frame, 0);
  int calls = 0;
  live.set_on_wait([&] {
    if (++calls == 2) stop = true;
  });
  CHECK(live.idle({{10}, 0}, kNever).kind == IdleOutcome::Kind::stop);
  CHECK(calls == 2);
}

TEST_CASE("everything that many threads push arrives, in the order of each") {
  std::atomic<bool> stop{false};
  LiveInput live(-1, false, IdlePolicy::warp, stop);
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  std::vector<std::unique_ptr<Inbox::Source>> cards;
  for (int n = 0; n < kThreads; ++n) {
    cards.push_back(std::make_unique<Inbox::Source>(live.inbox(), InputKind::network_frame,
                                                    static_cast<std::uint16_t>(n)));
  }
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n) {
    threads.emplace_back([&card = *cards[static_cast<std::size_t>(n)]] {
      for (int k = 0; k < kEach; ++k) {
        card.push({static_cast<std::uint8_t>(k), static_cast<std::uint8_t>(k >> 8)});
      }
      card.close();
    });
  }
  std::array<int, kThreads> next{};
  int all = 0;
  std::uint64_t position = 0;
  while (live.idle({{position}, 0}, kNever).kind == IdleOutcome::Kind::early) {
    while (const auto input = live.take({{position}, 0}, kRoom)) {
      const int number = input->payload[0] | input->payload[1] << 8;
      CHECK(number == next[input->device]++);
      ++all;
    }
    position += 2'000'000;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(all == kThreads * kEach);
}

TEST_CASE("Ctrl-A is an escape on a terminal, and a byte elsewhere") {
  for (const bool terminal : {true, false}) {
    Pipe pipe;
    std::atomic<bool> stop{false};
    LiveInput live(pipe.reading_end(), terminal, IdlePolicy::warp, stop);
    pipe.type(
        "a\x01\x01"
        "b\x01x");
    CHECK(taken(live, 0) == (terminal ? "a\x01"
                                        "b"
                                      : "a\x01\x01"
                                        "b\x01x"));
    CHECK(stop == terminal);
  }
}

}  // namespace chronovisor
