#include "replica/backup/received_log.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <variant>

#include "base/error.h"
#include "recorder/format/block_log.h"
#include "recorder/format/records.h"
#include "replica/primary/log_tail.h"

namespace chronovisor::replica {
namespace {

constexpr const char* kWhat = "the primary's log";

InputStamp stamp_of(const Mark& mark) { return {mark.position, mark.idle_ns}; }
InputStamp stamp_of(const InputEvent& event) { return {event.position, event.idle_ns}; }

}  // namespace

void ReceivedLog::append(ByteView bytes) {
  incoming_.insert(incoming_.end(), bytes.begin(), bytes.end());
  std::size_t from = 0;
  while (true) {
    const ByteView rest = ByteView(incoming_).subspan(from);
    if (rest.size() < kFileHeaderSize) break;
    if (!std::ranges::equal(rest.first(kChunkMagic.size()), kChunkMagic)) {
      // The recording goes on in another file, whose header is all but a chunk that may come.
      id_ = decode_file_header(rest.first(kFileHeaderSize), kWhat).id;
      blocks_.begin_file();
      from += kFileHeaderSize;
      continue;
    }
    if (rest.size() < kChunkHeaderSize) break;
    const auto decoded = decode_chunk_header(rest.first<kChunkHeaderSize>(), id_);
    if (const auto* fault = std::get_if<ChunkFault>(&decoded)) {
      throw Error(ErrorCode::bad_input, std::string(kWhat) + ": " + fault->reason);
    }
    const ChunkHeader& header = std::get<ChunkHeader>(decoded);
    const std::size_t size = kChunkHeaderSize + header.stored_length;
    if (rest.size() < size) break;
    take_chunk(header, rest.subspan(kChunkHeaderSize, header.stored_length));
    from += size;
  }
  incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(from));
}

void ReceivedLog::take_chunk(const ChunkHeader& header, ByteView stored) {
  const auto refuse = [](const std::string& reason) {
    throw Error(ErrorCode::bad_input, std::string(kWhat) + ": " + reason);
  };
  if (!is_log_chunk(header.type)) refuse("a chunk that is none of a log");
  if (const auto fault = check_payload(header, stored)) refuse(fault->reason);
  const auto payload = decode_payload(header, stored);
  if (const auto* fault = std::get_if<ChunkFault>(&payload)) refuse(fault->reason);
  const Bytes& raw = std::get<Bytes>(payload);
  switch (static_cast<ChunkType>(header.type)) {
    case ChunkType::input_log: {
      InputChunk chunk = decode_input_chunk(raw, kWhat);
      const std::lock_guard lock(mutex_);
      std::move(chunk.events.begin(), chunk.events.end(), std::back_inserter(unmarked_));
      break;
    }
    case ChunkType::digests:
      for (const DigestRecord& record : decode_digests(raw, kWhat)) {
        add_digest(record.position, record.digest);
      }
      break;
    case ChunkType::block_data:
      blocks_.add_data(header.sequence, raw);
      break;
    default:
      blocks_.add_directory(decode_block_directory(raw, kWhat));
  }
}

void ReceivedLog::mark(const Mark& mark) {
  {
    const std::lock_guard lock(mutex_);
    if (!incoming_.empty()) throw Error(ErrorCode::bad_input, "a mark within a chunk");
    for (InputEvent& event : unmarked_) {
      if (!events_.empty() && stamp_of(event) < stamp_of(events_.back())) {
        throw Error(ErrorCode::bad_input, std::string(kWhat) + ": inputs go back");
      }
      events_.push_back(std::move(event));
      ++events_added_;
    }
    unmarked_.clear();
    last_ = mark;
    marks_.push_back({mark, events_added_});
  }
  changed_.notify_all();
}

void ReceivedLog::then(Then then) {
  {
    const std::lock_guard lock(mutex_);
    then_ = then;
  }
  changed_.notify_all();
}

void ReceivedLog::begin_with(std::deque<InputEvent> events) {
  const std::lock_guard lock(mutex_);
  events_added_ += events.size();
  for (Passed& passed : marks_) passed.events += events.size();
  // Some of the log may have come meanwhile.
  std::move(events_.begin(), events_.end(), std::back_inserter(events));
  events_ = std::move(events);
}

void ReceivedLog::add_digest(Position position, const Hash128& digest) {
  const std::lock_guard lock(mutex_);
  digests_[position] = digest;
}

void ReceivedLog::pass_marks(InputStamp here) {
  while (!marks_.empty() && events_taken_ >= marks_.front().events &&
         here >= stamp_of(marks_.front().mark)) {
    if (executed_ == 0) first_outputs_ = marks_.front().mark.outputs;
    executed_ = marks_.front().mark.number;
    marks_.pop_front();
  }
}

ReceivedLog::Look ReceivedLog::look(InputStamp here, bool of_wakeup) {
  const std::lock_guard lock(mutex_);
  pass_marks(here);
  Look look{Look::Kind::end, {}, then_, last_.number};
  if (then_ == Then::give_up) return look;
  if (events_.empty()) {
    if (here < stamp_of(last_)) look.kind = Look::Kind::nothing;
    return look;
  }
  const InputEvent& next = events_.front();
  if (stamp_of(next) < here) {
    throw Error(ErrorCode::divergence,
                std::string(kWhat) + ": an input at position " + grouped(next.position.steps) +
                    " was not reached there; the machine is at " + grouped(here.position.steps));
  }
  look.kind = Look::Kind::nothing;
  const bool is_wakeup = next.kind == InputKind::wakeup;
  if (stamp_of(next) > here || is_wakeup != of_wakeup) return look;
  look.kind = Look::Kind::input;
  look.event = std::move(events_.front());
  events_.pop_front();
  ++events_taken_;
  return look;
}

void ReceivedLog::wait(const Look& seen, std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, most,
                    [&] { return last_.number != seen.last_mark || then_ != seen.then; });
}

Position ReceivedLog::next_look(Position now) const {
  const std::lock_guard lock(mutex_);
  Position next = last_.position;
  if (!events_.empty()) {
    next = events_.front().position;
  } else if (then_ == Then::run_on) {
    next = {kNever};
  }
  if (!marks_.empty()) next = std::min(next, marks_.front().mark.position);
  return std::max(next, Position{now.steps + 1});
}

Position ReceivedLog::limit(Position here) const {
  const std::lock_guard lock(mutex_);
  const Position next{here.steps + 1};
  Position limit = then_ == Then::run_on ? Position{kNever} : std::max(last_.position, next);
  const auto digest = digests_.lower_bound(next);
  if (digest != digests_.end()) limit = std::min(limit, digest->first);
  return limit;
}

std::optional<Hash128> ReceivedLog::take_digest(Position position) {
  const std::lock_guard lock(mutex_);
  // What lies behind is not met any more.
  digests_.erase(digests_.begin(), digests_.lower_bound(position));
  const auto found = digests_.find(position);
  if (found == digests_.end()) return std::nullopt;
  const Hash128 digest = found->second;
  digests_.erase(found);
  return digest;
}

std::uint64_t ReceivedLog::executed() const {
  const std::lock_guard lock(mutex_);
  return executed_;
}

std::optional<std::uint64_t> ReceivedLog::take_first_outputs() {
  const std::lock_guard lock(mutex_);
  return std::exchange(first_outputs_, std::nullopt);
}

ReceivedLog::Then ReceivedLog::what_then() const {
  const std::lock_guard lock(mutex_);
  return then_;
}

}  // namespace chronovisor::replica
