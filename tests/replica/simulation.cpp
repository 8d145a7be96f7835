#include "tests/replica/simulation.h"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/units.h"
#include "replica/protocol/backup.h"
#include "replica/protocol/frame.h"
#include "replica/protocol/primary.h"
#include "tests/replica/arbiter_model.h"

namespace chronovisor::replica::simulation {
namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kStepsAnOutput = 3;
constexpr std::size_t kSlots = 3;
/// At the end nothing disturbs for so long at least, and at most: the first is longer than
/// the longest silence that is waited for, by the slowest clock.
constexpr unsigned kLeastQuietSteps = 100;
constexpr unsigned kMostQuietSteps = 600;
constexpr std::uint64_t kLongestPauseNs = 2'000 * kMs;

/// SplitMix64: small, and the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t limit) { return next() % limit; }
  bool happens(double probability) {
    return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
  }

 private:
  std::uint64_t state_;
};

/// A guest in miniature: what it is follows from its inputs alone, one a position, and it
/// puts something out at every third.
class Guest {
 public:
  void step(std::uint64_t input) {
    inputs_.push_back(input);
    state_ = (state_ ^ input) * 0x2127599bf4325c37 + 1;
    if (inputs_.size() % kStepsAnOutput == 0) outputs_.push_back(state_);
  }
  [[nodiscard]] std::uint64_t position() const { return inputs_.size(); }
  [[nodiscard]] const std::vector<std::uint64_t>& outputs() const { return outputs_; }
  /// The bytes of a part of its log.
  [[nodiscard]] Bytes log(std::uint64_t from, std::uint64_t to) const {
    ByteWriter out;
    for (std::uint64_t at = from; at < to; ++at) out.integer(inputs_[at]);
    return out.take();
  }

 private:
  std::vector<std::uint64_t> inputs_;
  std::vector<std::uint64_t> outputs_;
  std::uint64_t state_ = 1;
};

struct Packet {
  std::uint64_t due_ns = 0;
  Bytes bytes;  ///< none: the connection is closed
};

/// One end of a connection.
struct Port {
  FrameWriter writer;
  FrameReader reader;
  std::deque<Packet> incoming;
  bool open = true;
};

struct Connection {
  std::size_t primary = 0;
  std::size_t backup = 0;
  Port at_primary;
  Port at_backup;
  bool silent = false;  ///< carries nothing more, and nobody is told
};

/// One of the backups of a primary.
struct Peer {
  PrimaryProtocol protocol;
  std::uint64_t sent_to = 0;  ///< position
  std::uint64_t log_bytes = 0;
  bool past_wanted = false;
};

struct Node {
  NodeId id;
  Guest guest;
  bool is_primary = false;
  std::array<std::optional<Peer>, kSlots> peers;  ///< of a primary, by the backup's slot
  std::optional<BackupProtocol> backup;
  std::uint64_t paused_until_ns = 0;
  std::uint64_t clock_offset_ns = 0;
  std::uint64_t clock_percent = 100;  ///< of the others' speed
  // As a primary.
  std::uint64_t released = 0;
  // As a backup.
  Bytes received;
  std::vector<Mark> marks;
  std::uint64_t executed = 0;
  std::uint64_t forgotten = 0;  ///< outputs known to have left
};

class World {
 public:
  World(std::uint64_t seed, const Faults& faults) : random_(seed), faults_(faults) {
    for (std::size_t n = 0; n < kSlots; ++n) replace(n);
    become_primary(*nodes_[0]);
  }

  Outcome run(unsigned steps) {
    for (unsigned n = 0; n < steps && ok(); ++n) step(true);
    // Whatever is open must come to a decision when nothing disturbs it any more.
    for (unsigned n = 0; n < kMostQuietSteps && ok(); ++n) {
      step(false);
      if (n >= kLeastQuietSteps && undecided().empty()) break;
    }
    if (ok() && !undecided().empty()) broken(undecided());
    return std::move(outcome_);
  }

