#include "gdbstub/connection.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"

namespace chronovisor::gdb {

void Connection::receive(ByteView bytes) {
  std::vector<WireEvent> events;
  // One byte stream, fed in pieces so that a change of the checksum policy
  // holds for the packet right after the one that asked for it.
  for (std::size_t at = 0; at < bytes.size() && !ended_;) {
    const auto rest = bytes.subspan(at);
    std::size_t piece = 0;
    while (piece < rest.size() && rest[piece] != '#') ++piece;
    piece = std::min(rest.size(), piece + 3);
    decoder_.feed(rest.first(piece), events);
    at += piece;
    for (WireEvent& event : events) {
      if (ended_) break;
      dispatch(std::move(event));
    }
    events.clear();
  }
}

void Connection::dispatch(WireEvent event) {
  switch (event.kind) {
    case WireEventKind::interrupt:
      // With nothing running, the stop it asks for has already been reported.
      if (busy_) cancel_ = true;
      return;
    case WireEventKind::ack:
      retransmissions_ = 0;
      return;
    case WireEventKind::nack:
      retransmit();
      return;
    case WireEventKind::bad:
      if (acknowledging_) output_ += '-';
      return;
    case WireEventKind::packet:
    case WireEventKind::oversized:
      break;
  }
  if (acknowledging_) output_ += '+';
  queued_bytes_ += event.payload.size();
  queue_.push_back(std::move(event));
  if (queue_.size() > kMaxQueuedPackets || queued_bytes_ > kMaxQueuedBytes) {
    ended_ = true;
    cancel_ = true;
    return;
  }
  drain_queue();
}

void Connection::drain_queue() {
  while (!busy_ && !ended_ && !queue_.empty()) {
    const WireEvent event = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= event.payload.size();
    cancel_ = false;
    apply(event.kind == WireEventKind::oversized ? session_.handle_oversized()
                                                 : session_.handle(event.payload));
  }
}

void Connection::apply(Answer answer) {
  for (const std::string& payload : answer.packets) send(payload);
  if (answer.enter_no_ack) {
    acknowledging_ = false;
    decoder_.set_checksum_policy(ChecksumPolicy::ignore);
  }
  if (answer.end) ended_ = true;
  work_ = std::move(answer.work);
  busy_ = static_cast<bool>(work_);
}

void Connection::send(const std::string& payload) {
  last_frame_ = frame_packet(payload);
  retransmissions_ = 0;
  output_ += last_frame_;
}

void Connection::retransmit() {
  if (!acknowledging_ || last_frame_.empty()) return;
  if (++retransmissions_ > kMaxRetransmissions) {
    ended_ = true;
    cancel_ = true;
    return;
  }
  output_ += last_frame_;
}

std::string Connection::take_output() { return std::exchange(output_, {}); }

std::optional<Work> Connection::take_work() {
  if (!work_) return std::nullopt;
  return std::exchange(work_, {});
}

Answer Connection::run(const Work& work) const {
  try {
    return work(cancel_);
  } catch (const Error&) {
    return Answer::of("E01");
  } catch (const std::bad_alloc&) {
    return Answer::of("E01");
  }
}

void Connection::finish_work(Answer answer) {
  apply(std::move(answer));
  drain_queue();
}

}  // namespace chronovisor::gdb
