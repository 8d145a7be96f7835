// The 82540EM as drivers use it: a driver of our own of two small rings, and drivers
// that mean harm.
#include <array>
#include <cstring>
#include <vector>

#include "tests/devices/device_test_support.h"
#include "vmm/devices/network/e1000.h"
#include "vmm/devices/network/e1000_registers.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;
using namespace chronovisor::e1000;

constexpr MacAddress kAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
constexpr std::uint64_t kRamBytes = 2 << 20;
constexpr std::uint32_t kTransmitRing = 0x1000;
constexpr std::uint32_t kReceiveRing = 0x2000;
constexpr std::uint32_t kRingCount = 16;
constexpr std::uint32_t kFrame = 0x8000;
constexpr std::uint32_t kBuffers = 0x20000;
constexpr std::uint32_t kBufferBytes = 2048;
constexpr std::uint64_t kEnd = std::uint64_t{1} << 24;  // of a packet
constexpr std::uint64_t kChecksum = std::uint64_t{4} << 24;
constexpr std::uint64_t kReport = std::uint64_t{8} << 24;
constexpr std::uint64_t kExtended = std::uint64_t{0x20} << 24;
constexpr std::uint64_t kVlan = std::uint64_t{0x40} << 24;
constexpr std::uint64_t kDelayed = std::uint64_t{0x80} << 24;
constexpr std::uint64_t kData = std::uint64_t{1} << 20;
constexpr std::uint64_t kSegmented = std::uint64_t{4} << 24;

struct NoMessages final : MessageInterrupts {
  void send_message_interrupt(std::uint64_t /*address*/, std::uint32_t /*data*/) override {}
};

struct SentFrames final : OutputSink {
  explicit SentFrames(RecordingBytes& everything) : all(everything) {}
  void put(const Output& output) override {
    all.put(output);
    CHECK(output.kind == OutputKind::frame);
    frames.emplace_back(output.payload.begin(), output.payload.end());
  }
  RecordingBytes& all;
  std::vector<Bytes> frames;
};

struct CardBench final : Bench {
  Ram ram{kRamBytes};
  DmaBus bus{ram};
  NoMessages messages;
  SentFrames sent{output};
  E1000 card{0, {0, 3, 0}, kAddress, messages, clock, bus, sent};
  std::uint32_t transmit_tail = 0;
  std::uint32_t receive_tail = 0;
  std::uint32_t receive_head = 0;

  CardBench() {
    lines.wire(card);
    card.reset();
    card.write_config(0x04, 2, 0x0007);
  }
  Device& device() override { return card; }

  void set(std::uint32_t offset, std::uint32_t value) { card.write_mmio(offset, 4, value); }
  std::uint32_t get(std::uint32_t offset) {
    return static_cast<std::uint32_t>(card.read_mmio(offset, 4));
  }
  void pass(std::uint64_t ns) { run_to(clock, card, clock.ns + ns); }
  void put(std::uint64_t address, ByteView bytes) { (void)ram.write({address}, bytes); }
  void put64(std::uint64_t address, std::uint64_t value) {
    std::array<std::uint8_t, 8> bytes{};
    std::memcpy(bytes.data(), &value, 8);
    put(address, bytes);
  }
  std::uint64_t get64(std::uint64_t address) {
    std::uint64_t value = 0;
    std::memcpy(&value, ram.host(*ram.offset_of({address})), 8);
    return value;
  }
  Bytes memory(std::uint64_t address, std::size_t size) {
    const std::uint8_t* from = ram.host(*ram.offset_of({address}));
    return {from, from + size};
  }

