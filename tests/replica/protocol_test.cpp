#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "replica/protocol/backup.h"
#include "replica/protocol/frame.h"
#include "replica/protocol/primary.h"
#include "tests/replica/arbiter_model.h"

namespace chronovisor::replica {
namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr NodeId kPrimary{1, 2};
constexpr NodeId kBackup{3, 4};

Bytes bytes_of(FrameWriter& writer, const Message& message) {
  Bytes out;
  writer.write(message, out);
  return out;
}

std::vector<Message> one_of_each() {
  const Mark mark{7, {1000}, 50, 3, 4096};
  return {Hello{kProtocolVersion, Role::backup, {{1, 2}, {3, 4}}, 9},
          Past{{1, 2, 3}},
          PastEnd{mark},
          Log{{9, 8}},
          Marked{mark, 2},
          Protect{true, 5},
          Acknowledge{4, 3, {900}, {800}},
          Alive{6},
          Diverged{{5}, {1, 2}, {3, 4}},
          Yield{},
          Over{true},
          Live{},
          Claim{{1, 2}, {3, 4}},
          Verdict{{1, 2}, {3, 4}}};
}

/// A pair that has come to protect each other, driven by hand.
struct Pair {
  PrimaryProtocol primary{kPrimary, true, 1, {}};
  BackupProtocol backup;
  std::uint64_t now_ns = 0;
  std::vector<std::string> primary_did;
  std::vector<std::string> backup_did;

  explicit Pair(bool backup_has_arbiter = true) : backup(kBackup, backup_has_arbiter, 1, {}) {}

  void talk() {
    for (bool moved = true; moved;) {
      moved = false;
      for (const PrimaryAction& action : primary.take_actions()) {
        moved = true;
        if (const auto* message = std::get_if<to_do::Send>(&action)) {
          backup.receive(message->message, now_ns);
        } else if (const auto* mark = std::get_if<to_do::SendMark>(&action)) {
          backup.receive(Marked{mark->mark, 0}, now_ns);
        } else if (std::holds_alternative<to_do::SendPast>(action)) {
          primary.past_sent(primary.last_mark());
        } else if (std::holds_alternative<to_do::AskArbiter>(action)) {
          primary_did.emplace_back("asked");
        } else {
          primary_did.emplace_back("dropped");
        }
      }
      for (const BackupAction& action : backup.take_actions()) {
        moved = true;
        if (const auto* message = std::get_if<to_do::Send>(&action)) {
          primary.receive(message->message, now_ns);
        } else if (std::holds_alternative<to_do::AskArbiter>(action)) {
          backup_did.emplace_back("asked");
        } else if (std::holds_alternative<to_do::GoLive>(action)) {
          backup_did.emplace_back("live");
        }
      }
    }
  }
  void protect() {
    primary.marked({0, {100}, 0, 1, 0});
    backup.link_up({5, 6}, now_ns);
    primary.link_up({7, 8}, now_ns);
    talk();
    backup.executed(1, {100}, {});
    now_ns += 150 * kMs;
    backup.tick(now_ns);
    talk();
    primary.marked({0, {200}, 0, 2, 0});
    talk();
  }
};

}  // namespace

TEST_CASE("every message comes back from its bytes") {
  FrameWriter writer;
  FrameReader reader;
  for (const Message& message : one_of_each()) {
    const Bytes frame = bytes_of(writer, message);
    // Byte by byte, as a stream may bring it.
    for (const std::uint8_t& byte : frame) {
      reader.add(ByteView(&byte, 1));
      if (&byte != &frame.back()) CHECK_FALSE(reader.next());
    }
    const auto back = reader.next();
    REQUIRE(back);
    CHECK(back->index() == message.index());
    CHECK(encode_payload(*back) == encode_payload(message));
  }
}

TEST_CASE("a payload that is a byte shorter or longer is refused") {
  for (const Message& message : one_of_each()) {
    if (std::holds_alternative<Past>(message) || std::holds_alternative<Log>(message)) continue;
    Bytes payload = encode_payload(message);
    payload.push_back(0);
    CHECK_THROWS_AS((void)decode_message(message_type(message), payload), Error);
    if (payload.size() == 1) continue;
    payload.resize(payload.size() - 2);
    CHECK_THROWS_AS((void)decode_message(message_type(message), payload), Error);
  }
  CHECK_THROWS_AS((void)decode_message(0, {}), Error);
  CHECK_THROWS_AS((void)decode_message(99, {}), Error);
}

