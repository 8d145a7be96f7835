// A session over a FakeTarget, for tests that look at exact packets.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "gdbstub/session.h"
#include "tests/gdbstub/fake_target.h"

namespace chronovisor::gdb {

struct SessionFixture {
  FakeTarget target;
  Session session{target};
  std::atomic<bool> cancel = false;

  explicit SessionFixture(std::uint64_t history = 100) : target(history) {}

  /// All packets that `packet` leads to, with its work run to the end.
  std::vector<std::string> all(std::string_view packet) {
    Answer answer = session.handle(packet);
    std::vector<std::string> out = answer.packets;
    while (answer.work) {
      answer = answer.work(cancel);
      out.insert(out.end(), answer.packets.begin(), answer.packets.end());
    }
    return out;
  }
  /// The only packet that `packet` leads to.
  std::string one(std::string_view packet) {
    const std::vector<std::string> packets = all(packet);
    return packets.size() == 1 ? packets[0]
                               : join({"<", std::to_string(packets.size()), " packets>"});
  }
  void gdb_offers() { one("qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+"); }

  static std::string console(std::string_view text) { return join({"O", hex_text(text)}); }
  /// The registers in a stop reply at `position`, and the thread.
  static std::string registers(std::uint64_t position, std::string_view thread = "1") {
    return "06:003f000000000000;07:f03e000000000000;10:" + little_endian(0x1000 + position % 10) +
           ";11:02020000;12:10000000;thread:" + std::string(thread) + ";core:0;";
  }
  static std::string little_endian(std::uint64_t value) {
    Bytes raw;
    for (int i = 0; i < 8; ++i) raw.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    return hex_bytes(raw);
  }
};

}  // namespace chronovisor::gdb
