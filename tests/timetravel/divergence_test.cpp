#include "timetravel/divergence.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/timetravel/tiny_recording.h"
#include "timetravel/recording_diff.h"
#include "timetravel/verify.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

constexpr std::uint64_t kTamperedAt = 53'117;

/// Changes one byte of guest memory as a cosmic ray would.
Tamper flip_byte(std::uint64_t address, std::uint64_t position = kTamperedAt) {
  return {Position{position}, [address](Machine& machine) {
            std::array<std::uint8_t, 1> byte{};
            machine.ram().read({address}, byte);
            byte[0] ^= 0x40;
            machine.ram().write({address}, byte);
          }};
}

Divergence explain(const RecordingReader& reader, const ReplayOptions& options) {
  try {
    static_cast<void>(replay_recording(reader, options, [](Position) {}));
  } catch (const DivergenceError& error) {
    return explain_divergence(reader, options, error.position(), {});
  }
  FAIL("the replay did not diverge");
  return {};
}

/// A recording whose checkpoint `n` was written by a recorder that had byte
/// 0x5123 and two registers wrong.
Bytes with_wrong_checkpoint(std::uint64_t position, const StartCondition& start = tiny_start()) {
  const Bytes code = tiny_guest(20'000);
  const auto machine = make_machine(start, [&](const std::string&) { return code; });
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId{}, start.to_json());
  writer.embed_image(kKernelRole, "tiny", MemoryInputFile(code, "tiny"));
  const auto checkpoint = [&](std::optional<std::uint32_t> parent) {
    CheckpointRecord record;
    const auto pages = machine->close_epoch();
    record.digest = machine->digest();
    record.position = machine->position();
    record.parent = parent;
    record.sections = machine->save_sections();
    for (const std::uint32_t page : pages) record.pages.push_back({page, machine->page_hash(page)});
    writer.checkpoint(record, [&](const PageRecord& page, PageBytes out) {
      std::memcpy(out.data(), machine->ram().host(page.page * kPageSize), kPageSize);
    });
  };
  checkpoint(std::nullopt);
  REQUIRE(machine->run({{position}, 0}) == MachineStop::reached);
  flip_byte(kTinyUnusedAddress).change(*machine);
  machine->change_cpu([](Cpu& cpu) {
    cpu.gpr(kRcx) = 0x1234;
    cpu.state.cr2 = 0x99;
  });
  writer.advance_to({position});
  checkpoint(0);
  writer.finish("{}");
  return *bytes;
}

}  // namespace

