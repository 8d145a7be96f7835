// The debug server over a real machine: packets in, packets out, and a guest
// small enough to know every step of. It sets up a timer, fills memory with a
// REP, uses the x87, divides by zero and sleeps until the timer wakes it.
#include "debugger/timeline_target.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gdbstub/session.h"
#include "gdbstub/x86_registers.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/run_recorder.h"

namespace chronovisor {
namespace {

using gdb::hex_number;
using gdb::hex_text;
using gdb::join;
using gdb::X86Register;

constexpr std::uint64_t kBuffer = 0x2000;

/// The guest's code, for 0x7c00, and where its instructions are.
struct Program {
  std::map<std::string, std::uint64_t> at;
  ByteWriter code;

  void add(const char* name, std::initializer_list<std::uint8_t> bytes) {
    if (*name != '\0') at[name] = 0x7c00 + code.size();
    code.bytes(ByteView(bytes.begin(), bytes.size()));
  }
  void out(std::uint8_t value, std::uint8_t port) { add("", {0xb0, value, 0xe6, port}); }

  Program() {
    constexpr std::uint8_t kJump = 20;  // over the two handlers
    add("start", {0xeb, kJump});
    add("divide handler", {0x55, 0x89, 0xe5});             // push bp; mov bp, sp
    add("", {0x83, 0x46, 0x02, 0x02, 0x5d, 0xcf});         // add word [bp+2], 2; pop bp; iret
    add("timer handler", {0x50, 0xb0, 0x20, 0xe6, 0x20});  // push ax; mov al, 0x20; out 0x20, al
    add("", {0xff, 0x06, 0x00, 0x18, 0x58, 0xcf});         // inc word [0x1800]; pop ax; iret
    while (code.size() < 2 + kJump) add("", {0x90});
    add("", {0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0});  // xor ax, ax; to ds, es, ss
    add("", {0xbc, 0x00, 0x70});                                // mov sp, 0x7000
    add("", {0xc7, 0x06, 0x00, 0x00, 0x02, 0x7c});              // mov word [0], divide handler
    add("", {0xc7, 0x06, 0x80, 0x00, 0x0b, 0x7c});              // mov word [0x80], timer handler
    add("", {0xa3, 0x02, 0x00, 0xa3, 0x82, 0x00});              // mov [2], ax; mov [0x82], ax
    out(0x11, 0x20);
    out(0x20, 0x21);
    out(0x04, 0x21);
    out(0x01, 0x21);
    out(0xfe, 0x21);
    add("", {0xfc, 0xbf, 0x00, 0x20, 0xb9, 0x05, 0x00});  // cld; mov di, 0x2000; mov cx, 5
    add("", {0xb0, 0x41});                                // mov al, 0x41
    add("rep", {0xf3, 0xaa});                             // rep stosb
    add("", {0xd9, 0xe8, 0xd9, 0xeb});                    // fld1; fldpi
    add("store", {0xc6, 0x06, 0x00, 0x20, 0x07});         // mov byte [0x2000], 7
    add("load", {0xa0, 0x01, 0x20});                      // mov al, [0x2001]
    add("", {0x30, 0xdb});                                // xor bl, bl
    add("divide", {0xf6, 0xf3});                          // div bl
    add("divided", {0x90});
    out(0x30, 0x43);  // the timer: once, in 0x40 of its ticks
    out(0x40, 0x40);
    out(0x00, 0x40);
    add("", {0xfb});  // sti
    add("sleep", {0xf4});
    add("woken", {0x90});
    add("", {0x31, 0xc0, 0xe7, 0xf4});  // xor ax, ax; out 0xf4, ax
  }
};

std::unique_ptr<RecordingReader> record(const Bytes& image) {
  StartCondition start;
  start.kind = BootKind::flat;
  start.machine.memory_bytes = 1U << 20;
  const auto machine = make_machine(start, [&](const std::string&) { return image; });
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), start.to_json());
  writer.embed_image(kKernelRole, "guest", MemoryInputFile(image));
  NoInput input;
  {
    std::uint64_t clock = 0;
    RunRecorder recorder(
        *machine, writer, input, nullptr, [&] { return clock += 1000; }, RecorderOptions{});
    REQUIRE(recorder.run({100'000}, [](Position) {}).stop == MachineStop::ended);
  }
  writer.finish("{}");
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(*bytes));
}

/// What one sees of a place: enough to tell every step from every other.
struct Place {
  std::uint64_t pc = 0;
  std::uint64_t position = 0;
  std::uint64_t di = 0;
  std::uint64_t sp = 0;
  bool operator==(const Place&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Place& place) {
  return out << "pc " << hex_number(place.pc) << " at " << place.position << ", di "
             << hex_number(place.di) << ", sp " << hex_number(place.sp);
}

struct Debugger {
  Program program;
  std::unique_ptr<RecordingReader> reader = record(program.code.take());
  Timeline timeline{*reader, {}};
  chronovisor::session::DebugSession debugging{timeline};
  chronovisor::session::Executor executor;
  debugger::TimelineTarget target{debugging, executor, debugger::RegisterLayout::x86_64};
  gdb::Session session{target};
  std::atomic<bool> cancel = false;

  Debugger() { say("qSupported:swbreak+;hwbreak+"); }

  /// The last packet that `packet` leads to.
  std::string say(std::string_view packet) {
    gdb::Answer answer = session.handle(packet);
    std::vector<std::string> packets = answer.packets;
    while (answer.work) {
      answer = answer.work(cancel);
      packets.insert(packets.end(), answer.packets.begin(), answer.packets.end());
    }
    REQUIRE_FALSE(packets.empty());
    return packets.back();
  }
  std::string monitor(std::string_view command) { return say(join({"qRcmd,", hex_text(command)})); }
  /// The stop's reason, before the registers.
  std::string stop(std::string_view packet) {
    const std::string reply = say(packet);
    REQUIRE(reply.starts_with("T05"));
    return reply.substr(3, reply.find("06:") - 3);
  }
  std::uint64_t value(X86Register index) {
    std::array<std::uint8_t, 8> raw{};
    std::size_t n = static_cast<std::size_t>(index);
    REQUIRE(target.read_register(
        n, std::span(raw).first(gdb::register_bytes(target.description().registers[n]))));
    std::uint64_t out = 0;
    for (std::size_t i = 8; i-- > 0;) out = out << 8 | raw[i];
    return out;
  }
  Place here() {
    return {value(X86Register::rip), value(X86Register::position), value(X86Register::rdi),
            value(X86Register::rsp)};
  }
  std::uint64_t at(const char* name) { return program.at.at(name); }
  void to_end() { stop("c"); }
};

std::vector<Place> forward_path(Debugger& debugger) {
  std::vector<Place> path{debugger.here()};
  while (debugger.stop("s") != "replaylog:end;") {
    path.push_back(debugger.here());
    REQUIRE(path.size() < 1000);
  }
  // The last step may already have arrived at the end, or have ended there.
  if (!(debugger.here() == path.back())) path.push_back(debugger.here());
  return path;
}

std::size_t count_at(const std::vector<Place>& path, std::uint64_t pc) {
  return static_cast<std::size_t>(
      std::count_if(path.begin(), path.end(), [&](const Place& place) { return place.pc == pc; }));
}

std::size_t index_of(const std::vector<Place>& path, std::uint64_t pc) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i].pc == pc) return i;
  }
  FAIL("the path does not come there");
  return 0;
}

}  // namespace

