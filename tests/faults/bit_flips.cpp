// Flips every single bit of a small whole recording, and 20,000 random bits of a larger
// one (without --all 3,000, and fewer of the former are replayed). Every flip must be found by
// opening or verifying, and no replay may ever arrive in another state than the true one.
#include <random>

#include "tests/faults/fault_driver.h"
#include "tests/timetravel/tiny_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

constexpr std::size_t kRandomFlips = 20'000, kFewRandomFlips = 3'000;
/// Without --all: one in so many of the replays of the small recording is made.
constexpr std::size_t kReplayEvery = 5;
constexpr std::size_t kFromStartEvery = 16;

enum class Replays { none, short_one, all };

/// Judges one damaged file; a short replay begins at the last checkpoint.
void judge(const Bytes& damaged, std::size_t bit, Replays replays, Truth& truth, Tally& tally) {
  const std::string place = "bit " + std::to_string(bit);
  std::unique_ptr<RecordingReader> reader;
  try {
    reader = std::make_unique<RecordingReader>(std::make_shared<BorrowedFile>(ByteView(damaged)));
  } catch (const Error& error) {
    tally.expect(error.code() == ErrorCode::bad_input, place + ": " + error.what());
    tally.count("found: the file is refused");
    return;
  }
  bool found = true;
  if (!reader->damage().empty()) {
    tally.count("found: when opening");
  } else if (!reader->verify_bytes().empty()) {
    tally.count("found: by verify");
  } else {
    found = false;
    tally.count("NOT found");
  }
  tally.expect(found, place + " was not found");
  const auto judged = [&](std::optional<Position> from, const char* how) {
    const ReplayVerdict verdict = judge_replay(*reader, from, truth);
    tally.count(std::string(how) + verdict_name(verdict));
    tally.expect(verdict != ReplayVerdict::wrong, place + ": a silently different replay");
  };
  if (replays == Replays::none) return;
  if (replays == Replays::all) judged(std::nullopt, "from the start: ");
  judged(reader->usable_to(), "from the last checkpoint: ");
}

int small_recording(bool all) {
  Truth truth(record_tiny({.rounds = 150, .checkpoint_every_steps = 400, .inputs = {{200, 'a'}}}));
  const std::size_t bits = truth.bytes().size() * 8;
  Tally tally("every single-bit flip of a recording of " + grouped(truth.bytes().size()) +
              " bytes");
  on_all_cores(bits, [&](std::size_t bit) {
    Bytes damaged = truth.bytes();
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    // Every bit is looked for; one bit of a byte is replayed as well.
    const bool replayed = bit % 8 == bit / 8 % 8 && (all || bit / 8 % kReplayEvery == 0);
    judge(damaged, bit, replayed ? Replays::all : Replays::none, truth, tally);
    tally.count("flips");
  });
  return tally.finish();
}

int large_recording(bool all) {
  const std::size_t flips = all ? kRandomFlips : kFewRandomFlips;
  Truth truth(record_tiny({.rounds = 240'000,
                           .checkpoint_every_steps = 60'000,
                           .inputs = {{100'000, 'a'}, {500'000, 'b'}, {900'000, 'c'}}}));
  const std::size_t bits = truth.bytes().size() * 8;
  Tally tally(grouped(flips) + " random flips of a recording of " + grouped(truth.bytes().size()) +
              " bytes");
  tally.expect(truth.bytes().size() >= (1U << 20), "the recording is smaller than 1 MiB");
  on_all_cores(flips, [&](std::size_t n) {
    thread_local Bytes damaged = truth.bytes();
    std::mt19937_64 random(n * 7919 + 1);
    const std::size_t bit = random() % bits;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    judge(damaged, bit, n % kFromStartEvery == 0 ? Replays::all : Replays::short_one, truth, tally);
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    tally.count("flips");
  });
  return tally.finish();
}

}  // namespace

int main(int argc, char** argv) {
  const bool all = all_cases(argc, argv);
  const int small = small_recording(all);
  const int large = large_recording(all);
  return small | large;
}
