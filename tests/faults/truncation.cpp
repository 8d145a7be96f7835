// Cuts a recording of at least 1 MiB at every byte (with --all), or at every byte near
// the ends of chunks and every 17th of the others. Each cut must open (once the
// metadata is whole) and be usable exactly as far as its whole chunks go; each distinct
// usable part is replayed to its end.
#include <set>

#include "tests/faults/fault_driver.h"
#include "tests/timetravel/tiny_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

constexpr std::size_t kLeastBytes = 1U << 20;
/// Without --all: bytes on both sides of a chunk's end, and one in so many of the rest.
constexpr std::size_t kNear = kChunkHeaderSize + 8, kEvery = 17;

/// What must be there of a recording whose first `length` bytes are left.
struct Expected {
  std::size_t length = 0;  ///< from here on
  bool opens = false;
  Position usable_to;
  std::size_t checkpoints = 0;
  bool kernel = false;
};

/// One entry for each whole chunk, from the index of the sound recording.
std::vector<Expected> expectations(const RecordingReader& reader) {
  const RecordingIndex& index = reader.index();
  std::vector<Expected> list{{}};
  std::size_t offset = kFileHeaderSize;
  Expected now;
  now.usable_to = reader.start();
  for (std::uint64_t sequence = 0; sequence < index.chunks.size(); ++sequence) {
    offset += kChunkHeaderSize + index.chunks[sequence].stored_length;
    now.length = offset;
    now.opens = true;  // the first chunk is the metadata
    for (const InputRange& range : reader.input_ranges()) {
      if (range.sequence == sequence) now.usable_to = range.complete_to;
    }
    for (const CheckpointInfo& info : reader.checkpoints()) {
      if (info.sequence == sequence) ++now.checkpoints;
    }
    for (const ImageInfo& image : reader.images()) {
      if (image.sequence == sequence) now.kernel = true;
    }
    list.push_back(now);
  }
  return list;
}

/// The lengths to cut at.
std::vector<std::size_t> cuts(const std::vector<Expected>& expected, std::size_t size, bool all) {
  std::vector<std::size_t> lengths;
  auto next = expected.begin();
  for (std::size_t length = 0; length < size; ++length) {
    while (next != expected.end() && next->length + kNear < length) ++next;
    const bool near = next != expected.end() && length + kNear >= next->length;
    if (all || near || length % kEvery == 0) lengths.push_back(length);
  }
  return lengths;
}

}  // namespace

int main(int argc, char** argv) {
  Truth truth(record_tiny({.rounds = 260'000,
                           .checkpoint_every_steps = 100'000,
                           .inputs = {{100'000, 'a'}, {500'000, 'b'}, {900'000, 'c'}}}));
  const Bytes& bytes = truth.bytes();
  const std::vector<Expected> expected = expectations(truth.reader());
  const std::vector<std::size_t> lengths = cuts(expected, bytes.size(), all_cases(argc, argv));
  Tally tally("truncation at " + grouped(lengths.size()) + " places of a recording of " +
              grouped(bytes.size()) + " bytes");
  tally.expect(bytes.size() >= kLeastBytes, "the recording is smaller than 1 MiB");
  std::mutex mutex;
  std::set<std::pair<Position, std::size_t>> replayed;
  on_all_cores(lengths.size(), [&](std::size_t n) {
    const std::size_t length = lengths[n];
    const auto after = std::partition_point(expected.begin(), expected.end(),
                                            [&](const Expected& e) { return e.length <= length; });
    const Expected& want = *std::prev(after);
    const std::string place = "cut at " + std::to_string(length);
    std::unique_ptr<RecordingReader> reader;
    try {
      reader = std::make_unique<RecordingReader>(
          std::make_shared<BorrowedFile>(ByteView(bytes).first(length)));
    } catch (const Error& error) {
      tally.expect(error.code() == ErrorCode::bad_input, place + ": " + error.what());
      tally.expect(!want.opens, place + " does not open");
      tally.count("refused: no metadata yet");
      return;
    }
    tally.count("opened");
    tally.expect(want.opens, place + " opens");
    tally.expect(!reader->damage().empty(), place + " passes for whole");
    tally.expect(reader->usable_to() == want.usable_to,
                 place + ": usable to " + grouped(reader->usable_to().steps) + ", expected " +
                     grouped(want.usable_to.steps));
    tally.expect(reader->checkpoints().size() == want.checkpoints, place + ": checkpoints");
    if (!want.kernel) return;
    {
      const std::lock_guard lock(mutex);
      if (!replayed.emplace(reader->usable_to(), reader->checkpoints().size()).second) return;
    }
    for (const auto& from : {std::optional<Position>{}, std::optional(reader->usable_to())}) {
      if (from && reader->checkpoints().empty()) continue;
      const ReplayVerdict verdict = judge_replay(*reader, from, truth);
      tally.expect(verdict == ReplayVerdict::right, place + ": " + verdict_name(verdict));
      tally.count("replays of distinct usable parts");
    }
  });
  return tally.finish();
}