TEST_CASE("bs undoes each step of s: REP iterations, a fault, HLT and the interrupt that ends it") {
  for (const bool skip : {true, false}) {
    CAPTURE(skip);
    Debugger debugger;
    REQUIRE(debugger.monitor(skip ? "skip-interrupts on" : "skip-interrupts off") == "OK");
    const std::vector<Place> path = forward_path(debugger);
    // One step for each iteration, and the machine can be seen between them.
    CHECK(count_at(path, debugger.at("rep")) == 5);
    for (std::uint64_t n = 0; n < 5; ++n) {
      CHECK(path[index_of(path, debugger.at("rep")) + n].di == kBuffer + n);
    }
    // A fault is a step to its handler, and the instruction has not counted.
    const std::size_t fault = index_of(path, debugger.at("divide"));
    CHECK(path[fault + 1].pc == debugger.at("divide handler"));
    CHECK(path[fault + 1].position == path[fault].position);
    // HLT is one step; the interrupt's handler is passed over, or not.
    CHECK(count_at(path, debugger.at("sleep")) == 1);
    CHECK(path[index_of(path, debugger.at("sleep")) + 1].pc == debugger.at("woken"));
    CHECK((count_at(path, debugger.at("timer handler")) == 0) == skip);
    CHECK(debugger.say("m1800,1") == "01");
    for (std::size_t i = path.size() - 1; i-- > 0;) {
      CAPTURE(i);
      CHECK(debugger.stop("bs").empty());
      Place back = debugger.here();
      // Before a handler and after it is the same place to who does not see handlers.
      if (skip && i == index_of(path, debugger.at("woken"))) back.position = path[i].position;
      CHECK(back == path[i]);
    }
    CHECK(debugger.stop("bs") == "replaylog:begin;");
    CHECK(debugger.stop("bs") == "replaylog:begin;");
    CHECK(debugger.here() == path[0]);
  }
}