  /// As drivers do: rings, and the engines on.
  void start(std::uint32_t receive_control = rctl::kBroadcast | rctl::kStripCrc) {
    set(kTdbal, kTransmitRing);
    set(kTdlen, kRingCount * 16);
    set(kTctl, tctl::kEnable);
    set(kRdbal, kReceiveRing);
    set(kRdlen, kRingCount * 16);
    for (std::uint32_t n = 0; n < kRingCount; ++n) {
      put64(kReceiveRing + 16 * n, kBuffers + n * kBufferBytes);
      put64(kReceiveRing + 16 * n + 8, 0);
    }
    receive_tail = kRingCount - 1;
    set(kRdt, receive_tail);
    set(kRctl, receive_control | rctl::kEnable);
    set(kIms, interrupt::kRxt0 | interrupt::kTxdw | interrupt::kRxo);
  }
  void queue(std::uint64_t low, std::uint64_t high) {
    put64(kTransmitRing + 16 * transmit_tail, low);
    put64(kTransmitRing + 16 * transmit_tail + 8, high);
    transmit_tail = (transmit_tail + 1) % kRingCount;
  }
  void kick() { set(kTdt, transmit_tail); }
  void send(const Bytes& frame, std::uint64_t more = 0) {
    put(kFrame, frame);
    queue(kFrame, frame.size() | kEnd | kReport | more);
    kick();
  }
  void arrive(const Bytes& frame) { card.receive({InputKind::network_frame, 0, frame}); }
  [[nodiscard]] bool room() { return card.has_room(InputKind::network_frame); }
  /// What a driver's interrupt handler would take in: the next frame, or nothing.
  Bytes take() {
    Bytes frame;
    for (unsigned n = 0; n < kRingCount; ++n) {
      const std::uint64_t word = get64(kReceiveRing + 16 * receive_head + 8);
      if ((word >> 32 & 1) == 0) return {};
      last_word = word;
      const Bytes piece = memory(kBuffers + receive_head * kBufferBytes, word & 0xffff);
      frame.insert(frame.end(), piece.begin(), piece.end());
      put64(kReceiveRing + 16 * receive_head + 8, 0);
      receive_tail = receive_head;
      receive_head = (receive_head + 1) % kRingCount;
      set(kRdt, receive_tail);
      if ((word >> 32 & 2) != 0) return frame;
    }
    return frame;
  }
  std::uint64_t last_word = 0;

  std::uint64_t step(Random& random) override;
};