TEST_CASE("any single flipped bit of a frame is found") {
  FrameWriter writer;
  writer.set_session({1, 2});
  const Bytes frame = bytes_of(writer, Marked{{1, {2}, 3, 4, 5}, 6});
  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    Bytes bent = frame;
    bent[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    FrameReader reader;
    reader.set_session({1, 2});
    reader.add(bent);
    CHECK_THROWS_AS((void)reader.next(), Error);
  }
}

TEST_CASE("a repeated frame is passed over, and a missing or foreign one refused") {
  FrameWriter writer;
  writer.set_session({1, 2});
  const Bytes first = bytes_of(writer, Alive{1});
  const Bytes second = bytes_of(writer, Alive{2});
  const Bytes third = bytes_of(writer, Alive{3});
  FrameReader reader;
  reader.set_session({1, 2});
  for (const Bytes* frame : {&first, &first, &second, &first}) reader.add(*frame);
  CHECK(std::get<Alive>(reader.next().value()).released == 1);
  CHECK(std::get<Alive>(reader.next().value()).released == 2);
  CHECK_FALSE(reader.next());

  FrameReader with_gap;
  with_gap.set_session({1, 2});
  with_gap.add(first);
  with_gap.add(third);
  CHECK(with_gap.next());
  CHECK_THROWS_AS((void)with_gap.next(), Error);

  FrameReader elsewhere;
  elsewhere.set_session({1, 3});
  elsewhere.add(first);
  CHECK_THROWS_AS((void)elsewhere.next(), Error);
}

TEST_CASE("what a backup said in an earlier session is refused in the next") {
  // Everything that a backup says in one session, as bytes.
  const auto said_in = [](const Nonce& of_primary) {
    PrimaryProtocol primary(kPrimary, true, 1, {});
    BackupProtocol backup(kBackup, true, 1, {});
    primary.marked({0, {100}, 0, 1, 0});
    backup.link_up({5, 6}, 0);
    primary.link_up(of_primary, 0);
    FrameWriter writer;
    std::vector<Bytes> frames;
    const auto say = [&] {
      for (const BackupAction& action : backup.take_actions()) {
        if (const auto* send = std::get_if<to_do::Send>(&action)) {
          frames.push_back(bytes_of(writer, send->message));
        }
      }
    };
    backup.receive(Hello{kProtocolVersion, Role::primary, {kPrimary, of_primary}, 1}, 0);
    say();
    writer.set_session(backup.session());
    backup.receive(PastEnd{{1, {100}, 0, 1, 0}}, 0);
    backup.receive(Marked{{2, {200}, 0, 9, 0}, 0}, 0);
    say();
    return frames;
  };
  const std::vector<Bytes> earlier = said_in({7, 8});
  REQUIRE(earlier.size() == 2);
  CHECK(said_in({7, 8}) == earlier);

  PrimaryProtocol primary(kPrimary, true, 1, {});
  primary.marked({0, {100}, 0, 1, 0});
  primary.link_up({7, 9}, 0);
  FrameReader reader;
  reader.add(earlier[0]);
  primary.receive(reader.next().value(), 0);
  reader.set_session(primary.session());
  primary.past_sent(primary.last_mark());
  primary.marked({0, {200}, 0, 9, 0});
  reader.add(earlier[1]);
  CHECK_THROWS_AS((void)reader.next(), Error);
}

TEST_CASE("outputs leave at once until a backup protects, then with its word alone") {
  Pair pair;
  CHECK(pair.primary.releasable() == kNever);
  pair.protect();
  REQUIRE(pair.primary.state() == PrimaryState::guarded);
  REQUIRE(pair.backup.state() == BackupState::guarding);
  CHECK(pair.primary.releasable() == 2);
  pair.primary.marked({0, {300}, 0, 9, 0});
  CHECK(pair.primary.releasable() == 2);
  pair.talk();
  CHECK(pair.primary.releasable() == 9);
}

