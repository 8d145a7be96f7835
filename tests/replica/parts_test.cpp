#include <doctest/doctest.h>

#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "recorder/format/chunk.h"
#include "recorder/format/input_log.h"
#include "replica/backup/announcement.h"
#include "replica/backup/block_store.h"
#include "replica/backup/follow_input.h"
#include "replica/backup/received_log.h"
#include "replica/primary/output_gate.h"
#include "replica/transport/arbiter.h"
#include "replica/transport/link.h"
#include "replica/transport/tls_channel.h"
#include "tests/temporary_folder.h"

namespace chronovisor::replica {
namespace {

using testing::TemporaryFolder;

/// Says what left, in order.
class Listener final : public OutputObserver {
 public:
  void output(Position position, const Output& output) override {
    said += std::to_string(position.steps) + ":" +
            std::string(output.payload.begin(), output.payload.end()) + " ";
  }
  std::string said;
};

void put(OutputGate& gate, std::uint64_t position, const std::string& text) {
  gate.output({position}, {OutputKind::serial, 0, as_bytes(text)});
}

constexpr FileId kFile{};

Bytes input_chunk(std::uint64_t sequence, const std::vector<InputEvent>& events,
                  const FileId& file = kFile) {
  InputLogEncoder encoder;
  encoder.begin(events.front().position);
  for (const InputEvent& event : events) encoder.add(event);
  return ChunkEncoder().encode(ChunkType::input_log, sequence, file,
                               encoder.finish(events.back().position), 0);
}

InputEvent key(std::uint64_t position, std::uint64_t idle_ns = 0) {
  return {{position}, idle_ns, InputKind::key, 0, {1}};
}

std::array<Descriptor, 2> socket_pair() {
  std::array<int, 2> ends{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

constexpr Address kTcp{Address::Kind::tcp, {}, 0};

/// Speaks over TLS by turns. @return what came, or why nothing can
std::string say_over_tls(const PresharedKey& client_key, const PresharedKey& server_key) {
  auto ends = socket_pair();
  Link client(make_channel(kTcp, std::move(ends[0]), ChannelEnd::connects, client_key));
  Link server(make_channel(kTcp, std::move(ends[1]), ChannelEnd::accepts, server_key));
  client.send(Alive{42});
  try {
    for (int turn = 0; turn < 50; ++turn) {
      client.write();
      client.read();
      server.read();
      server.write();
      if (const auto message = server.next()) {
        return std::to_string(std::get<Alive>(*message).released);
      }
    }
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing";
}

}  // namespace

TEST_CASE("a gate lets out what is allowed, in order, and the rest when it is") {
  OutputGate gate(OutputGate::Begins::open);
  Listener listener;
  gate.outside().attach(listener);
  put(gate, 1, "a");
  gate.allow(1);
  put(gate, 2, "b");
  put(gate, 3, "c");
  CHECK(listener.said == "1:a ");
  CHECK(gate.counts().held == 2);
  gate.allow(2);
  CHECK(listener.said == "1:a 2:b ");
  gate.allow(kNever);
  put(gate, 4, "d");
  CHECK(listener.said == "1:a 2:b 3:c 4:d ");
  CHECK(gate.released() == 4);
  CHECK(gate.held_bytes() == 0);
}

TEST_CASE("a backup's gate sends what is not known to have left, and nothing else") {
  OutputGate gate(OutputGate::Begins::closed);
  Listener listener;
  gate.outside().attach(listener);
  put(gate, 1, "before");
  gate.begin_at(100);
  put(gate, 2, "left");
  put(gate, 3, "held");
  gate.forget(101);
  CHECK(listener.said.empty());
  gate.allow(kNever);
  CHECK(listener.said == "3:held ");
  CHECK(gate.made() == 102);
}

TEST_CASE("a received log hands out inputs as far as its last mark") {
  const TemporaryFolder folder;
  BlockStore blocks(folder.file("b"));
  ReceivedLog log(blocks);
  log.set_file(kFile);
  log.mark({1, {50}, 0, 7, 0});
  log.begin_with({key(40)});
  using Kind = ReceivedLog::Look::Kind;
  CHECK(log.look({{30}, 0}, false).kind == Kind::nothing);
  CHECK(log.next_look({30}) == Position{40});
  CHECK(log.look({{40}, 0}, false).kind == Kind::input);
  CHECK(log.look({{40}, 0}, false).kind == Kind::nothing);
  CHECK_FALSE(log.take_first_outputs());
  CHECK(log.look({{50}, 0}, false).kind == Kind::end);
  CHECK(log.take_first_outputs() == 7);
  CHECK(log.executed() == 1);

  // Cut anywhere, a chunk counts once all of it and its mark have come.
  const Bytes chunk = input_chunk(3, {key(60), key(70, 5)});
  log.append(ByteView(chunk).first(20));
  log.append(ByteView(chunk).subspan(20));
  CHECK(log.look({{50}, 0}, false).kind == Kind::end);
  log.mark({2, {70}, 9, 8, chunk.size()});
  CHECK(log.look({{50}, 0}, false).kind == Kind::nothing);
  CHECK(log.look({{60}, 0}, false).kind == Kind::input);
  CHECK(log.look({{70}, 4}, true).kind == Kind::nothing);
  CHECK(log.look({{70}, 5}, false).kind == Kind::input);
  CHECK(log.look({{70}, 5}, true).kind == Kind::nothing);
  CHECK(log.executed() == 1);
  log.then(ReceivedLog::Then::live);
  const ReceivedLog::Look end = log.look({{70}, 9}, true);
  CHECK(end.kind == Kind::end);
  CHECK(end.then == ReceivedLog::Then::live);
  CHECK(log.executed() == 2);
}

TEST_CASE("an input that was not reached, and chunks that are none, are refused") {
  const TemporaryFolder folder;
  BlockStore blocks(folder.file("b"));
  ReceivedLog log(blocks);
  log.set_file(kFile);
  log.mark({1, {100}, 0, 0, 0});
  log.begin_with({key(40)});
  CHECK_THROWS_AS((void)log.look({{41}, 0}, false), Error);
  Bytes bent = input_chunk(3, {key(60)});
  bent[60] ^= 1;
  CHECK_THROWS_AS(log.append(bent), Error);
  ReceivedLog other(blocks);
  other.set_file(kFile);
  CHECK_THROWS_AS(
      other.append(ChunkEncoder().encode(ChunkType::metadata, 0, kFile, as_bytes("{}"), 0)), Error);
}

TEST_CASE("a log goes on in another file after its header, cut anywhere") {
  const TemporaryFolder folder;
  BlockStore blocks(folder.file("b"));
  blocks.add_data(5, Bytes(kBlockBytes, 7));
  ReceivedLog log(blocks);
  log.set_file(kFile);
  log.mark({1, {50}, 0, 0, 0});
  FileId next;
  next.bytes[0] = 1;
  Bytes all = input_chunk(9, {key(60)});
  for (const Bytes& more :
       {encode_file_header({kFormatVersion, next}), input_chunk(1, {key(70)}, next)}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  for (const std::uint8_t& byte : all) log.append(ByteView(&byte, 1));
  log.mark({2, {80}, 0, 0, all.size()});
  using Kind = ReceivedLog::Look::Kind;
  CHECK(log.look({{60}, 0}, false).kind == Kind::input);
  CHECK(log.look({{70}, 0}, false).kind == Kind::input);
  // The chunks of the next file are numbered anew: this is none that came.
  blocks.add_directory({{0, 1, BlockKind::kept, {1, 1}, 5, 0}});
  std::array<std::uint8_t, kBlockBytes> out{};
  CHECK_FALSE(blocks.read_block(0, 1, out));
  // What belongs to the file before is foreign from here on.
  CHECK_THROWS_AS(log.append(input_chunk(10, {key(90)})), Error);
}

TEST_CASE("a machine is not run past a digest that it has to be compared at") {
  const TemporaryFolder folder;
  BlockStore blocks(folder.file("b"));
  ReceivedLog log(blocks);
  log.mark({1, {100}, 0, 0, 0});
  log.add_digest({80}, {1, 2});
  CHECK(log.limit({10}) == Position{80});
  CHECK(log.take_digest({80}) == Hash128{1, 2});
  CHECK_FALSE(log.take_digest({80}));
  CHECK(log.limit({80}) == Position{100});
  CHECK(log.limit({100}) == Position{101});
  log.then(ReceivedLog::Then::run_on);
  CHECK(log.limit({100}) == Position{kNever});
}

TEST_CASE("blocks come from the log, and shared contents from what came before it") {
  struct Before final : MediaSource {
    bool read_block(std::uint32_t medium, std::uint64_t block, Block out) override {
      std::fill(out.begin(), out.end(), static_cast<std::uint8_t>(medium * 16 + block));
      return true;
    }
  };
  const TemporaryFolder folder;
  BlockStore blocks(folder.file("b"));
  const Bytes content(kBlockBytes, 7);
  const Hash128 shared{9, 9};
  blocks.add_data(5, content);
  blocks.add_directory({{0, 1, BlockKind::kept, {1, 1}, 5, 0},
                        {0, 2, BlockKind::kept, shared, 3, 0},
                        {0, 3, BlockKind::zeros, {}, 0, 0},
                        {0, 4, BlockKind::unreadable, {}, 0, 0}});
  blocks.set_before(std::make_shared<Before>(), {{1, 8, BlockKind::kept, shared, 3, 0}});
  std::array<std::uint8_t, kBlockBytes> out{};
  CHECK(blocks.read_block(0, 1, out));
  CHECK(out[100] == 7);
  CHECK(blocks.read_block(0, 2, out));
  CHECK(out[0] == 24);
  CHECK(blocks.read_block(0, 3, out));
  CHECK(out[0] == 0);
  CHECK_FALSE(blocks.read_block(0, 4, out));
  CHECK(blocks.read_block(0, 5, out));
  CHECK(out[0] == 5);
  CHECK_THROWS_AS(blocks.add_directory({{0, 6, BlockKind::kept, {1, 1}, 5, 1}}), Error);
}

TEST_CASE("of many that claim a session by file one has it, for ever") {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  std::array<std::optional<Verdict>, 8> verdicts;
  for (std::uint64_t n = 0; n < verdicts.size(); ++n) {
    threads.emplace_back([&, n] {
      verdicts[n] = FileArbiter(folder.file("claim")).claim({{1, 2}, {n, 7}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& verdict : verdicts) {
    REQUIRE(verdict);
    CHECK(verdict->holder == verdicts[0]->holder);
  }
  CHECK(FileArbiter(folder.file("claim")).claim({{1, 2}, {99, 99}})->holder == verdicts[0]->holder);
  CHECK(FileArbiter(folder.file("claim")).claim({{1, 3}, {99, 99}})->holder == NodeId{99, 99});
  CHECK_FALSE(FileArbiter(folder.file("none/claim")).claim({{1, 2}, {1, 1}}));
}

TEST_CASE("what was said before a connection ended is heard, then the end") {
  auto ends = socket_pair();
  const Address place{};
  Link here(make_channel(place, std::move(ends[0]), ChannelEnd::accepts, {}));
  {
    Link there(make_channel(place, std::move(ends[1]), ChannelEnd::connects, {}));
    there.send(Alive{7});
    there.write();
  }
  here.read();
  CHECK(std::get<Alive>(here.next().value()).released == 7);
  CHECK_THROWS_AS(here.read(), Error);
}

TEST_CASE("TLS takes the same key at both ends") {
  if (!has_tls()) return;
  const PresharedKey key{Bytes(20, 1)};
  const PresharedKey other{Bytes(20, 2)};
  CHECK(say_over_tls(key, key) == "42");
  CHECK(say_over_tls(key, other).find("is the key the same") != std::string::npos);
}

TEST_CASE("TCP takes a key, and a key has its size") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(require_secure(parse_address("tcp:h:1", "-x"), {}, "-x"), Error);
  require_secure(parse_address("unix:/p", "-x"), {}, "-x");
  std::ofstream(folder.file("short")) << "fifteen bytes..\n";
  CHECK_THROWS_AS((void)read_preshared_key(folder.file("short")), Error);
  std::ofstream(folder.file("key")) << "sixteen bytes ..\n";
  CHECK(read_preshared_key(folder.file("key")).key.size() == 16);
}

TEST_CASE("addresses are what they say") {
  CHECK(parse_address("unix:/a/b", "-x").place == "/a/b");
  CHECK(parse_address("tcp:::1:80", "-x").place == "::1");
  CHECK(parse_address("tcp:host:80", "-x").port == 80);
  for (const char* wrong :
       {"", "unix:", "tcp:", "tcp:host", "tcp:host:0", "tcp:host:x", "tcp:host:70000", "/a"}) {
    CHECK_THROWS_AS((void)parse_address(wrong, "-x"), Error);
  }
}

TEST_CASE("the announcement of a card is a reverse ARP frame from its address") {
  const Bytes frame = announcement({1, 2, 3, 4, 5, 6});
  CHECK(frame.size() == 60);
  CHECK(Bytes(frame.begin(), frame.begin() + 14) ==
        Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 0x80, 0x35});
  CHECK(frame[21] == 3);
}

}  // namespace chronovisor::replica