 private:
  [[nodiscard]] bool ok() const { return outcome_.broken.empty(); }
  void broken(const std::string& what) {
    if (ok()) outcome_.broken = what + ", at " + std::to_string(now_ns_ / kMs) + " ms";
  }
  [[nodiscard]] std::uint64_t clock(const Node& node) const {
    return node.clock_offset_ns + now_ns_ / 100 * node.clock_percent;
  }
  [[nodiscard]] bool paused(const Node& node) const { return node.paused_until_ns > now_ns_; }

  /// Who has not come to a decision, or may have to yet; empty: nobody.
  [[nodiscard]] std::string undecided() const {
    for (const auto& node : nodes_) {
      if (node->backup && node->backup->state() == BackupState::claiming) {
        return "a backup never learns whether it has its session";
      }
      if (any_peer(*node, PrimaryState::claiming) || any_peer(*node, PrimaryState::yielding)) {
        return "a primary never learns whether it has its session";
      }
      if (node->paused_until_ns + kLongestPauseNs / 2 > now_ns_) return "a node is away";
    }
    return {};
  }
  [[nodiscard]] static bool any_peer(const Node& node, PrimaryState state) {
    return std::any_of(node.peers.begin(), node.peers.end(),
                       [&](const auto& peer) { return peer && peer->protocol.state() == state; });
  }
  /// What all backups of a primary allow.
  [[nodiscard]] static std::uint64_t releasable(const Node& node) {
    std::uint64_t limit = kNever;
    for (const auto& peer : node.peers) {
      if (peer) limit = std::min(limit, peer->protocol.releasable());
    }
    return limit;
  }
  void become_primary(Node& node) {
    node.backup.reset();
    node.is_primary = true;
    for (std::size_t n = 0; n < kSlots; ++n) {
      if (nodes_[n].get() != &node) node.peers[n].emplace(Peer{{node.id, true, 1, timings_}});
    }
  }

  /// A node that starts again knows nothing and waits for a primary.
  void replace(std::size_t n) {
    auto node = std::make_unique<Node>();
    node->id = {random_.next(), random_.next()};
    node->clock_offset_ns = random_.below(1'000'000) * kMs;
    node->clock_percent = 60 + random_.below(100);
    node->backup.emplace(node->id, true, 1, timings_);
    if (nodes_.size() <= n) nodes_.resize(n + 1);
    nodes_[n] = std::move(node);
  }

  void crash(std::size_t n) {
    for (auto& connection : connections_) {
      if (connection.primary == n) close(connection, connection.at_primary, connection.at_backup);
      if (connection.backup == n) close(connection, connection.at_backup, connection.at_primary);
    }
    replace(n);
  }

  /// One end is gone, and the other may hear of it.
  void close(Connection& connection, Port& own, Port& other) {
    if (!own.open) return;
    own.open = false;
    own.incoming.clear();
    if (random_.happens(0.3)) other.incoming.clear();
    if (!connection.silent) other.incoming.push_back({now_ns_ + random_.below(3 * kMs), {}});
  }

  void step(bool disturbed) {
    now_ns_ += (1 + random_.below(20)) * kMs;
    if (disturbed) disturb();
    connect();
    for (std::size_t n = 0; n < nodes_.size(); ++n) {
      if (paused(*nodes_[n])) continue;
      for (std::size_t c = 0; c < connections_.size(); ++c) {
        const bool ours =
            nodes_[n]->is_primary ? connections_[c].primary == n : connections_[c].backup == n;
        if (ours) deliver(n, connections_[c]);
      }
      if (nodes_[n]->is_primary) run_primary(n, disturbed);
      if (nodes_[n]->backup) run_backup(n, disturbed);
      check();
    }
    answer_claims(disturbed);
    std::erase_if(connections_, [](const Connection& connection) {
      return !connection.at_primary.open && !connection.at_backup.open;
    });
  }