TEST_CASE("what left before the protection is in the log when it begins") {
  Pair pair;
  pair.primary.marked({0, {100}, 0, 1, 0});
  pair.backup.link_up({5, 6}, 0);
  pair.primary.link_up({7, 8}, 0);
  pair.talk();
  pair.backup.executed(1, {100}, {});
  pair.now_ns = 150 * kMs;
  pair.backup.tick(pair.now_ns);
  pair.talk();
  // Outputs may have been made since the last mark.
  CHECK(pair.primary.state() == PrimaryState::arming);
  CHECK(pair.backup.state() == BackupState::following);
  CHECK(pair.primary.releasable() != kNever);
  pair.primary.marked({0, {200}, 0, 8, 0});
  pair.talk();
  CHECK(pair.backup.state() == BackupState::guarding);
  CHECK(pair.backup.last_mark().outputs == 8);
}

TEST_CASE("silence makes both claim, the primary first, and one of them wins") {
  Pair pair;
  pair.protect();
  const std::uint64_t silent = pair.now_ns + Timings{}.silence_ns;
  pair.primary.tick(silent);
  CHECK(pair.primary.state() == PrimaryState::claiming);
  CHECK(pair.primary.releasable() == 2);
  pair.backup.tick(silent);
  CHECK(pair.backup.state() == BackupState::claiming);
  pair.talk();
  CHECK(pair.primary_did == std::vector<std::string>{"dropped", "asked"});
  CHECK(pair.backup_did.empty());
  pair.backup.tick(silent + Timings{}.grace_ns);
  pair.talk();
  CHECK(pair.backup_did == std::vector<std::string>{"asked"});

  ArbiterModel arbiter;
  const SessionId session = pair.primary.session();
  REQUIRE(session == pair.backup.session());
  const Verdict verdict = arbiter.decide({session, kPrimary});
  CHECK(arbiter.decide({session, kBackup}).holder == kPrimary);
  pair.backup.verdict(verdict);
  pair.primary.verdict(verdict);
  CHECK(pair.backup.state() == BackupState::given_up);
  CHECK(pair.primary.state() == PrimaryState::alone);
  CHECK(pair.primary.releasable() == kNever);
}

TEST_CASE("a backup that wins goes live, and the primary stops") {
  Pair pair;
  pair.protect();
  pair.primary.link_down("cut", pair.now_ns);
  pair.backup.link_down("cut", pair.now_ns);
  const Verdict verdict{pair.primary.session(), kBackup};
  pair.backup.verdict(verdict);
  CHECK(pair.backup.state() == BackupState::claiming);
  pair.backup.verdict({succession_of(kPrimary), kBackup});
  pair.primary.verdict(verdict);
  pair.talk();
  CHECK(pair.backup_did.back() == "live");
  CHECK(pair.primary.state() == PrimaryState::stopped);
  CHECK(pair.primary.releasable() == 2);
}

TEST_CASE("a backup whose session is its own gives up when another one follows the primary") {
  Pair pair;
  pair.protect();
  pair.backup.link_down("cut", pair.now_ns);
  // Before it has the session, the succession is none of its business.
  pair.backup.verdict({succession_of(kPrimary), kBackup});
  CHECK(pair.backup.state() == BackupState::claiming);
  pair.backup.verdict({pair.backup.session(), kBackup});
  pair.talk();
  CHECK(pair.backup_did == std::vector<std::string>{"asked"});
  pair.backup.verdict({succession_of(kPrimary), {8, 8}});
  CHECK(pair.backup.state() == BackupState::given_up);
  CHECK(pair.backup.reason().starts_with("another backup goes on"));
}

