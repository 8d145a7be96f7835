// Lets a hostile peer speak to a primary (first byte even) or to a backup (odd). With bit 1 of
// it the bytes are the stream as it comes; without, they are messages for which sound frames
// are made, after a greeting, so that what lies behind checksums and sessions is reached: a
// type, a length, the payload. Whatever is refused ends the connection, and nothing else.
// Checked beside crashes: a primary that is protected lets nothing out that its backup cannot
// hold, and a backup never asks for a session that nobody protected.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include "base/error.h"
#include "replica/backup/block_store.h"
#include "replica/backup/received_log.h"
#include "replica/protocol/backup.h"
#include "replica/protocol/frame.h"
#include "replica/protocol/primary.h"

namespace {

using namespace chronovisor;
using namespace chronovisor::replica;

constexpr End kPeer{{1, 2}, {3, 4}};
constexpr NodeId kOwn{5, 6};
constexpr Nonce kOwnNonce{7, 8};
constexpr FileId kFile{};

/// Calls `take` with each message, whatever the mode.
template <class Take>
void for_each_message(bool is_stream, ByteView data, const SessionId& session, Take&& take) {
  FrameReader reader;
  reader.set_session(session);
  if (is_stream) {
    while (!data.empty()) {
      const std::size_t count = std::min<std::size_t>(data.size(), 37);
      reader.add(data.first(count));
      data = data.subspan(count);
      while (const auto message = reader.next()) take(*message);
    }
    return;
  }
  FrameWriter writer;
  writer.set_session(session);
  while (data.size() >= 2) {
    const std::uint16_t type = data[0];
    const std::size_t length = std::min<std::size_t>(data[1], data.size() - 2);
    const Message message = decode_message(type, data.subspan(2, length));
    data = data.subspan(2 + length);
    Bytes frame;
    writer.write(message, frame);
    reader.add(frame);
    while (const auto again = reader.next()) take(*again);
  }
}

void to_primary(bool is_stream, ByteView data) {
  PrimaryProtocol primary(kOwn, true, 1, {});
  primary.marked({0, {10}, 0, 1, 0});
  primary.link_up(kOwnNonce, 0);
  primary.receive(Hello{kProtocolVersion, Role::backup, kPeer, 1}, 0);
  primary.past_sent(primary.last_mark());
  std::uint64_t now_ns = 0;
  for_each_message(is_stream, data, primary.session(), [&](const Message& message) {
    now_ns += 1'000'000;
    primary.receive(message, now_ns);
    primary.tick(now_ns);
    Mark mark = primary.last_mark();
    mark.position.steps += 1'000;
    mark.outputs += 1;
    primary.marked(mark);
    const bool is_guarded = primary.state() == PrimaryState::guarded;
    CHECK_THAT(!is_guarded || primary.releasable() <= primary.last_mark().outputs,
               "an output leaves that no mark covers");
    (void)primary.take_actions();
  });
}

void to_backup(bool is_stream, ByteView data) {
  BackupProtocol backup(kOwn, true, 1, {});
  BlockStore blocks("fuzz");
  ReceivedLog log(blocks);
  log.set_file(kFile);
  backup.link_up(kOwnNonce, 0);
  backup.receive(Hello{kProtocolVersion, Role::primary, kPeer, 1}, 0);
  bool was_protected = false;
  std::uint64_t now_ns = 0;
  InputStamp here;
  for_each_message(is_stream, data, backup.session(), [&](const Message& message) {
    now_ns += 1'000'000;
    was_protected |= std::holds_alternative<Protect>(message);
    backup.receive(message, now_ns);
    backup.tick(now_ns);
    for (const BackupAction& action : backup.take_actions()) {
      if (const auto* bytes = std::get_if<to_do::TakeLog>(&action)) log.append(bytes->bytes);
      if (const auto* run = std::get_if<to_do::RunTo>(&action)) log.mark(run->mark);
      if (std::holds_alternative<to_do::AskArbiter>(action)) {
        CHECK_THAT(was_protected, "a claim of a session that nobody protected");
      }
    }
    const ReceivedLog::Look look = log.look(here, false);
    if (look.kind == ReceivedLog::Look::Kind::nothing) here.position = log.next_look(here.position);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const ByteView data(bytes + 1, size - 1);
  const bool is_stream = (bytes[0] & 2) != 0;
  try {
    if ((bytes[0] & 1) == 0) {
      to_primary(is_stream, data);
    } else {
      to_backup(is_stream, data);
    }
  } catch (const Error&) {
    // Refused, as it should be.
  }
  return 0;
}
