// A segment as several machines see it, and the faults that are asked of it.
#include "host/network/network_switch.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace chronovisor {
namespace {

/// From machine `from` to machine `to` (0: everybody), with a number.
Bytes frame(std::uint8_t from, std::uint8_t to, std::uint8_t number = 0) {
  Bytes bytes(60);
  if (to == 0) {
    std::fill_n(bytes.begin(), 6, std::uint8_t{0xff});
  } else {
    bytes[0] = 0x52;
    bytes[5] = to;
  }
  bytes[6] = 0x52;
  bytes[11] = from;
  bytes[20] = number;
  return bytes;
}

std::vector<NetworkSwitch::Port> ports_of(const std::vector<NetworkSwitch::Departure>& leaving) {
  std::vector<NetworkSwitch::Port> ports;
  for (const auto& departure : leaving) ports.push_back(departure.port);
  return ports;
}

NetworkSwitch three(const SwitchFaults& faults = {}) {
  NetworkSwitch made(faults);
  for (const NetworkSwitch::Port port : {1U, 2U, 3U}) made.add_port(port);
  return made;
}

TEST_CASE("a frame goes to everybody else until the switch knows where its machine is") {
  NetworkSwitch segment = three();
  segment.receive(1, frame(1, 2), 0);
  CHECK(ports_of(segment.take(0)) == std::vector<NetworkSwitch::Port>{2, 3});
  segment.receive(2, frame(2, 1), 0);
  CHECK(ports_of(segment.take(0)) == std::vector<NetworkSwitch::Port>{1});
  segment.receive(1, frame(1, 2), 0);
  CHECK(ports_of(segment.take(0)) == std::vector<NetworkSwitch::Port>{2});
  segment.receive(3, frame(3, 0), 0);
  CHECK(ports_of(segment.take(0)) == std::vector<NetworkSwitch::Port>{1, 2});
  segment.receive(2, frame(1, 3), 0);  // machine 1 has moved
  (void)segment.take(0);
  segment.receive(3, frame(3, 1), 0);
  CHECK(ports_of(segment.take(0)) == std::vector<NetworkSwitch::Port>{2});
  segment.receive(1, frame(4, 4), 0);  // to a machine at the same port
  CHECK(segment.take(0).empty());
  segment.remove_port(2);
  segment.receive(3, frame(3, 1), 0);
  CHECK(ports_of(segment.take(0)) == std::vector<NetworkSwitch::Port>{1});
}

TEST_CASE("what is shorter than a header is no frame") {
  NetworkSwitch segment = three();
  for (std::size_t size = 0; size < 14; ++size) segment.receive(1, Bytes(size), 0);
  CHECK(segment.take(0).empty());
  CHECK(segment.counts().malformed == 14);
}

/// What arrives at machine 2 of 1,000 numbered frames, 1 ms apart.
std::vector<Bytes> arrivals(const SwitchFaults& faults, SwitchCounts& counts) {
  NetworkSwitch segment(faults);
  segment.add_port(1);
  segment.add_port(2);
  std::vector<Bytes> out;
  for (std::uint64_t n = 0; n < 1100; ++n) {
    if (n < 1000) {
      Bytes sent = frame(1, 2, static_cast<std::uint8_t>(n));
      sent[21] = static_cast<std::uint8_t>(n / 256);
      segment.receive(1, sent, n * 1'000'000);
    }
    for (auto& departure : segment.take(n * 1'000'000)) out.push_back(departure.frame);
  }
  counts = segment.counts();
  CHECK_FALSE(segment.next_ns());
  return out;
}
std::size_t number_of(const Bytes& bytes) { return bytes[20] + std::size_t{bytes[21]} * 256; }

TEST_CASE("each fault happens as often as asked, and again alike with the same seed") {
  SwitchCounts counts;
  const std::vector<Bytes> sound = arrivals({}, counts);
  REQUIRE(sound.size() == 1000);
  CHECK(std::is_sorted(sound.begin(), sound.end(),
                       [](const Bytes& a, const Bytes& b) { return number_of(a) < number_of(b); }));
  const SwitchFaults all{.seed = 5,
                         .drop = 0.1,
                         .duplicate = 0.1,
                         .reorder = 0.1,
                         .corrupt = 0.1,
                         .delay_ns = 2'000'000,
                         .jitter_ns = 3'000'000};
  const std::vector<Bytes> first = arrivals(all, counts);
  CHECK(counts.dropped > 50);
  CHECK(counts.dropped < 200);
  CHECK(counts.duplicated > 50);
  CHECK(counts.corrupted > 50);
  CHECK(counts.reordered > 30);
  CHECK(first.size() == 1000 - counts.dropped + counts.duplicated);
  SwitchCounts again;
  CHECK(arrivals(all, again) == first);
  SwitchFaults other = all;
  other.seed = 6;
  CHECK(arrivals(other, again) != first);
}

TEST_CASE("a dropped frame is gone, a doubled one comes twice, a corrupt one differs by a bit") {
  SwitchCounts counts;
  CHECK(arrivals({.drop = 1}, counts).empty());
  CHECK(counts.dropped == 1000);
  const std::vector<Bytes> twice = arrivals({.duplicate = 1}, counts);
  REQUIRE(twice.size() == 2000);
  CHECK(twice[0] == twice[1]);
  NetworkSwitch segment = three({.corrupt = 1});
  segment.receive(1, frame(1, 0), 0);
  const auto leaving = segment.take(0);
  REQUIRE_FALSE(leaving.empty());
  int bits = 0;
  const Bytes sent = frame(1, 0);
  for (std::size_t n = 0; n < sent.size(); ++n) {
    bits += __builtin_popcount(static_cast<unsigned>(sent[n] ^ leaving[0].frame[n]));
  }
  CHECK(bits == 1);
}

TEST_CASE("a frame that is held back comes after the next, or after a while") {
  NetworkSwitch segment(SwitchFaults{.reorder = 1});
  segment.add_port(1);
  segment.add_port(2);
  segment.receive(1, frame(1, 2, 1), 0);
  CHECK(segment.take(0).empty());
  segment.receive(1, frame(1, 2, 2), 1000);
  const auto both = segment.take(1000);
  REQUIRE(both.size() == 2);
  CHECK(number_of(both[0].frame) == 2);
  CHECK(number_of(both[1].frame) == 1);
  segment.receive(1, frame(1, 2, 3), 2000);
  REQUIRE(segment.next_ns());
  CHECK(segment.take(*segment.next_ns()).size() == 1);
}

TEST_CASE("delays are kept, and what waits is bounded") {
  NetworkSwitch segment = three({.delay_ns = 5000});
  segment.receive(1, frame(1, 0), 100);
  CHECK(segment.take(5099).empty());
  CHECK(segment.next_ns() == 5100);
  CHECK(segment.take(5100).size() == 2);
  for (int n = 0; n < 70'000; ++n) segment.receive(1, frame(1, 0), 0);
  CHECK(segment.counts().overflowed > 0);
  CHECK(segment.take(5000).size() <= NetworkSwitch::kMostWaiting);
}

TEST_CASE("addresses without end do not fill the switch") {
  NetworkSwitch segment = three();
  for (unsigned n = 0; n < 10'000; ++n) {
    Bytes sent = frame(1, 2);
    sent[8] = static_cast<std::uint8_t>(n >> 8);
    sent[9] = static_cast<std::uint8_t>(n);
    segment.receive(1, sent, 0);
    (void)segment.take(0);
  }
  segment.receive(2, frame(2, 0), 0);
  (void)segment.take(0);
  segment.receive(1, frame(9, 2), 0);
  CHECK(ports_of(segment.take(0)) == std::vector<NetworkSwitch::Port>{2});
}

}  // namespace
}  // namespace chronovisor