TEST_CASE("a log that goes on during the recording so far is sent after it") {
  PrimaryProtocol primary(kPrimary, true, 1, {});
  primary.marked({0, {100}, 0, 1, 10});
  primary.link_up({7, 8}, 0);
  primary.receive(Hello{kProtocolVersion, Role::backup, {kBackup, {2, 2}}, 1}, 0);
  const Mark before = primary.last_mark();
  primary.marked({0, {200}, 0, 2, 20});
  (void)primary.take_actions();
  primary.past_sent(before);
  const auto actions = primary.take_actions();
  REQUIRE(actions.size() == 2);
  const auto* send = std::get_if<to_do::Send>(actions.data());
  REQUIRE(send != nullptr);
  CHECK(std::get<PastEnd>(send->message).mark == Mark{1, {100}, 0, 1, 0});
  CHECK(std::get<to_do::SendMark>(actions[1]).mark == Mark{2, {200}, 0, 2, 20});
}

TEST_CASE("a verdict on another session changes nothing") {
  Pair pair;
  pair.protect();
  pair.primary.link_down("cut", pair.now_ns);
  pair.primary.verdict({{1, 1}, kPrimary});
  CHECK(pair.primary.state() == PrimaryState::claiming);
}

TEST_CASE("without an arbiter a backup does not take over and says why") {
  Pair pair(false);
  pair.protect();
  REQUIRE(pair.backup.state() == BackupState::guarding);
  pair.backup.link_down("cut", pair.now_ns);
  CHECK(pair.backup.state() == BackupState::given_up);
  CHECK(pair.backup.reason().find("without an arbiter here") != std::string::npos);
}

TEST_CASE("a backup that does not protect yet claims nothing") {
  Pair pair;
  pair.primary.marked({0, {100}, 0, 1, 0});
  pair.backup.link_up({5, 6}, 0);
  pair.primary.link_up({7, 8}, 0);
  pair.talk();
  pair.backup.link_down("cut", 0);
  pair.primary.link_down("cut", 0);
  CHECK(pair.backup.state() == BackupState::given_up);
  CHECK(pair.primary.state() == PrimaryState::alone);
  pair.talk();
  CHECK(pair.primary_did.empty());
}

TEST_CASE("a hand-over leads to a claim without any loss") {
  Pair pair;
  pair.protect();
  pair.primary.hand_over();
  pair.talk();
  CHECK(pair.backup_did == std::vector<std::string>{"asked"});
  pair.backup.verdict({pair.backup.session(), kBackup});
  pair.backup.verdict({succession_of(kPrimary), kBackup});
  pair.talk();
  CHECK(pair.primary.state() == PrimaryState::stopped);
  CHECK(pair.primary.handed_over());
}

TEST_CASE("a backup that lies is refused") {
  Pair pair;
  pair.protect();
  CHECK_THROWS_AS(pair.primary.receive(Acknowledge{99, 1, {}, {}}, 0), Error);
  CHECK_THROWS_AS(pair.primary.receive(Acknowledge{1, 2, {}, {}}, 0), Error);
  CHECK_THROWS_AS(pair.primary.receive(Live{}, 0), Error);
  CHECK_THROWS_AS(pair.primary.receive(Hello{}, 0), Error);
  CHECK_THROWS_AS(pair.primary.receive(Past{}, 0), Error);
}

TEST_CASE("a primary that contradicts itself is refused") {
  Pair pair;
  pair.protect();
  const Mark last = pair.backup.last_mark();
  Mark skipped = last;
  skipped.number += 2;
  CHECK_THROWS_AS(pair.backup.receive(Marked{skipped, 0}, 0), Error);
  Mark back = last;
  ++back.number;
  back.position.steps -= 1;
  CHECK_THROWS_AS(pair.backup.receive(Marked{back, 0}, 0), Error);
  Mark without_log = last;
  ++without_log.number;
  without_log.log_bytes = 8;
  CHECK_THROWS_AS(pair.backup.receive(Marked{without_log, 0}, 0), Error);
  CHECK_THROWS_AS(pair.backup.receive(Protect{}, 0), Error);
  CHECK_THROWS_AS(pair.backup.receive(Past{}, 0), Error);
}

TEST_CASE("machines of another behaviour are refused") {
  PrimaryProtocol primary(kPrimary, true, 3, {});
  primary.link_up({1, 1}, 0);
  CHECK_THROWS_AS(primary.receive(Hello{kProtocolVersion, Role::backup, {kBackup, {2, 2}}, 4}, 0),
                  Error);
}

}  // namespace chronovisor::replica
