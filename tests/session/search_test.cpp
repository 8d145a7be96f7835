// Searches with conditions, steps as one travel, and what QEMU's monitor shows.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "session/debug_session.h"
#include "session/monitor.h"
#include "tests/timetravel/tiny_recording.h"

namespace chronovisor::session {
namespace {

using nlohmann::json;

struct Fixture {
  std::unique_ptr<RecordingReader> reader = testing::open_bytes(testing::record_tiny({}));
  Timeline timeline{*reader, TimelineOptions{.jobs = 1}};
  DebugSession session{timeline};
  std::atomic<bool> cancel{false};

  json ask(const std::string& line) {
    return json::parse(answer_line(session, "json " + line, cancel));
  }
  std::string text(const std::string& line) { return answer_line(session, line, cancel); }
  std::uint32_t counter() {
    Bytes bytes(4);
    timeline.machine().ram().read({testing::kTinyCounterAddress}, bytes);
    return ByteReader(bytes, "counter").integer<std::uint32_t>();
  }
  void go() { CHECK(session.travel_to_destination(cancel) == TravelStop::arrived); }
};

}  // namespace

TEST_CASE("a write is found by the value that it wrote, in either direction") {
  Fixture f;
  CHECK(f.ask("watch 0x1000 4 if value == 777")["address"] == "0x1000");
  CHECK(f.timeline.now() == Moment{{0}, 0});
  f.go();
  CHECK(f.counter() == 777);
  CHECK(f.ask("watch backward 0x1000 4 if value < 500 && value % 100 == 0")["destination"]
            .is_number());
  f.go();
  CHECK(f.counter() == 399);  // it stands on the instruction that writes
  CHECK(f.timeline.step_forward().stop == TravelStop::arrived);
  CHECK(f.counter() == 400);
  const Moment here = f.timeline.now();
  CHECK(f.ask("watch backward 0x1000 4 if *(unsigned char*)0x1000 == 3 && (short)value < 300")
            ["destination"]
                .is_number());
  f.go();
  CHECK(f.counter() == 258);
  f.timeline.seek(here);
  CHECK(f.ask("watch backward 0x1000 4 if value == 999")["error"]["code"] == "not-found");
  CHECK(f.ask("watch 0x1000 4 if value = 3")["error"]["code"] == "usage");
  CHECK_FALSE(f.session.destination());
  CHECK(f.timeline.now() == here);
}

TEST_CASE("an arrival is found by the registers at it") {
  Fixture f;
  const std::string loop = std::to_string(0x7c00 + 22);
  f.timeline.seek({{50'000}, 0});
  const json last = f.ask("last-reached " + loop + " if u32[0x1000] == 42");
  CHECK(last["pc"] == "0x7c16");
  f.go();
  CHECK(f.counter() == 42);
  CHECK(f.ask("next-reached " + loop)["pc"] == "0x7c16");
  f.go();
  CHECK(f.counter() == 43);
  CHECK(f.ask("last-reached 0x9000")["error"]["code"] == "not-found");
  CHECK(f.counter() == 43);
}

TEST_CASE("steps are one travel") {
  Fixture f;
  CHECK(f.ask("step 50000")["destination"] == 50'000);
  f.go();
  CHECK(f.ask("reverse-step 40000")["taken"] == 40'000);
  f.go();
  CHECK(f.timeline.now() == Moment{{10'000}, 0});
  CHECK(f.text("reverse-step 20000").find("where the recording begins") != std::string::npos);
  f.go();
  CHECK(f.ask("reverse-step")["error"]["code"] == "not-found");
  CHECK(f.text("step").find("1 steps on") != std::string::npos);
}

TEST_CASE("memory is shown in QEMU's formats") {
  Fixture f;
  f.timeline.seek({{1'000}, 0});
  CHECK(f.text("xp /2xb 0x7c00") == "0000000000007c00: 0x31 0xc0\n");
  CHECK(f.text("x/1xw 0x7c00").find("0000000000007c00: 0x") == 0);
  CHECK(f.text("xp /1xg 0x7c00").size() == 17 + 19 + 1);
  CHECK(f.text("xp /3dh 0x5100") == "0000000000005100:     0     0     0\n");
  CHECK(f.text("xp /1xw 0xd0000000").find("Cannot access memory") != std::string::npos);
  CHECK(f.text("xp /1xw 0xfee00030").find("0x00") != std::string::npos);
  CHECK(f.ask("xp /2xb 0x7c00")["values"] == json::array({"0x31", "0xc0"}));
  CHECK(f.ask("xp /2q 0x7c00")["error"]["code"] == "usage");
}

TEST_CASE("where an address leads is told in QEMU's words, but for a host's address") {
  Fixture f;
  f.timeline.seek({{1'000}, 0});
  CHECK(f.text("gva2gpa 0x7c00") == "gpa: 0x7c00\n");
  CHECK(f.text("gpa2hva 0xd0000000") == "No memory is mapped at address 0xd0000000\n");
  CHECK(f.text("gpa2hva 0xfee00000") == "Memory at address 0xfee00000 is not RAM\n");
  CHECK(f.text("gpa2hva 0xfee00030") == "Memory at address 0xfee00030 is not RAM\n");
  for (const char* what : {"gpa2hva 0x7c00", "gpa2hpa 0x7c00"}) {
    const std::string text = f.text(what);
    INFO(text);
    CHECK(text.find("address for 0x7c00 (pc.ram): there is none") != std::string::npos);
    // What scripts take for the address: a number behind "is", or the last word.
    CHECK(text.find("is 0x") == std::string::npos);
    CHECK(text.rfind(" 0x") == text.find(" 0x"));
  }
  CHECK(f.ask("gpa2hva 0x7c00")["kind"] == "memory");
  CHECK(f.ask("gva2gpa 0x7c00")["physical"] == "0x7c00");
}

TEST_CASE("looking at devices changes nothing") {
  Fixture f;
  f.timeline.seek({{1'000}, 0});
  const Hash128 before = f.timeline.machine().digest();
  for (const char* what : {"registers", "mem", "tlb", "lapic", "pic", "version"}) {
    CAPTURE(what);
    CHECK_FALSE(f.text(std::string("info ") + what).empty());
    (void)f.ask(std::string("info ") + what);
  }
  (void)f.text("xp /64xw 0xfee00000");
  (void)f.text("xp /8xw 0xfec00000");
  CHECK(f.timeline.machine().digest() == before);
}

TEST_CASE("registers are shown as QEMU shows them") {
  Fixture f;
  f.timeline.seek({{1'000}, 0});
  const std::string text = f.text("info registers");
  INFO(text);
  CHECK(text.find("EAX=") == 0);
  CHECK(text.find("\nEIP=") != std::string::npos);
  CHECK(text.find("\nCS =0000 00000000 0000ffff ") != std::string::npos);
  CHECK(text.find("\nIDT=     00000000 0000") != std::string::npos);
  CHECK(text.find("\nCR0=") != std::string::npos);
  CHECK(text.find("\nFCW=037f FSW=0000 [ST=0]") != std::string::npos);
  CHECK(f.text("info mem") == "PG disabled\n");
  CHECK(f.text("info version").find("chronovisor ") == 0);
  CHECK(f.ask("info version")["version"].get<std::string>().find('.') != std::string::npos);
  CHECK(f.text("info pic").find("pic1: irr=") == 0);
  CHECK(f.text("info pic").find("\npic0: irr=") != std::string::npos);
}

}  // namespace chronovisor::session
