// Feeds arbitrary bytes to the wire and session layers over a small machine.
// The first byte chooses where the stream is cut in two and whether packets
// are framed for the fuzzer, so that it need not guess checksums.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "gdbstub/connection.h"
#include "tests/gdbstub/fake_target.h"

namespace {

using chronovisor::ByteView;

constexpr int kMaxWork = 64;  // breakpoint commands may run for ever

void pump(chronovisor::gdb::Connection& connection) {
  for (int i = 0; i < kMaxWork; ++i) {
    auto work = connection.take_work();
    if (!work) break;
    connection.finish_work(connection.run(*work));
  }
  connection.take_output();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::uint8_t choice = data[0];
  const ByteView input(data + 1, size - 1);
  chronovisor::gdb::FakeTarget target(60);
  target.position = 30;
  target.spins = false;
  chronovisor::gdb::Connection connection(target);
  if ((choice & 1) != 0) {
    // Each line is the content of one packet.
    std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      const std::string framed = chronovisor::gdb::frame_packet(text.substr(0, end));
      connection.receive(chronovisor::as_bytes(framed));
      pump(connection);
      text.remove_prefix(std::min(text.size(), end + 1));
    }
  } else {
    const std::size_t cut = input.size() * (choice >> 1) / 128;
    connection.receive(input.first(cut));
    pump(connection);
    connection.receive(input.subspan(cut));
    pump(connection);
  }
  return 0;
}