  void disturb() {
    for (auto& connection : connections_) {
      if (random_.happens(faults_.silence)) connection.silent = true;
      if (!random_.happens(faults_.cut)) continue;
      connection.at_primary.incoming.push_back({now_ns_ + random_.below(50 * kMs), {}});
      connection.at_backup.incoming.push_back({now_ns_ + random_.below(50 * kMs), {}});
    }
    for (std::size_t n = 0; n < nodes_.size(); ++n) {
      Node& node = *nodes_[n];
      if (random_.happens(faults_.pause)) {
        node.paused_until_ns = now_ns_ + random_.below(kLongestPauseNs / kMs) * kMs;
      }
      if (random_.happens(faults_.crash)) crash(n);
    }
  }

  void connect() {
    for (std::size_t p = 0; p < nodes_.size(); ++p) {
      Node& primary = *nodes_[p];
      if (!primary.is_primary || paused(primary)) continue;
      for (std::size_t b = 0; b < nodes_.size(); ++b) {
        Node& backup = *nodes_[b];
        const bool waits = backup.backup && backup.backup->state() == BackupState::waiting;
        const bool looks =
            primary.peers[b] && primary.peers[b]->protocol.state() == PrimaryState::alone;
        if (!waits || !looks || paused(backup) || !random_.happens(0.2)) continue;
        connections_.push_back({});
        connections_.back().primary = p;
        connections_.back().backup = b;
        backup.backup->link_up({random_.next(), random_.next()}, clock(backup));
        primary.peers[b]->protocol.link_up({random_.next(), random_.next()}, clock(primary));
      }
    }
  }

  /// What is open of a node in its role, to one backup or as one; or null.
  Connection* connection_of(std::size_t n, std::size_t backup) {
    for (auto& connection : connections_) {
      if (connection.backup != backup) continue;
      if (n == backup ? connection.at_backup.open
                      : connection.primary == n && connection.at_primary.open) {
        return &connection;
      }
    }
    return nullptr;
  }

  void deliver(std::size_t n, Connection& connection) {
    Port& port = nodes_[n]->is_primary ? connection.at_primary : connection.at_backup;
    while (port.open && !port.incoming.empty() && port.incoming.front().due_ns <= now_ns_) {
      const Packet packet = std::move(port.incoming.front());
      port.incoming.pop_front();
      if (packet.bytes.empty()) {
        lose(n, connection, "the connection was closed");
        return;
      }
      port.reader.add(packet.bytes);
      try {
        while (auto message = port.reader.next()) receive(n, connection, *message);
      } catch (const Error& error) {
        lose(n, connection, error.what());
        return;
      }
      act(n, connection.backup, &connection);
    }
  }

  void receive(std::size_t n, Connection& connection, const Message& message) {
    Node& node = *nodes_[n];
    const bool is_hello = std::holds_alternative<Hello>(message);
    if (node.is_primary) {
      PrimaryProtocol& protocol = node.peers[connection.backup]->protocol;
      protocol.receive(message, clock(node));
      if (is_hello) set_session(connection.at_primary, protocol.session());
    } else {
      node.backup->receive(message, clock(node));
      if (is_hello) set_session(connection.at_backup, node.backup->session());
    }
  }

  static void set_session(Port& port, const SessionId& session) {
    port.reader.set_session(session);
    port.writer.set_session(session);
  }

  void lose(std::size_t n, Connection& connection, const std::string& reason) {
    Node& node = *nodes_[n];
    const std::size_t backup = connection.backup;
    if (node.is_primary) {
      close(connection, connection.at_primary, connection.at_backup);
      node.peers[backup]->protocol.link_down(reason, clock(node));
    } else {
      close(connection, connection.at_backup, connection.at_primary);
      node.backup->link_down(reason, clock(node));
    }
    act(n, backup, nullptr);
  }

