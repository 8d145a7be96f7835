// Owns one client's protocol from bytes to bytes: framing, acknowledgements, the
// door that only a debugger passes, and the session behind it. Must know no socket
// and start no thread: bytes are put in, bytes and Work are taken out. All calls
// from one thread, except that `run` is called with taken Work from any thread;
// meanwhile `receive` may be called (it only queues, and looks for an interrupt).
//
// A connection begins closed to everything: until a first whole packet with the
// right checksum has come, nothing is answered, and a byte that could not begin
// one ends it. So whatever else can be made to talk to a port, a web browser
// above all, is gone before its first line is over. Then the connection is opened,
// and its packets wait until serve(), which is when the target hears of it.
#pragma once

#include <atomic>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "gdbstub/session.h"
#include "gdbstub/wire.h"

namespace chronovisor::gdb {

class Connection {
 public:
  /// Packets that may wait while Work runs; a client that sends more is cut off.
  static constexpr std::size_t kMaxQueuedPackets = 64;
  static constexpr std::size_t kMaxQueuedBytes = 4 * kMaxPacketBytes;
  /// With more than this to send, what else has come is held back until go_on().
  static constexpr std::size_t kMaxOutputBytes = std::size_t{1} << 20;
  /// How often one packet is sent again before the line is given up.
  static constexpr int kMaxRetransmissions = 8;

  explicit Connection(DebugTarget& target) : target_(target) {}

  void receive(ByteView bytes);
  /// A first packet has come.
  [[nodiscard]] bool opened() const { return stage_ != Stage::closed; }
  [[nodiscard]] bool waiting() const { return stage_ == Stage::waiting; }
  [[nodiscard]] bool served() const { return stage_ == Stage::served; }
  /// It began with something that is no packet, and has ended.
  [[nodiscard]] bool foreign() const { return foreign_; }
  /// It is this opened client's turn: answers what has come, and from now on at once.
  void serve();
  /// It is not yet: gdb's user is told that `other` is connected.
  void wait_for(std::string_view other);
  /// It waits for its turn, or for an answer that takes long, and would give up when
  /// it heard nothing.
  [[nodiscard]] bool needs_signs_of_life() const {
    return !ended_ && (waiting() || (busy_ && life_ != SignOfLife::none));
  }
  /// Something to send that means nothing; while any comes, a debugger goes on waiting.
  void give_sign_of_life();
  /// Packets have come that are not looked at before go_on(): one may be small and
  /// its answer large.
  [[nodiscard]] bool holds_back() const { return stage_ != Stage::opened && !held_.empty(); }
  /// Looks at what is held back, after take_output().
  void go_on() { take_held(); }
  /// What to send since the last call.
  std::string take_output();
  /// The job to run now, at most once; then finish_work() with its answer.
  std::optional<Work> take_work();
  /// Runs taken Work; an Error becomes an error packet.
  Answer run(const Work& work) const;
  void finish_work(Answer answer);
  /// Asks running Work to end: the client has gone.
  void cancel() { cancel_ = true; }
  /// The client is done, or broke the rules; close after sending the output.
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool busy() const { return busy_; }

 private:
  /// Everything before `opened` is from somebody who may be no debugger.
  enum class Stage { closed, opened, waiting, served };

  [[nodiscard]] bool passes_door(const WireEvent& event);
  void introduce(std::string_view other);
  void take_held();
  void interrupt();
  void dispatch(WireEvent event);
  void drain_queue();
  void apply(Answer answer);
  void send(const std::string& payload);
  void retransmit();

  DebugTarget& target_;
  WireDecoder decoder_;
  std::optional<Session> session_;  ///< once served
  Stage stage_ = Stage::closed;
  bool foreign_ = false;
  Bytes held_;                ///< what came with others, not looked at yet
  std::string introduction_;  ///< the qSupported that was answered while waiting
  std::deque<WireEvent> queue_;
  std::size_t queued_bytes_ = 0;
  std::string output_;
  std::string last_frame_;
  int retransmissions_ = 0;
  Work work_;
  SignOfLife life_ = SignOfLife::none;  ///< while busy
  std::atomic<bool> cancel_ = false;
  bool busy_ = false;  ///< Work is waiting or running
  bool has_stopped_ = false;
  bool acknowledging_ = true;
  bool ended_ = false;
};

}  // namespace chronovisor::gdb