TEST_CASE("an untouched replay has every digest, with and without checkpoints and jobs") {
  const auto reader = open_bytes(record_tiny({.inputs = {{30'000, 'a'}, {70'000, 'b'}}}));
  REQUIRE(reader->checkpoints().size() > 5);
  const ReplayOutcome straight = replay_recording(*reader, {}, [](Position) {});
  CHECK(straight.position == reader->usable_to());
  for (const unsigned jobs : {1U, 2U, 5U, 64U}) {
    const VerifyOutcome outcome = verify_recording(*reader, {.jobs = jobs}, [](auto, auto) {});
    CHECK(outcome.to == straight.position);
    CHECK(outcome.digest == straight.digest);
    CHECK(outcome.checkpoints_checked >= reader->checkpoints().size());
    CHECK_FALSE(outcome.interrupted);
  }
  const VerifyOutcome part = verify_recording(
      *reader, {.from = Position{45'000}, .to = Position{90'001}, .jobs = 2}, [](auto, auto) {});
  CHECK(part.from == Position{40'000});
  CHECK(part.to == Position{90'001});
}

TEST_CASE("who has verified its stretch takes half of what another has left") {
  const auto reader = open_bytes(record_tiny({}));
  const VerifyOutcome straight = verify_recording(*reader, {}, [](auto, auto) {});
  CHECK(straight.stretches == 1);
  std::atomic<unsigned> machines{0};
  VerifyOptions options{.jobs = 2, .least_divided_steps = 2};
  // One thread sleeps before it runs its stretch.
  options.prepare = [&](Machine& /*machine*/) {
    if (machines++ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  };
  const VerifyOutcome divided = verify_recording(*reader, options, [](auto, auto) {});
  CHECK(divided.stretches > 2);
  options.prepare = nullptr;  // then machines are put elsewhere, and not made anew
  for (int round = 0; round < 10; ++round) {
    const VerifyOutcome outcome = verify_recording(*reader, options, [](auto, auto) {});
    CHECK(outcome.digest == straight.digest);
    CHECK(outcome.to == straight.to);
    // Nothing is counted twice, and nothing is left out.
    CHECK(outcome.digests_checked == straight.digests_checked);
    CHECK(outcome.checkpoints_checked == straight.checkpoints_checked);
  }
  CHECK(divided.digests_checked == straight.digests_checked);
  CHECK(divided.checkpoints_checked == straight.checkpoints_checked);
}

TEST_CASE("a replay begins anew at any checkpoint, forwards and back, whatever was changed") {
  const auto reader = open_bytes(record_tiny({.inputs = {{30'000, 'a'}, {70'000, 'b'}}}));
  const auto& checkpoints = reader->checkpoints();
  REQUIRE(checkpoints.size() > 5);
  ReplayRun run(*reader, std::nullopt);
  for (const std::size_t n : {4U, 1U, 3U, 0U, 4U}) {
    CAPTURE(n);
    run.restart(checkpoints[n].position);
    CHECK(run.machine().digest() == checkpoints[n].digest);
    REQUIRE(run.run_to(checkpoints[n + 1].position) == ReplayRun::Arrival::arrived);
    CHECK(run.machine().digest() == checkpoints[n + 1].digest);
    run.machine().ram().write({kTinyUnusedAddress}, Bytes{1, 2, 3});
    run.machine().ram().write({0x80000}, Bytes(kPageSize, 0xaa));
  }
}

TEST_CASE("a byte changed during replay is found with its page, offset and step") {
  const auto reader = open_bytes(record_tiny({}));
  const ReplayOptions options{.tamper = flip_byte(kTinyUnusedAddress)};
  const Divergence divergence = explain(*reader, options);
  CHECK(divergence.noticed == Position{60'000});
  CHECK(divergence.recurred);
  REQUIRE(divergence.exact);
  CHECK(divergence.first_different == Position{kTamperedAt});
  CHECK(divergence.last_equal == Position{kTamperedAt - 1});
  REQUIRE(divergence.code);
  CHECK(divergence.code->bits == 16);
  CHECK(divergence.code->rip >= 0x7c00);
  CHECK_FALSE(divergence.code->bytes.empty());
  CHECK(divergence.difference.fields.empty());
  REQUIRE(divergence.difference.differing_pages == 1);
  const PageDifference& page = divergence.difference.pages.at(0);
  CHECK(page.page == GuestPhysical{kTinyUnusedAddress & kPageMask});
  CHECK(page.offset == (kTinyUnusedAddress & ~kPageMask));
  CHECK(page.differing_bytes == 1);
  CHECK((page.left.at(0) ^ page.right.at(0)) == 0x40);
}

TEST_CASE("the first differing step is right wherever the byte is changed") {
  const auto reader = open_bytes(record_tiny({.rounds = 3'000, .checkpoint_every_steps = 5'000}));
  for (const std::uint64_t at : {0ULL, 1ULL, 4'999ULL, 5'000ULL, 5'001ULL, 9'998ULL, 14'321ULL}) {
    CAPTURE(at);
    const Divergence divergence = explain(*reader, {.tamper = flip_byte(kTinyUnusedAddress, at)});
    CHECK(divergence.first_different == Position{at});
    CHECK(divergence.exact == (at != 0));
    CHECK(divergence.difference.differing_pages == 1);
  }
}

TEST_CASE("a recording with digests only is explained from its start") {
  const auto reader = open_bytes(record_tiny({.checkpoints = false}));
  REQUIRE(reader->checkpoints().empty());
  const Divergence divergence = explain(*reader, {.tamper = flip_byte(kTinyUnusedAddress)});
  REQUIRE(divergence.exact);
  CHECK(divergence.first_different == Position{kTamperedAt});
}

TEST_CASE("a changed register of the CPU is named") {
  const auto reader = open_bytes(record_tiny({}));
  const Tamper tamper{Position{kTamperedAt}, [](Machine& machine) {
                        machine.change_cpu([](Cpu& cpu) { cpu.gpr(kRbp) ^= 0xff00; });
                      }};
  const Divergence divergence = explain(*reader, {.from = Position{25'000}, .tamper = tamper});
  REQUIRE(divergence.exact);
  CHECK(divergence.first_different == Position{kTamperedAt});
  REQUIRE(divergence.difference.fields.size() == 1);
  CHECK(divergence.difference.fields[0].section == "cpu");
  CHECK(divergence.difference.fields[0].field == "rbp");
  CHECK(divergence.difference.differing_pages == 0);
}

TEST_CASE("a replay that ends too early is explained") {
  const auto reader = open_bytes(record_tiny({}));
  // The counter jumps past the last round.
  const Tamper tamper{Position{kTamperedAt}, [](Machine& machine) {
                        const Bytes large{0xff, 0xff, 0xff, 0x7f};
                        machine.ram().write({kTinyCounterAddress}, large);
                      }};
  const Divergence divergence = explain(*reader, {.tamper = tamper});
  REQUIRE(divergence.exact);
  CHECK(divergence.first_different == Position{kTamperedAt});
}

TEST_CASE("parallel verification finds the earliest difference") {
  const auto reader = open_bytes(record_tiny({}));
  for (const unsigned jobs : {1U, 4U}) {
    try {
      static_cast<void>(verify_recording(
          *reader, {.jobs = jobs, .tamper = flip_byte(kTinyUnusedAddress)}, [](auto, auto) {}));
      FAIL("not found");
    } catch (const DivergenceError& error) {
      CHECK(error.position() == Position{60'000});
    }
  }
}

TEST_CASE("verification stops when it is cancelled") {
  const auto reader = open_bytes(record_tiny({}));
  const std::atomic<bool> cancel{true};
  const VerifyOutcome outcome =
      verify_recording(*reader, {.jobs = 2, .cancel = cancel}, [](auto, auto) {});
  CHECK(outcome.interrupted);
  CHECK(outcome.to == Position{0});
}

TEST_CASE("a recorded state that no replay gives is compared field by field and byte by byte") {
  const auto reader = open_bytes(with_wrong_checkpoint(30'000));
  const Divergence divergence = explain(*reader, {});
  CHECK_FALSE(divergence.exact);
  CHECK(divergence.last_equal == Position{0});
  CHECK(divergence.first_different == Position{30'000});
  REQUIRE(divergence.state_compared);
  REQUIRE(divergence.difference.fields.size() == 2);
  CHECK(divergence.difference.fields[0].field == "rcx");
  CHECK(divergence.difference.fields[1].field == "cr2");
  CHECK(divergence.difference.fields[1].right == Bytes{0x99, 0, 0, 0, 0, 0, 0, 0});
  REQUIRE(divergence.difference.pages.size() == 1);
  CHECK(divergence.difference.pages[0].page.value + divergence.difference.pages[0].offset ==
        kTinyUnusedAddress);
}

TEST_CASE("a divergence tells of a machine that behaved otherwise when it was recorded") {
  constexpr const char* kOlder = "behaves as version 1, this program's as version";
  CHECK(explain(*open_bytes(with_wrong_checkpoint(30'000)), {}).explanation.find(kOlder) ==
        std::string::npos);
  StartCondition older = tiny_start();
  older.machine.behaviour_version = 1;
  CHECK(explain(*open_bytes(with_wrong_checkpoint(30'000, older)), {}).explanation.find(kOlder) !=
        std::string::npos);
}

TEST_CASE("two recordings of one run do not differ") {
  const TinyOptions options{.inputs = {{30'000, 'a'}}};
  const auto left = open_bytes(record_tiny(options, 1));
  const auto right = open_bytes(record_tiny(options, 2));
  const RecordingDifference difference = compare_recordings(*left, *right, {});
  CHECK(difference.same());
  CHECK(difference.equal_inputs == 1);
  CHECK(difference.equal_digests > 5);
}

TEST_CASE("the first differing input and the first differing step of two recordings are found") {
  const auto left = open_bytes(record_tiny({.inputs = {{30'000, 'a'}, {50'000, 'x'}}}, 1));
  const auto right = open_bytes(
      record_tiny({.checkpoint_every_steps = 17'000, .inputs = {{30'000, 'a'}, {50'000, 'y'}}}, 2));
  const RecordingDifference difference = compare_recordings(*left, *right, {});
  CHECK(difference.start.empty());
  REQUIRE(difference.input);
  CHECK(difference.input->index == 1);
  CHECK(difference.input->position == Position{50'000});
  CHECK(difference.input->left->payload == Bytes{'x'});
  CHECK(difference.input->right->payload == Bytes{'y'});
  REQUIRE(difference.state);
  CHECK(difference.state->exact);
  CHECK(difference.state->last_equal == Position{50'000});
  CHECK(difference.state->first_different == Position{50'001});
  REQUIRE(difference.state->difference.fields.size() == 1);
  CHECK(difference.state->difference.fields[0].section != "cpu");
}

TEST_CASE("a missing input is found, and a different start is told of") {
  const auto left = open_bytes(record_tiny({.inputs = {{30'000, 'a'}}}, 1));
  const auto right = open_bytes(record_tiny({.rounds = 20'001}, 2));
  const RecordingDifference difference = compare_recordings(*left, *right, {});
  CHECK_FALSE(difference.same());
  REQUIRE(difference.start.size() == 1);
  CHECK(difference.start[0].what == "image kernel");
  REQUIRE(difference.input);
  CHECK(difference.input->left);
  CHECK_FALSE(difference.input->right);
  REQUIRE(difference.state);
  CHECK(difference.state->first_different == Position{0});  // the code itself differs
}