TEST_CASE("bc onto a watchpoint undoes the store and stands on it, nearest first") {
  Debugger debugger;
  debugger.to_end();
  CHECK(debugger.say("Z2,2000,1") == "OK");
  CHECK(debugger.say("m2000,2") == "0741");
  CHECK(debugger.stop("bc") == "watch:2000;");
  CHECK(debugger.here().pc == debugger.at("store"));
  CHECK(debugger.say("m2000,2") == "4141");
  CHECK(debugger.stop("bc") == "watch:2000;");
  CHECK(debugger.here().pc == debugger.at("rep"));
  CHECK(debugger.here().di == kBuffer);
  CHECK(debugger.say("m2000,2") == "0000");
  CHECK(debugger.stop("bc") == "replaylog:begin;");
  CHECK(debugger.stop("c") == "watch:2000;");
  CHECK(debugger.say("m2000,2") == "4100");
  CHECK(debugger.stop("c") == "watch:2000;");
  CHECK(debugger.here().pc == debugger.at("load"));
}

TEST_CASE("reads and accesses are watched in both directions, with the address touched") {
  Debugger debugger;
  CHECK(debugger.say("Z3,2001,1") == "OK");
  CHECK(debugger.stop("c") == "rwatch:2001;");
  const Place after = debugger.here();
  CHECK(debugger.stop("c") == "replaylog:end;");
  CHECK(debugger.stop("bc") == "rwatch:2001;");
  CHECK(debugger.here().pc == debugger.at("load"));
  CHECK(debugger.here().position + 1 == after.position);
  CHECK(debugger.say("z3,2001,1") == "OK");
  // Any length: the nearest access in it is the store's.
  CHECK(debugger.say("Z4,1f00,200") == "OK");
  CHECK(debugger.stop("bc") == "awatch:2000;");
  CHECK(debugger.here().pc == debugger.at("store"));
}

TEST_CASE("any number of watchpoints, and breakpoints where there is no memory") {
  Debugger debugger;
  for (std::uint64_t n = 0; n < 300; ++n) {
    CHECK(debugger.say(join({"Z2,", hex_number(0x30000 + 16 * n), ",10"})) == "OK");
  }
  CHECK(debugger.say("Z2,ffffffff80000000,1000") == "OK");
  CHECK(debugger.say("Z4,40000000,ffffffff") == "OK");
  for (const char* place : {"Z0,fffffffffffffff0,1", "Z1,ffffffff81000000,1", "Z0,40000000,1"}) {
    CHECK(debugger.say(place) == "OK");
  }
  CHECK(debugger.say(join({"Z1,", hex_number(debugger.at("store")), ",1"})) == "OK");
  CHECK(debugger.stop("c") == "hwbreak:;");
  CHECK(debugger.here().pc == debugger.at("store"));
  CHECK(debugger.stop("c") == "replaylog:end;");
  CHECK(debugger.stop("bc") == "hwbreak:;");
  CHECK(debugger.stop("bc") == "replaylog:begin;");
}

TEST_CASE("a breakpoint where bc starts is not met, an earlier pass of it is") {
  Debugger debugger;
  CHECK(debugger.say(join({"Z0,", hex_number(debugger.at("store")), ",1"})) == "OK");
  CHECK(debugger.stop("c") == "swbreak:;");
  const Place there = debugger.here();
  CHECK(debugger.stop("bc") == "replaylog:begin;");
  CHECK(debugger.stop("c") == "swbreak:;");
  CHECK(debugger.here() == there);
  CHECK(debugger.stop("c") == "replaylog:end;");
  CHECK(debugger.stop("bc") == "swbreak:;");
  CHECK(debugger.here() == there);
}

