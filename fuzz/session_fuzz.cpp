// Feeds packets to a session over a small machine with a history: each line of
// the input, after its first byte, is the content of one packet. The bits of
// the first byte choose what the target can do and whether work is interrupted.
// Checked beside crashes: no reply is longer than a packet may be, and a session
// that ends leaves no breakpoint behind.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "gdbstub/session.h"
#include "gdbstub/wire.h"
#include "tests/gdbstub/fake_target.h"

namespace {

using chronovisor::gdb::Answer;

constexpr int kMaxWork = 64;      // breakpoint commands may run for ever
constexpr int kMaxPackets = 256;  // and a long input is not more interesting than a short one

enum Choice : std::uint8_t { kNoReverse = 1, kInterrupted = 2, kGuestEnds = 4, kRunsFail = 8 };

void check_sizes(const Answer& answer) {
  for (const std::string& packet : answer.packets) {
    CHECK_THAT(chronovisor::gdb::escaped_size(packet) <= chronovisor::gdb::kMaxPacketBytes,
               "a reply fits a packet");
  }
}

void converse(chronovisor::gdb::FakeTarget& target, std::string_view text, bool interrupted) {
  chronovisor::gdb::Session session(target);
  const std::atomic<bool> cancel = interrupted;
  for (int count = 0; count < kMaxPackets && !text.empty(); ++count) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    Answer answer = session.handle(text.substr(0, end));
    check_sizes(answer);
    for (int i = 0; i < kMaxWork && answer.work; ++i) {
      answer = answer.work(cancel);
      check_sizes(answer);
    }
    if (answer.end) return;
    text.remove_prefix(std::min(text.size(), end + 1));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::uint8_t choice = data[0];
  chronovisor::gdb::FakeTarget target(60);
  target.position = 30;
  target.spins = false;
  target.reverse = (choice & kNoReverse) == 0;
  if ((choice & kGuestEnds) != 0) target.ends_with = "the guest powered off";
  if ((choice & kRunsFail) != 0) target.run_failure = "disk full";
  converse(target, {reinterpret_cast<const char*>(data + 1), size - 1},
           (choice & kInterrupted) != 0);
  CHECK_THAT(target.breakpoints.empty(), "a session takes its breakpoints along");
  CHECK_THAT(target.clients == 0, "a session says goodbye");
  return 0;
}
