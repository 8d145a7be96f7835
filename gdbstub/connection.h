// Owns one client's protocol from bytes to bytes: framing, acknowledgements and
// the session behind them. Must know no socket and start no thread: bytes are
// put in, bytes and Work are taken out. All calls from one thread, except that
// `run` is called with taken Work from any thread; meanwhile `receive` may be
// called (it only queues, and looks for an interrupt).
#pragma once

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
  /// How often one packet is sent again before the line is given up.
  static constexpr int kMaxRetransmissions = 8;

  explicit Connection(DebugTarget& target) : session_(target) {}

  void receive(ByteView bytes);
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
  void dispatch(WireEvent event);
  void drain_queue();
  void apply(Answer answer);
  void send(const std::string& payload);
  void retransmit();

  WireDecoder decoder_;
  Session session_;
  std::deque<WireEvent> queue_;
  std::size_t queued_bytes_ = 0;
  std::string output_;
  std::string last_frame_;
  int retransmissions_ = 0;
  Work work_;
  CancelFlag cancel_ = false;
  bool busy_ = false;  ///< Work is waiting or running
  bool acknowledging_ = true;
  bool ended_ = false;
};

}  // namespace chronovisor::gdb