TEST_CASE("a REP instruction is arrived at once, in both directions and after a step in it") {
  Debugger debugger;
  CHECK(debugger.say(join({"Z0,", hex_number(debugger.at("rep")), ",1"})) == "OK");
  CHECK(debugger.stop("c") == "swbreak:;");
  CHECK(debugger.here().di == kBuffer);
  const Place first = debugger.here();
  CHECK(debugger.stop("s").empty());
  CHECK(debugger.here().pc == debugger.at("rep"));
  CHECK(debugger.here().di == kBuffer + 1);
  // As gdb goes on from a breakpoint: a step, then this.
  CHECK(debugger.stop("c") == "replaylog:end;");
  CHECK(debugger.stop("bc") == "swbreak:;");
  CHECK(debugger.here() == first);
  CHECK(debugger.stop("bc") == "replaylog:begin;");
}

TEST_CASE("conditions decide in the machine, in both directions") {
  Debugger debugger;
  // (unsigned char) rdi == N: reg 5, zero-extended, const8, equal, end
  const auto place = [&](const char* name, const char* n) {
    return join({"Z0,", hex_number(debugger.at(name)), ",1;X9,2600052a0822", n, "1327"});
  };
  CHECK(debugger.say(place("rep", "03")) == "OK");  // which is arrived at with 0
  CHECK(debugger.say(place("store", "04")) == "OK");
  CHECK(debugger.say(place("load", "05")) == "OK");
  CHECK(debugger.stop("c") == "swbreak:;");
  CHECK(debugger.here().pc == debugger.at("load"));
  CHECK(debugger.stop("c") == "replaylog:end;");
  CHECK(debugger.stop("bc") == "swbreak:;");
  CHECK(debugger.here().pc == debugger.at("load"));
  CHECK(debugger.stop("bc") == "replaylog:begin;");
}

TEST_CASE(
    "registers and memory that a client writes make a branch, never a change of the timeline") {
  Debugger debugger;
  CHECK(debugger.say(join({"Z0,", hex_number(debugger.at("store")), ",1"})) == "OK");
  CHECK(debugger.stop("c") == "swbreak:;");
  const Place here = debugger.here();
  const Hash128 digest = debugger.timeline.machine().digest();
  const std::string all = debugger.say("g");
  // What is there already may be written back.
  CHECK(debugger.say(join({"G", all})) == "OK");
  CHECK_FALSE(debugger.timeline.on_branch());
  for (const char* change : {"P5=4500000000000000", "M2003,1:42", "X2003,1:Z"}) {
    CAPTURE(change);
    CHECK(debugger.say(change) == "OK");
    CHECK(debugger.timeline.on_branch());
    CHECK_FALSE(debugger.timeline.machine().digest() == digest);
    CHECK(debugger.monitor("discard") == "OK");
    debugger.stop("bc");
    CHECK(debugger.here() == here);
    CHECK(debugger.timeline.machine().digest() == digest);
  }
  // Time is no register to be set.
  const auto position = static_cast<std::size_t>(X86Register::position);
  CHECK(debugger.say(join({"P", hex_number(position), "=0000000000000000"})).starts_with("E."));
  CHECK_FALSE(debugger.timeline.on_branch());
}

TEST_CASE("x87 registers are in stack order, with the full tag word") {
  Debugger debugger;
  CHECK(debugger.say(join({"Z0,", hex_number(debugger.at("store")), ",1"})) == "OK");
  CHECK(debugger.stop("c") == "swbreak:;");
  const auto read = [&](X86Register index) {
    return debugger.say(join({"p", hex_number(static_cast<std::size_t>(index))}));
  };
  const auto st0 = static_cast<std::size_t>(X86Register::st0);
  CHECK(read(X86Register::st0) == "35c26821a2da0fc90040");                          // pi
  CHECK(debugger.say(join({"p", hex_number(st0 + 1)})) == "0000000000000080ff3f");  // 1
  CHECK(read(X86Register::ftag) == "ff0f0000");  // physical 6 and 7 valid, the others empty
  // Writing one back as read is no change; another value arrives where it was read.
  CHECK(debugger.say(join({"P", hex_number(st0), "=35c26821a2da0fc90040"})) == "OK");
  CHECK_FALSE(debugger.timeline.on_branch());
  CHECK(debugger.say(join({"P", hex_number(st0), "=0000000000000080ff3f"})) == "OK");
  CHECK(read(X86Register::st0) == "0000000000000080ff3f");
  CHECK(debugger.timeline.on_branch());
}