  void send(Connection& connection, Port& from, Port& to, const Message& message) {
    if (!from.open || !to.open) return;
    Bytes bytes;
    from.writer.write(message, bytes);
    const bool disturbed = faults_on_;
    if (connection.silent || (disturbed && random_.happens(faults_.drop))) return;
    const bool twice = disturbed && random_.happens(faults_.duplicate);
    std::uint64_t due_ns = now_ns_ + random_.below(12 * kMs);
    if (!to.incoming.empty()) due_ns = std::max(due_ns, to.incoming.back().due_ns);
    if (twice) to.incoming.push_back({due_ns, bytes});
    if (disturbed && random_.happens(faults_.damage)) {
      bytes[random_.below(bytes.size())] ^= static_cast<std::uint8_t>(1U << random_.below(8));
    }
    to.incoming.push_back({due_ns, std::move(bytes)});
  }

  // ---- a primary ---------------------------------------------------------------------------

  void run_primary(std::size_t n, bool disturbed) {
    faults_on_ = disturbed;
    Node& node = *nodes_[n];
    for (auto& peer : node.peers) {
      if (peer) peer->protocol.tick(clock(node));
    }
    act_for_all(n);
    const bool runs =
        !any_peer(node, PrimaryState::stopped) && !any_peer(node, PrimaryState::yielding);
    if (runs && random_.happens(0.7)) {
      for (std::uint64_t left = random_.below(5); left != 0; --left)
        node.guest.step(random_.next());
    }
    if (runs && random_.happens(0.35)) mark(node);
    for (std::size_t b = 0; b < kSlots; ++b) {
      if (node.peers[b] && node.peers[b]->past_wanted && random_.happens(0.5)) send_past(n, b);
    }
    if (runs && disturbed && random_.happens(faults_.hand_over)) hand_over(n);
    act_for_all(n);
    release(node);
    const auto guarded = std::count_if(node.peers.begin(), node.peers.end(), [](const auto& peer) {
      return peer && peer->protocol.state() == PrimaryState::guarded;
    });
    if (guarded > 1) ++outcome_.guarded_by_two;
    if (!any_peer(node, PrimaryState::stopped)) return;
    const bool handed_over =
        std::any_of(node.peers.begin(), node.peers.end(),
                    [](const auto& peer) { return peer && peer->protocol.handed_over(); });
    ++(handed_over ? outcome_.hand_overs : outcome_.stopped);
    crash(n);
  }

  void hand_over(std::size_t n) {
    Node& node = *nodes_[n];
    mark(node);
    act_for_all(n);
    for (auto& peer : node.peers) {
      if (!peer || peer->protocol.state() != PrimaryState::guarded) continue;
      peer->protocol.hand_over();
      return;
    }
  }

  void mark(Node& node) {
    ++outcome_.marks;
    for (auto& peer : node.peers) {
      if (peer) peer->protocol.marked(mark_of(node));
    }
  }
  static Mark mark_of(const Node& node) {
    return {0, {node.guest.position()}, 0, node.guest.outputs().size(), 0};
  }

  void send_past(std::size_t n, std::size_t b) {
    Node& node = *nodes_[n];
    Peer& peer = *node.peers[b];
    Connection* connection = connection_of(n, b);
    peer.past_wanted = false;
    if (connection == nullptr) return;
    const Mark last = peer.protocol.last_mark();
    peer.sent_to = last.position.steps;
    peer.log_bytes = 0;
    const Bytes past = node.guest.log(0, peer.sent_to);
    for (std::size_t at = 0; at < past.size(); at += kMostPiece) {
      const std::size_t count = std::min(kMostPiece, past.size() - at);
      const auto begin = past.begin() + static_cast<std::ptrdiff_t>(at);
      send(*connection, connection->at_primary, connection->at_backup,
           Past{Bytes(begin, begin + static_cast<std::ptrdiff_t>(count))});
    }
    peer.protocol.past_sent(last);
  }

  void release(Node& node) {
    const std::uint64_t made = node.guest.outputs().size();
    const std::uint64_t limit = std::min(made, releasable(node));
    for (; node.released < limit; ++node.released) put_out(node, node.released);
    for (auto& peer : node.peers) {
      if (peer) peer->protocol.released(node.released);
    }
  }

