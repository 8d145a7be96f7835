#include "gdbstub/connection.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"

namespace chronovisor::gdb {

namespace {

/// How many bytes there are up to the end of a packet that ends in `bytes`.
std::size_t piece_of(ByteView bytes) {
  const auto end = std::find(bytes.begin(), bytes.end(), std::uint8_t{'#'});
  return std::min(bytes.size(), static_cast<std::size_t>(end - bytes.begin()) + 3);
}

}  // namespace

void Connection::receive(ByteView bytes) {
  if (stage_ == Stage::opened || holds_back()) {
    held_.insert(held_.end(), bytes.begin(), bytes.end());
    return;
  }
  std::vector<WireEvent> events;
  // One byte stream, fed in pieces so that a change of the checksum policy
  // holds for the packet right after the one that asked for it.
  for (std::size_t at = 0; at < bytes.size() && !ended_;) {
    const auto rest = bytes.subspan(at);
    if (output_.size() > kMaxOutputBytes && !busy_) {
      held_.assign(rest.begin(), rest.end());
      return;
    }
    // Behind the first packet nothing is looked at yet.
    const std::size_t piece = stage_ == Stage::closed ? 1 : piece_of(rest);
    decoder_.feed(rest.first(piece), events);
    at += piece;
    for (WireEvent& event : events) {
      if (ended_) break;
      dispatch(std::move(event));
    }
    events.clear();
    if (stage_ == Stage::opened) {
      held_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end());
      return;
    }
  }
}

void Connection::take_held() { receive(std::exchange(held_, {})); }

/// Whether the first thing of a connection may be: an acknowledgement or an
/// interrupt, which clients send ahead, or a packet that arrived whole.
bool Connection::passes_door(const WireEvent& event) {
  switch (event.kind) {
    case WireEventKind::packet:
    case WireEventKind::oversized:
      stage_ = Stage::opened;
      return true;
    case WireEventKind::ack:
    case WireEventKind::nack:
    case WireEventKind::interrupt:
      return false;
    case WireEventKind::bad:
    case WireEventKind::noise:
      break;
  }
  foreign_ = true;
  ended_ = true;
  return false;
}

void Connection::interrupt() {
  if (busy_) {
    cancel_ = true;
  } else if (session_ && has_stopped_) {
    session_->interrupt_between_runs();
  }
}

void Connection::dispatch(WireEvent event) {
  if (stage_ == Stage::closed && !passes_door(event)) return;
  switch (event.kind) {
    case WireEventKind::interrupt:
      interrupt();
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
    case WireEventKind::noise:
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

void Connection::serve() {
  session_.emplace(target_);
  stage_ = Stage::served;
  // Its answer has been given.
  if (!introduction_.empty()) session_->handle(introduction_);
  drain_queue();
  take_held();
}

void Connection::wait_for(std::string_view other) {
  stage_ = Stage::waiting;
  if (queue_.front().payload.starts_with("qSupported")) introduce(other);
  take_held();
}

void Connection::introduce(std::string_view other) {
  introduction_ = std::move(queue_.front().payload);
  queue_.pop_front();
  queued_bytes_ -= introduction_.size();
  std::string note = join(
      {"another debugger, ", other, ", is connected: waiting until it leaves, Ctrl-C gives up"});
  std::replace_if(
      note.begin(), note.end(), [](char c) { return c == ';' || c == '='; }, ' ');
  send(Session::supported_answer(introduction_, target_.supports_reverse(), note));
}

void Connection::give_sign_of_life() {
  if (!needs_signs_of_life()) return;
  if (busy_ && life_ == SignOfLife::console) {
    send("O");
  } else {
    output_ += '+';
  }
}

void Connection::drain_queue() {
  while (served() && !busy_ && !ended_ && !queue_.empty()) {
    const WireEvent event = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= event.payload.size();
    cancel_ = false;
    apply(event.kind == WireEventKind::oversized ? session_->handle_oversized()
                                                 : session_->handle(event.payload));
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
  life_ = answer.life;
  busy_ = static_cast<bool>(work_);
}

void Connection::send(const std::string& payload) {
  last_frame_ = frame_packet(payload);
  retransmissions_ = 0;
  output_ += last_frame_;
}

void Connection::retransmit() {
  if (!acknowledging_ || last_frame_.empty() || waiting()) return;
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
  if (answer.uninterrupted_stop) {
    has_stopped_ = true;
    // It came too late for this run: for the next one, then, if that comes soon.
    if (cancel_) session_->interrupt_between_runs();
  }
  apply(std::move(answer));
  drain_queue();
}

}  // namespace chronovisor::gdb