TEST_CASE("every x87 register is written as asked, on a branch") {
  // As gdb prepares a call with a long double, and puts back what was there before.
  constexpr std::array<std::pair<X86Register, const char*>, 8> kValues{
      {{X86Register::fctrl, "7f020000"},
       {X86Register::fstat, "00380000"},
       {X86Register::ftag, "ff3f0000"},
       {X86Register::fiseg, "33000000"},
       {X86Register::fioff, "78563412"},
       {X86Register::foseg, "2b000000"},
       {X86Register::fooff, "efcdab89"},
       {X86Register::fop, "d9050000"}}};
  for (const auto& [index, value] : kValues) {
    Debugger debugger;
    CHECK(debugger.say(join({"Z0,", hex_number(debugger.at("store")), ",1"})) == "OK");
    CHECK(debugger.stop("c") == "swbreak:;");
    const std::string number = hex_number(static_cast<std::size_t>(index));
    CAPTURE(number);
    const std::string before = debugger.say("p" + number);
    CHECK(debugger.say(join({"P", number, "=", before})) == "OK");
    CHECK_FALSE(debugger.timeline.on_branch());
    CHECK(debugger.say(join({"P", number, "=", value})) == "OK");
    CHECK(debugger.timeline.on_branch());
    CHECK(debugger.say("p" + number) == value);
    CHECK(debugger.say(join({"P", number, "=", before})) == "OK");
    CHECK(debugger.say("p" + number) == before);
  }
}

TEST_CASE("an interrupt that waits ends the next step where it stands") {
  Debugger debugger;
  for (const char* resume : {"s", "vCont;s", "bs", "c", "bc"}) {
    CAPTURE(std::string(resume));
    CHECK(debugger.stop("s").empty());
    const Place here = debugger.here();
    debugger.session.interrupt_between_runs();
    CHECK(debugger.say(resume).starts_with("T02"));
    CHECK(debugger.here() == here);
  }
}

TEST_CASE("the whole register set has one size in g, G and target.xml") {
  Debugger debugger;
  std::size_t bytes = 0;
  for (const auto& row : debugger.target.description().registers) bytes += register_bytes(row);
  CHECK(debugger.say("g").size() == 2 * bytes);
  const std::string xml = debugger.say("qXfer:features:read:target.xml:0,fffff");
  std::size_t bits = 0;
  for (std::size_t at = 0; (at = xml.find("bitsize=\"", at)) != std::string::npos;) {
    at += 9;
    bits += std::stoul(xml.substr(at));
  }
  CHECK(bits == 8 * bytes);
}

TEST_CASE("memory by physical address, when that is asked for") {
  Debugger debugger;
  debugger.to_end();
  CHECK(debugger.monitor("phys on") == "OK");
  CHECK(debugger.say("m2001,1") == "41");
  CHECK(debugger.say("m100000,1") == "E0e");
  CHECK(debugger.say("qqemu.PhyMemMode") == "1");
  CHECK(debugger.monitor("phys off") == "OK");
  // The same in the words of QEMU's stub, which kernel debuggers' scripts use.
  CHECK(debugger.say("qqemu.Supported").find("PhyMemMode") != std::string::npos);
  CHECK(debugger.say("qqemu.PhyMemMode") == "0");
  CHECK(debugger.say("Qqemu.PhyMemMode:1") == "OK");
  CHECK(debugger.say("qqemu.PhyMemMode") == "1");
  CHECK(debugger.say("m2001,1") == "41");
  CHECK(debugger.say("Qqemu.PhyMemMode:0") == "OK");
  CHECK(debugger.say("qqemu.PhyMemMode") == "0");
  CHECK(debugger.say("Qqemu.PhyMemMode:x") == "E01");
}

TEST_CASE("QEMU's single-step modes, in the spellings that scripts use") {
  Debugger debugger;
  for (const char* packet : {"qqemu.sstepbits", "Qqemu.sstepbits"}) {
    CHECK(debugger.say(packet) == "ENABLE=1,NOIRQ=2");
  }
  CHECK(debugger.say("qqemu.sstep") == "0x3");
  CHECK(debugger.say("Qqemu.sstep=0x1") == "OK");
  CHECK(debugger.say("qqemu.sstep") == "0x1");
  CHECK(debugger.say("Qqemu.sstep=3") == "OK");
  CHECK(debugger.say("qqemu.sstep") == "0x3");
  for (const char* packet :
       {"Qqemu.sstep=0x0", "Qqemu.sstep=0x7", "Qqemu.sstep=", "Qqemu.sstep=x"}) {
    CHECK(debugger.say(packet) == "E01");
  }
  CHECK(debugger.say("qqemu.sstep") == "0x3");
  CHECK(debugger.say("qMemoryRegionInfo:2000").starts_with("start:2000;size:1000;permissions:"));
}

}  // namespace chronovisor