Bytes frame_to(const MacAddress& to, std::size_t size) {
  Bytes frame(size);
  for (std::size_t n = 0; n < size; ++n) frame[n] = static_cast<std::uint8_t>(n * 7 + n / 256);
  std::copy(to.begin(), to.end(), frame.begin());
  if (size >= 14) frame[12] = 0x88, frame[13] = 0xb5;
  return frame;
}
constexpr MacAddress kEverybody{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr MacAddress kSomebody{0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc};
constexpr MacAddress kGroup{0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb};

/// Ethernet, IPv4, TCP: 54 bytes, checksums as a driver with segmentation leaves them.
Bytes tcp_header(std::uint32_t sequence) {
  Bytes header(54);
  std::copy(kSomebody.begin(), kSomebody.end(), header.begin());
  std::copy(kAddress.begin(), kAddress.end(), header.begin() + 6);
  header[12] = 0x08;
  header[14] = 0x45;
  header[18] = 0x12;
  header[19] = 0xff;  // identification 12ffH
  header[22] = 64;
  header[23] = 6;
  const std::array<std::uint8_t, 8> addresses{10, 0, 2, 15, 10, 0, 2, 2};
  std::copy(addresses.begin(), addresses.end(), header.begin() + 26);
  set_network_word(header, 34, 4000);
  set_network_word(header, 36, 80);
  set_network_word(header, 38, static_cast<std::uint16_t>(sequence >> 16));
  set_network_word(header, 40, static_cast<std::uint16_t>(sequence));
  header[46] = 0x50;
  header[47] = 0x19;  // ACK, PSH, FIN
  const std::uint16_t pseudo = internet_sum(addresses, 6);
  set_network_word(header, 50, pseudo);
  return header;
}

std::uint64_t tcp_context_low() {
  return 14 | 24 << 8 | std::uint64_t{33} << 16 | std::uint64_t{34} << 32 | std::uint64_t{50} << 40;
}
std::uint64_t tcp_context_high(std::uint64_t command, std::uint64_t segment) {
  return kExtended | command << 24 | std::uint64_t{54} << 40 | segment << 48;
}

std::uint16_t eeprom_by_bits(CardBench& bench, unsigned address) {
  constexpr std::uint32_t kSelect = 2;
  const auto clock = [&](std::uint32_t in) {
    bench.set(kEecd, kSelect | in);
    bench.set(kEecd, kSelect | in | 1);
    const bool out = (bench.get(kEecd) & 8) != 0;
    bench.set(kEecd, kSelect | in);
    return out;
  };
  bench.set(kEecd, 0);
  bench.set(kEecd, kSelect);
  for (int bit = 8; bit >= 0; --bit) clock((6U << 6 | address) >> bit & 1 ? 4 : 0);
  std::uint16_t word = 0;
  for (int bit = 0; bit < 16; ++bit) {
    bench.set(kEecd, kSelect | 1);
    word = static_cast<std::uint16_t>(word << 1 | ((bench.get(kEecd) & 8) != 0 ? 1 : 0));
    bench.set(kEecd, kSelect);
  }
  bench.set(kEecd, 0);
  return word;
}

TEST_CASE("the card's address is in its EEPROM, by bits and by words, and in its filter") {
  CardBench bench;
  std::uint16_t sum = 0;
  for (unsigned n = 0; n < 64; ++n) {
    bench.set(kEerd, n << 8 | 1);
    const std::uint32_t read = bench.get(kEerd);
    CHECK((read & 0x10) != 0);
    CHECK((read >> 16) == eeprom_by_bits(bench, n));
    sum = static_cast<std::uint16_t>(sum + (read >> 16));
  }
  CHECK(sum == 0xbaba);
  CHECK(eeprom_by_bits(bench, 0) == 0x5452);
  CHECK(bench.get(kRa) == 0x12005452);
  CHECK(bench.get(kRa + 4) == 0x80005634);
  bench.set(kEecd, 0x40);
  CHECK((bench.get(kEecd) & 0x180) == 0x180);
}

TEST_CASE("the PHY tells who it is and that the link is up, until it is powered down") {
  CardBench bench;
  const auto mdi = [&](unsigned number, std::uint32_t command, unsigned phy = 1) {
    bench.set(kMdic, command | phy << 21 | number << 16);
    return bench.get(kMdic);
  };
  CHECK((mdi(2, 2U << 26) & 0x1000ffff) == 0x10000141);
  CHECK((mdi(3, 2U << 26) & 0xffff) == 0x0c20);
  CHECK((mdi(1, 2U << 26) & 0x24) == 0x24);
  CHECK((mdi(2, 2U << 26, 5) >> 30 & 1) == 1);
  CHECK((bench.get(kStatus) & 2) != 0);
  bench.get(kIcr);
  bench.set(kMdic, 1U << 26 | 1U << 21 | 0x1940);
  CHECK((bench.get(kStatus) & 2) == 0);
  CHECK((bench.get(kIcr) & interrupt::kLsc) != 0);
  bench.start();
  bench.send(frame_to(kSomebody, 100));
  CHECK(bench.sent.frames.empty());
}

TEST_CASE("a frame is sent as it is, padded when it is short, and reported") {
  CardBench bench;
  bench.start();
  const Bytes frame = frame_to(kSomebody, 500);
  bench.send(frame);
  REQUIRE(bench.sent.frames.size() == 1);
  CHECK(bench.sent.frames[0] == frame);
  CHECK((bench.get64(kTransmitRing + 8) >> 32 & 1) == 1);
  CHECK(bench.get(kTdh) == 1);
  CHECK(bench.lines.level);
  CHECK((bench.get(kIcr) & interrupt::kTxdw) != 0);
  CHECK_FALSE(bench.lines.level);
  bench.pass(1'000'000);
  bench.send(frame_to(kSomebody, 20));
  REQUIRE(bench.sent.frames.size() == 2);
  CHECK(bench.sent.frames[1].size() == 60);
  CHECK(bench.get(kGptc) == 2);
  CHECK(bench.get(kGptc) == 0);  // clear on read
  CHECK(bench.get(kGotcl) == 504 + 64);
}

TEST_CASE("a frame of several descriptors is one, and gets the checksum that a driver asks for") {
  CardBench bench;
  bench.start();
  Bytes frame = tcp_header(1);
  frame.resize(200, 0x5a);
  set_network_word(frame, 16, 186);
  set_network_word(frame, 50, internet_sum(ByteView(frame).subspan(26, 8), 6 + 166));
  bench.put(kFrame, frame);
  bench.queue(kFrame, 20);
  bench.queue(kFrame + 20, 80);
  bench.queue(kFrame + 100,
              100 | kEnd | kChecksum | std::uint64_t{50} << 16 | std::uint64_t{34} << 40);
  bench.kick();
  REQUIRE(bench.sent.frames.size() == 1);
  CHECK(bench.sent.frames[0].size() == 200);
  const ChecksumFindings found = check_sums(bench.sent.frames[0]);
  CHECK(found.transport_good);
  CHECK_FALSE(found.ipv4_good);  // nobody asked for that one
}

TEST_CASE("a large TCP payload is cut into segments with right numbers, flags and checksums") {
  CardBench bench;
  bench.start();
  constexpr std::uint32_t kSequence = 0xfffffa00;  // it wraps
  Bytes all = tcp_header(kSequence);
  for (unsigned n = 0; n < 4000; ++n) all.push_back(static_cast<std::uint8_t>(n * 13));
  bench.put(kFrame, all);
  bench.queue(tcp_context_low(), tcp_context_high(0x07, 1460));
  const std::uint64_t both = std::uint64_t{3} << 40;
  bench.queue(kFrame, 54 | kExtended | kData | kSegmented | both);
  bench.queue(kFrame + 54, 1000 | kExtended | kData | kSegmented);
  bench.queue(kFrame + 1054, 3000 | kExtended | kData | kSegmented | kEnd | kReport);
  bench.kick();
  REQUIRE(bench.sent.frames.size() == 3);
  Bytes payload;
  for (unsigned n = 0; n < 3; ++n) {
    const Bytes& frame = bench.sent.frames[n];
    CAPTURE(n);
    CHECK(frame.size() == (n < 2 ? 1514 : 54 + 1080));
    const ChecksumFindings found = check_sums(frame);
    CHECK(found.ipv4_good);
    CHECK(found.transport_good);
    CHECK(network_word(frame, 18) == 0x12ff + n);
    const std::uint32_t sequence =
        std::uint32_t{network_word(frame, 38)} << 16 | network_word(frame, 40);
    CHECK(sequence == kSequence + n * 1460);
    CHECK(int{frame[47]} == (n < 2 ? 0x10 : 0x19));
    payload.insert(payload.end(), frame.begin() + 54, frame.end());
  }
  CHECK(payload == Bytes(all.begin() + 54, all.end()));
  CHECK(bench.get(kTsctc) == 1);
}

TEST_CASE("a payload that fills its segments makes no empty one behind them") {
  CardBench bench;
  bench.start();
  Bytes all = tcp_header(5);
  all.resize(54 + 2 * 1000, 1);
  bench.put(kFrame, all);
  bench.queue(tcp_context_low(), tcp_context_high(0x07, 1000));
  bench.queue(kFrame, all.size() | kExtended | kData | kSegmented | kEnd | std::uint64_t{3} << 40);
  bench.kick();
  REQUIRE(bench.sent.frames.size() == 2);
  CHECK(bench.sent.frames[0][47] == 0x10);
  CHECK(bench.sent.frames[1][47] == 0x19);
}

TEST_CASE("VLAN tags are put in and taken out where the driver says so") {
  CardBench bench;
  bench.start();
  bench.set(kCtrl, bench.get(kCtrl) | ctrl::kVlanMode);
  const Bytes frame = frame_to(kAddress, 100);
  bench.send(frame, kVlan | std::uint64_t{0x2005} << 48);
  REQUIRE(bench.sent.frames.size() == 1);
  const Bytes tagged = bench.sent.frames[0];
  CHECK(tagged.size() == 104);
  CHECK(network_word(tagged, 12) == 0x8100);
  CHECK(network_word(tagged, 14) == 0x2005);
  bench.arrive(tagged);
  CHECK(bench.take() == frame);
  CHECK((bench.last_word >> 32 & 8) != 0);
  CHECK((bench.last_word >> 48) == 0x2005);
  bench.set(kRctl, bench.get(kRctl) | rctl::kVlanFilter);
  bench.arrive(tagged);
  CHECK(bench.take().empty());
  bench.set(kVfta, 1U << 5);
  bench.arrive(tagged);
  CHECK(bench.take() == frame);
}

TEST_CASE("a received frame fills as many buffers as it needs, with its check sequence") {
  CardBench bench;
  bench.start(rctl::kBroadcast | rctl::kLongPackets);
  bench.set(kRctl, bench.get(kRctl) | 3U << rctl::kSizeShift);  // 256 bytes
  Bytes frame = frame_to(kAddress, 1000);
  bench.arrive(frame);
  CHECK(bench.get(kRdh) == 4);
  const Bytes taken = bench.take();
  REQUIRE(taken.size() == 1004);
  CHECK(std::equal(frame.begin(), frame.end(), taken.begin()));
  // The residue of a CRC-32 over data and its own check sequence.
  CHECK(frame_check_sequence(taken) == ~std::uint32_t{0xdebb20e3});
  CHECK((bench.get(kIcr) & interrupt::kRxt0) != 0);
}

TEST_CASE("frames come by exact address, broadcast, hash and promiscuity, and no others") {
  CardBench bench;
  bench.start(rctl::kStripCrc);
  const auto comes = [&](const MacAddress& to) {
    bench.arrive(frame_to(to, 80));
    return !bench.take().empty();
  };
  CHECK(comes(kAddress));
  CHECK_FALSE(comes(kSomebody));
  CHECK_FALSE(comes(kEverybody));
  CHECK_FALSE(comes(kGroup));
  bench.set(kRctl, bench.get(kRctl) | rctl::kBroadcast);
  CHECK(comes(kEverybody));
  const unsigned hash = (0xfbU << 8 >> 4) & 0xfff;
  bench.set(kMta + hash / 32 * 4, 1U << (hash % 32));
  CHECK(comes(kGroup));
  CHECK((bench.last_word >> 32 & 0x80) != 0);  // the driver must look itself
  CHECK_FALSE(comes({0x01, 0, 0x5e, 0, 0, 0x01}));
  bench.set(kRctl, bench.get(kRctl) | rctl::kMulticastPromiscuous);
  CHECK(comes({0x01, 0, 0x5e, 0, 0, 0x01}));
  CHECK_FALSE(comes(kSomebody));
  bench.set(kRctl, bench.get(kRctl) | rctl::kUnicastPromiscuous);
  CHECK(comes(kSomebody));
  bench.set(kRa + 4, 0);
  bench.set(kRctl, rctl::kEnable);
  CHECK_FALSE(comes(kAddress));
}

TEST_CASE("the card says of received checksums whether they are right") {
  CardBench bench;
  bench.start();
  bench.set(kRxcsum, rxcsum::kIp | rxcsum::kTransport);
  Bytes frame = tcp_header(9);
  frame.resize(100, 3);
  std::copy(kAddress.begin(), kAddress.end(), frame.begin());
  set_network_word(frame, 16, 86);
  set_network_word(frame, 24, 0);
  set_network_word(frame, 24,
                   static_cast<std::uint16_t>(~internet_sum(ByteView(frame).subspan(14, 20))));
  set_network_word(frame, 50, 0);
  const std::uint32_t pseudo = internet_sum(ByteView(frame).subspan(26, 8), 6 + 66);
  set_network_word(frame, 50,
                   static_cast<std::uint16_t>(~internet_sum(ByteView(frame).subspan(34), pseudo)));
  bench.arrive(frame);
  CHECK(bench.take() == frame);
  CHECK((bench.last_word >> 32 & 0xffff) == 0x0063);  // DD, EOP, both checked, no errors
  frame[60] ^= 1;
  bench.arrive(frame);
  CHECK(bench.take() == frame);
  CHECK((bench.last_word >> 40 & 0xff) == 0x20);
  frame[27] ^= 1;
  bench.arrive(frame);
  bench.take();
  CHECK((bench.last_word >> 40 & 0xff) == 0x60);
}

TEST_CASE("without room the card says so, and a frame that comes all the same is counted") {
  CardBench bench;
  bench.start();
  for (unsigned n = 0; n < kRingCount - 1; ++n) {
    CHECK(bench.room());
    bench.arrive(frame_to(kAddress, 60));
  }
  CHECK_FALSE(bench.room());
  bench.get(kIcr);
  bench.arrive(frame_to(kAddress, 60));
  CHECK((bench.get(kIcr) & interrupt::kRxo) != 0);
  CHECK(bench.get(kRnbc) == 1);
  CHECK_FALSE(bench.take().empty());
  CHECK(bench.room());
  bench.set(kRctl, 0);  // nobody listens: it may come and is gone
  CHECK(bench.room());
}

TEST_CASE("interrupts wait for the receive timer and keep their distance") {
  CardBench bench;
  bench.start();
  bench.set(kRdtr, 100);
  bench.set(kRadv, 150);
  bench.arrive(frame_to(kAddress, 60));
  bench.pass(80 * 1024);
  bench.arrive(frame_to(kAddress, 60));
  bench.pass(60 * 1024);
  CHECK_FALSE(bench.lines.level);
  bench.pass(11 * 1024);  // the absolute limit
  CHECK(bench.lines.level);
  bench.set(kRdtr, 0);
  bench.get(kIcr);
  bench.set(kItr, 1000);
  bench.arrive(frame_to(kAddress, 60));
  CHECK(bench.lines.level);
  bench.get(kIcr);
  bench.arrive(frame_to(kAddress, 60));
  CHECK_FALSE(bench.lines.level);
  bench.pass(1000 * 256);
  CHECK(bench.lines.level);
}

TEST_CASE("many frames leave at the speed of the line") {
  CardBench bench;
  bench.start();
  bench.put(kFrame, frame_to(kSomebody, 1514));
  for (unsigned n = 0; n < kRingCount - 1; ++n) bench.queue(kFrame, 1514 | kEnd);
  bench.kick();
  const std::size_t at_once = bench.sent.frames.size();
  CHECK(at_once >= 10);
  CHECK(at_once < kRingCount - 1);
  bench.pass(15 * 1538 * 8);
  CHECK(bench.sent.frames.size() == kRingCount - 1);
}

TEST_CASE("what is sent comes back in loopback, and goes nowhere else") {
  CardBench bench;
  bench.start();
  bench.set(kRctl, bench.get(kRctl) | rctl::kLoopback);
  const Bytes frame = frame_to(kAddress, 90);
  bench.send(frame);
  CHECK(bench.take() == frame);
  CHECK(bench.sent.frames.empty());
  bench.arrive(frame_to(kAddress, 90));
  CHECK(bench.take().empty());
}

TEST_CASE("frames of no length and of every length come, and none is longer than allowed") {
  CardBench bench;
  bench.start(rctl::kBroadcast | rctl::kLongPackets | rctl::kStripCrc | rctl::kUnicastPromiscuous);
  for (const std::size_t size : {0, 1, 13, 14, 59, 60, 1514, 1518, 9000, 16384}) {
    CAPTURE(size);
    Bytes frame = size < 14 ? Bytes(size, 2) : frame_to(kAddress, size);
    bench.arrive(frame);
    const Bytes taken = bench.take();
    if (size < 14) {
      CHECK(taken.empty());
    } else {
      frame.resize(std::max<std::size_t>(size, 60));
      CHECK(taken == frame);
    }
  }
  for (const std::size_t size : {16385, 65535, 1 << 20}) {
    bench.arrive(frame_to(kAddress, size));
    CHECK(bench.take().empty());
  }
  CHECK(bench.get(kRoc) == 3);
  CHECK(bench.get(kRuc) == 3);
}

TEST_CASE("rings in no memory, at its end, and around themselves end nothing") {
  CardBench bench;
  for (const std::uint64_t base :
       {std::uint64_t{0xfebc0000}, std::uint64_t{kRamBytes - 16}, std::uint64_t{0xa0000},
        ~std::uint64_t{15}, std::uint64_t{kReceiveRing}}) {
    CAPTURE(base);
    bench.start(rctl::kUnicastPromiscuous | rctl::kStripCrc);
    bench.set(kTdbal, static_cast<std::uint32_t>(base));
    bench.set(kTdbah, static_cast<std::uint32_t>(base >> 32));
    bench.set(kRdbal, static_cast<std::uint32_t>(base));
    bench.set(kRdbah, static_cast<std::uint32_t>(base >> 32));
    bench.set(kTdlen, 0xfffff);
    bench.set(kTdt, 60000);
    bench.arrive(frame_to(kAddress, 1500));
    bench.pass(10'000'000);
    bench.set(kTdt, 0xffff);  // outside of the ring: it stands still
    bench.pass(10'000'000);
    CHECK(bench.card.next_deadline_ns() >= bench.clock.ns);
    bench.set(kTdbah, 0);
    bench.set(kRdbah, 0);
    bench.set(kCtrl, ctrl::kReset);
  }
  // A ring whose descriptors are overwritten by the frames that it receives, in loopback.
  bench.start(rctl::kUnicastPromiscuous | rctl::kLoopback);
  for (unsigned n = 0; n < kRingCount; ++n) bench.put64(kReceiveRing + 16 * n, kTransmitRing);
  bench.transmit_tail = 0;
  bench.set(kTdh, 0);
  for (unsigned n = 0; n < kRingCount - 1; ++n) bench.queue(kFrame, 1000 | kEnd | kReport);
  bench.kick();
  bench.pass(1'000'000);
}

/// Descriptors of any content in rings of any shape, and whatever else a driver may do.
std::uint64_t CardBench::step(Random& random) {
  constexpr std::array<std::uint32_t, 35> kRegisters{
      kCtrl,  kEecd,  kEerd,   kMdic, kVet, kIcr,  kItr,  kIcs,   kIms,   kImc,   kRctl,   kTctl,
      kRdbal, kRdbah, kRdlen,  kRdh,  kRdt, kRdtr, kRadv, kTdbal, kTdbah, kTdlen, kTdh,    kTdt,
      kTidv,  kTadv,  kRxcsum, kMta,  kRa,  kVfta, kTipg, kPba,   kMpc,   kGprc,  kCtrlExt};
  const auto any = static_cast<std::uint32_t>(random());
  switch (below(random, 12)) {
    case 0:
      random_pass(*this, random);
      return 0;
    case 1:
      start(any & 0x060ff3fe);
      return 0;
    case 2:
    case 3: {
      const std::uint64_t length = below(random, 8) == 0 ? any : below(random, 300);
      std::uint64_t high = (length & 0xfffff) | random() << 24;
      if (below(random, 4) == 0) high = kExtended | below(random, 2) << 20 | random() << 32;
      high |= below(random, 2) << 20 | below(random, 2) * kEnd;
      queue(below(random, 4) == 0 ? random() : kFrame + below(random, 4096), high);
      if (below(random, 2) == 0) kick();
      return get(kTdh);
    }
    case 4: {
      const std::size_t size = below(random, 16) == 0 ? below(random, 65536) : below(random, 200);
      Bytes frame =
          size < 14 ? Bytes(size) : frame_to(below(random, 2) == 0 ? kAddress : kGroup, size);
      if (size > 20 && below(random, 2) == 0) frame[12] = 0x81, frame[13] = 0;
      arrive(frame);
      return room() ? 1 : 0;
    }
    case 5:
      (void)take();
      return last_word;
    case 6: {
      const std::uint32_t offset = kRegisters[below(random, kRegisters.size())];
      set(offset + 4 * static_cast<std::uint32_t>(below(random, 4)),
          below(random, 2) == 0 ? any : any & 0x3ff);
      return 0;
    }
    case 7:
      return get(kRegisters[below(random, kRegisters.size())]);
    case 8:
      set(kMdic, (any & 0x3c1fffff) | 1U << 21);
      return get(kMdic);
    case 9:
      return eeprom_by_bits(*this, any & 63);
    case 10:
      set(kEecd, any & 0x7f);
      return get(kEecd);
    default:
      return card.read_config(static_cast<std::uint8_t>(any & 0xfc), 4);
  }
}

TEST_CASE("the card's state survives a round trip") {
  struct NoMemory final : Bench {
    // Without RAM where the rings are every descriptor reads as all ones, in both of a pair.
    Ram ram{1 << 20};
    DmaBus bus{ram};
    NoMessages messages;
    E1000 card{0, {0, 3, 0}, kAddress, messages, clock, bus, output};
    NoMemory() {
      lines.wire(card);
      FirmwareFacts facts;
      const Placement usual;
      Declaration declaration(usual, facts);
      card.declare(declaration);
      ports = declaration.port_windows().at(0).device;
      card.reset();
      card.write_config(0x04, 2, 0x0007);
    }
    PortDevice* ports = nullptr;
    Device& device() override { return card; }
    void set(std::uint32_t offset, std::uint32_t value) { card.write_mmio(offset, 4, value); }
    std::uint64_t step(Random& random) override {
      const auto any = static_cast<std::uint32_t>(random());
      switch (below(random, 10)) {
        case 0:
          random_pass(*this, random);
          return 0;
        case 1:
          set(kTdbal, 0x100000);
          set(kTdlen, below(random, 40) == 0 ? 0xfff80 : 2048);
          set(kTctl, tctl::kEnable);
          set(kIms, any);
          set(kTdt, below(random, 8) == 0 ? any & 0x3fff : any & 127);
          return card.read_mmio(kTdh, 4);
        case 2:
          set(kRdbal, 0x100000);
          set(kRdlen, 2048);
          set(kRdt, any & 127);
          set(kRctl, (any & 0x060ff3fe) | rctl::kEnable);
          return 0;
        case 3: {
          Bytes frame = frame_to(below(random, 2) == 0 ? kAddress : kEverybody, 14 + any % 3000);
          card.receive({InputKind::network_frame, 0, frame});
          return card.has_room(InputKind::network_frame) ? 1 : 0;
        }
        case 4:
          set(kMdic, (any & 0x3c1fffff) | 1U << 21);
          return card.read_mmio(kMdic, 4);
        case 5:
          set(kEecd, any & 0x7f);
          return card.read_mmio(kEecd, 4);
        case 6:
          set(kEerd, any);
          set(kRdtr, any & 0xff);
          set(kRadv, any >> 8 & 0xff);
          set(kTidv, any >> 16 & 0xff);
          set(kTadv, any >> 24 & 0xff);
          set(kItr, any & 0xfff);
          return 0;
        case 7: {
          constexpr std::array kTables{kMta, kRa, kVfta, kCtrl, kIcs, kImc, kIms};
          set(kTables[below(random, kTables.size())] + 4 * (any & 3),
              static_cast<std::uint32_t>(random()) & ~ctrl::kReset);
          return 0;
        }
        case 8:
          ports->write_port(0, 4, any);
          card.read_mmio(kIcr, 4);
          return card.read_mmio(kStatistics + (any & 0xfc), 4);
        default:
          return eeprom(any & 63);
      }
    }
    std::uint64_t eeprom(unsigned address) {
      for (int bit = 8; bit >= 0; --bit) {
        const std::uint32_t in = (6U << 6 | address) >> bit & 1 ? 4 : 0;
        set(kEecd, 2 | in);
        set(kEecd, 3 | in);
        set(kEecd, 2 | in);
      }
      return card.read_mmio(kEecd, 4);
    }
  };
  // What is gathered needs memory with descriptors in it; the test below has that.
  check_round_trip(
      [] { return std::make_unique<NoMemory>(); },
      {"pci.intx", "transmit.header", "transmit.segments", "transmit.gathered", "transmit.open",
       "transmit.segmented", "transmit.too_long", "vlan_tag", "insert_vlan", "transmit.insert_ip",
       "transmit.insert_transport", "transmit.contexts"});
}

TEST_CASE("a frame half gathered goes on after a round trip") {
  CardBench first;
  first.start();
  first.set(kCtrl, first.get(kCtrl) | ctrl::kVlanMode);
  Bytes all = tcp_header(77);
  all.resize(3000, 9);
  first.put(kFrame, all);
  first.queue(tcp_context_low(), tcp_context_high(0x07, 1000));
  first.queue(kFrame, 2000 | kExtended | kData | kSegmented | kVlan | std::uint64_t{3} << 40 |
                          std::uint64_t{7} << 48);
  first.kick();
  CHECK(first.sent.frames.size() == 1);
  CardBench second;
  load(second.card, save(first.card));
  second.card.state_restored();
  second.put(0, first.memory(0, 0x10000));
  second.transmit_tail = first.transmit_tail;
  for (CardBench* bench : {&first, &second}) {
    bench->sent.frames.clear();
    bench->queue(kFrame + 2000, 1000 | kExtended | kData | kSegmented | kEnd | kReport);
    bench->kick();
    bench->pass(1'000'000);
  }
  CHECK(first.sent.frames.size() == 2);
  CHECK(first.sent.frames == second.sent.frames);
  CHECK(check_sums(second.sent.frames[1]).transport_good);
  CHECK(save(first.card) == save(second.card));
}

TEST_CASE("no driver brings the card out of order") {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    CardBench bench;
    bench.start();
    for (unsigned n = 0; n < 400; ++n) {
      (void)bench.step(random);
      REQUIRE(bench.lines.deadlines.next_ns() == bench.card.next_deadline_ns());
      for (const Bytes& frame : bench.sent.frames) {
        REQUIRE(frame.size() >= 60);
        REQUIRE(frame.size() <= 16384);
      }
      bench.sent.frames.clear();
      bench.output.text.clear();
    }
    // Whatever it was: a reset makes a card of it that works.
    bench.card.write_config(0x04, 2, 0x0007);
    bench.set(kMdic, 1U << 26 | 1U << 21 | 0x9140);
    bench.set(kCtrl, ctrl::kReset);
    bench.transmit_tail = 0;
    bench.receive_head = 0;
    bench.start();
    bench.send(frame_to(kSomebody, 70));
    REQUIRE(bench.sent.frames.size() == 1);
    bench.arrive(frame_to(kAddress, 70));
    REQUIRE(bench.take().size() == 70);
  }
}

}  // namespace
}  // namespace chronovisor
