// Feeds arbitrary bytes to the wire layer, and to a connection over a small
// machine. Checked beside crashes: where a stream is cut changes nothing, what
// frame_packet frames is read back as it was, and the shortening of runs is what
// the protocol says. The first byte chooses the cut.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "gdbstub/connection.h"
#include "gdbstub/wire.h"
#include "tests/gdbstub/fake_target.h"

namespace {

using chronovisor::ByteView;
using namespace chronovisor::gdb;

constexpr int kMaxWork = 64;  // breakpoint commands may run for ever

bool same(const std::vector<WireEvent>& a, const std::vector<WireEvent>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const WireEvent& one, const WireEvent& other) {
                      return one.kind == other.kind && one.payload == other.payload;
                    });
}

void check_decoding(ByteView input, std::size_t cut, ChecksumPolicy policy) {
  WireDecoder whole;
  WireDecoder parts;
  whole.set_checksum_policy(policy);
  parts.set_checksum_policy(policy);
  std::vector<WireEvent> expected;
  std::vector<WireEvent> found;
  whole.feed(input, expected);
  parts.feed(input.first(cut), found);
  for (const std::uint8_t& byte : input.subspan(cut)) parts.feed({&byte, 1}, found);
  CHECK_THAT(same(expected, found), "where a stream is cut changes nothing");
}

/// Undoes the shortening of runs, as a client does.
std::string expand_runs(std::string_view framed) {
  std::string out;
  for (std::size_t i = 0; i < framed.size(); ++i) {
    if (framed[i] == '*' && framed[i - 1] != '}') {
      const int count = framed[++i];
      CHECK_THAT(count >= ' ' && count <= '~', "a run's count is printable");
      out.append(static_cast<std::size_t>(count - 29), out.back());
    } else {
      out.push_back(framed[i]);
    }
  }
  return out;
}

void check_framing(std::string_view payload) {
  const std::string framed = frame_packet(payload);
  CHECK_THAT(framed.size() == escaped_size(payload) + 4, "escaped_size counts what framing adds");
  WireDecoder decoder;
  std::vector<WireEvent> events;
  decoder.feed(chronovisor::as_bytes(framed), events);
  CHECK_THAT(
      events.size() == 1 && events[0].kind == WireEventKind::packet && events[0].payload == payload,
      "what was framed is read back");
  const std::string runs = frame_packet(payload, RunLength::on);
  CHECK_THAT(expand_runs(runs.substr(0, runs.size() - 3)) == framed.substr(0, framed.size() - 3),
             "shortened runs mean the same");
}

void pump(Connection& connection) {
  for (int i = 0; i < kMaxWork; ++i) {
    (void)connection.take_output();
    if (connection.holds_back()) connection.go_on();
    auto work = connection.take_work();
    if (!work) break;
    connection.finish_work(connection.run(*work));
  }
  (void)connection.take_output();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView input(data + 1, size - 1);
  const std::size_t cut = input.size() * data[0] / 255;
  check_decoding(input, cut, (data[0] & 1) != 0 ? ChecksumPolicy::ignore : ChecksumPolicy::verify);
  check_framing({reinterpret_cast<const char*>(input.data()), input.size()});
  FakeTarget target(60);
  target.position = 30;
  target.spins = false;
  Connection connection(target);
  bool waits = (data[0] & 2) != 0;
  for (const ByteView piece : {input.first(cut), input.subspan(cut)}) {
    connection.receive(piece);
    if (connection.opened() && !connection.served()) {
      if (std::exchange(waits, false)) {
        connection.wait_for("127.0.0.1:1");
      } else {
        connection.serve();
      }
    }
    pump(connection);
    CHECK_THAT(connection.opened() || target.clients_seen == 0, "the door is shut");
  }
  return 0;
}