  /// Output `index` of a node leaves for the outside.
  void put_out(const Node& node, std::uint64_t index) {
    const std::uint64_t content = node.guest.outputs()[index];
    if (index > outside_.size()) return broken("an output was lost");
    ++outcome_.released;
    if (index == outside_.size()) {
      outside_.push_back(content);
      return;
    }
    ++outcome_.repeated;
    if (outside_[index] != content) broken("an output contradicts one that has left");
  }

  // ---- a backup ----------------------------------------------------------------------------

  void run_backup(std::size_t n, bool disturbed) {
    faults_on_ = disturbed;
    Node& node = *nodes_[n];
    BackupProtocol& protocol = *node.backup;
    for (std::uint64_t left = random_.below(3); left != 0 && node.executed < node.marks.size();) {
      run_to_mark(node);
      --left;
    }
    if (node.executed != 0) {
      const Mark& mark = node.marks[node.executed - 1];
      protocol.executed(mark.number, mark.position, {});
    }
    protocol.tick(clock(node));
    act(n, n, connection_of(n, n));
    if (!nodes_[n]->backup || nodes_[n]->backup->state() != BackupState::given_up) return;
    if (nodes_[n]->backup->reason().starts_with("another backup")) ++outcome_.overtaken;
    crash(n);
  }

  void run_to_mark(Node& node) const {
    const Mark& mark = node.marks[node.executed++];
    ByteReader in(node.received, "the log");
    (void)in.bytes(node.guest.position() * sizeof(std::uint64_t));
    while (node.guest.position() < mark.position.steps) {
      node.guest.step(in.integer<std::uint64_t>());
    }
  }

  void go_live(std::size_t n) {
    Node& node = *nodes_[n];
    while (node.executed < node.marks.size()) run_to_mark(node);
    ++outcome_.takeovers;
    const auto& outputs = node.guest.outputs();
    const bool holds_all = outputs.size() >= outside_.size() &&
                           std::equal(outside_.begin(), outside_.end(), outputs.begin());
    if (!holds_all) broken("an output has left that the survivor's log does not contain");
    become_primary(node);
    node.released = node.forgotten;
    mark(node);
    release(node);
  }

  // ---- both --------------------------------------------------------------------------------

  void act_for_all(std::size_t n) {
    for (std::size_t b = 0; b < kSlots; ++b) {
      if (nodes_[n]->peers[b]) act(n, b, connection_of(n, b));
    }
  }

  /// What a node is to do for one backup, or as one.
  void act(std::size_t n, std::size_t backup, Connection* connection) {
    Node& node = *nodes_[n];
    if (node.is_primary) {
      if (!node.peers[backup]) return;
      Peer& peer = *node.peers[backup];
      for (const PrimaryAction& action : peer.protocol.take_actions()) {
        act_as_primary(n, peer, connection, action);
      }
      return;
    }
    for (const BackupAction& action : node.backup->take_actions()) {
      act_as_backup(n, connection, action);
      if (!node.backup) return;
    }
  }

  void act_as_primary(std::size_t n, Peer& peer, Connection* connection,
                      const PrimaryAction& action) {
    const Node& node = *nodes_[n];
    if (std::holds_alternative<to_do::SendPast>(action)) peer.past_wanted = true;
    if (const auto* ask = std::get_if<to_do::AskArbiter>(&action)) ask_arbiter(n, ask->claim);
    if (connection == nullptr) return;
    Port& own = connection->at_primary;
    Port& other = connection->at_backup;
    if (const auto* message = std::get_if<to_do::Send>(&action)) {
      if (std::holds_alternative<Protect>(message->message)) ++outcome_.guarded;
      send(*connection, own, other, message->message);
    } else if (const auto* mark = std::get_if<to_do::SendMark>(&action)) {
      const Bytes log = node.guest.log(peer.sent_to, mark->mark.position.steps);
      peer.sent_to = mark->mark.position.steps;
      peer.log_bytes += log.size();
      if (!log.empty()) send(*connection, own, other, Log{log});
      Mark complete = mark->mark;
      complete.log_bytes = peer.log_bytes;
      send(*connection, own, other, Marked{complete, node.released});
    } else if (std::holds_alternative<to_do::DropLink>(action)) {
      close(*connection, own, other);
    }
  }

  void act_as_backup(std::size_t n, Connection* connection, const BackupAction& action) {
    Node& node = *nodes_[n];
    const auto append = [&](const Bytes& bytes) {
      node.received.insert(node.received.end(), bytes.begin(), bytes.end());
    };
    if (const auto* past = std::get_if<to_do::TakePast>(&action)) append(past->bytes);
    if (const auto* log = std::get_if<to_do::TakeLog>(&action)) append(log->bytes);
    if (const auto* begin = std::get_if<to_do::BeginMachine>(&action)) {
      node.marks.push_back(begin->mark);
    }
    if (const auto* run = std::get_if<to_do::RunTo>(&action)) node.marks.push_back(run->mark);
    if (const auto* forget = std::get_if<to_do::ForgetOutputs>(&action)) {
      node.forgotten = forget->before;
    }
    if (const auto* ask = std::get_if<to_do::AskArbiter>(&action)) ask_arbiter(n, ask->claim);
    if (std::holds_alternative<to_do::GoLive>(action)) return go_live(n);
    if (connection == nullptr) return;
    if (const auto* message = std::get_if<to_do::Send>(&action)) {
      send(*connection, connection->at_backup, connection->at_primary, message->message);
    } else if (std::holds_alternative<to_do::DropLink>(action)) {
      close(*connection, connection->at_backup, connection->at_primary);
    }
  }

  struct Question {
    NodeId node;
    Claim claim;
    std::uint64_t due_ns = 0;
    std::optional<Verdict> answer{};
  };

  void ask_arbiter(std::size_t n, const Claim& claim) {
    if (faults_on_ && random_.happens(faults_.arbiter_away)) return;
    questions_.push_back({nodes_[n]->id, claim, now_ns_ + random_.below(150) * kMs});
  }

  void answer_claims(bool disturbed) {
    std::vector<Question> open = std::exchange(questions_, {});
    for (Question& question : open) {
      if (question.due_ns > now_ns_) {
        questions_.push_back(question);
        continue;
      }
      if (!question.answer) {
        question.answer = arbiter_.decide(question.claim);
        // The answer may be lost, too.
        if (disturbed && random_.happens(faults_.arbiter_away)) continue;
        question.due_ns = now_ns_ + random_.below(50) * kMs;
        questions_.push_back(question);
        continue;
      }
      for (std::size_t n = 0; n < nodes_.size(); ++n) {
        Node& node = *nodes_[n];
        if (node.id != question.node) continue;
        for (std::size_t b = 0; b < kSlots; ++b) {
          if (node.peers[b]) node.peers[b]->protocol.verdict(*question.answer);
        }
        if (node.backup) {
          node.backup->verdict(*question.answer);
          act(n, n, connection_of(n, n));
        }
        act_for_all(n);
        check();
      }
    }
  }

  /// At most one node lets outputs leave that no other one holds; a paused one counts.
  void check() {
    const auto live = std::count_if(nodes_.begin(), nodes_.end(), [](const auto& node) {
      return node->is_primary && releasable(*node) == kNever;
    });
    if (live > 1) broken("two machines are live at once");
  }

  Random random_;
  Faults faults_;
  Timings timings_{.join_steps = 20};
  ArbiterModel arbiter_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::deque<Connection> connections_;
  std::vector<Question> questions_;
  std::vector<std::uint64_t> outside_;  ///< what has left, by number
  std::uint64_t now_ns_ = 0;
  bool faults_on_ = true;
  Outcome outcome_;
};

}  // namespace

Outcome run_schedule(std::uint64_t seed, unsigned steps, const Faults& faults) {
  return World(seed, faults).run(steps);
}

}  // namespace chronovisor::replica::simulation
