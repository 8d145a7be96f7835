// Makes one run, in one file or in parts, and says everything that is in a recording of it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "recorder/edit/rewrite.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/parted_recorder.h"
#include "tests/recorder/sample_recording.h"
#include "tests/temporary_folder.h"

namespace chronovisor::testing {

inline constexpr std::uint64_t kSpacing = 1000;
inline constexpr std::uint64_t kCheckpoints = 40;
inline constexpr std::uint64_t kBlockOfDisk = 7;

inline TapeCounter counter(std::uint64_t steps) { return {Position{steps}, steps, steps}; }

/// The pages that changed with a checkpoint, or all where there is none before it.
inline TestPages pages_of(std::uint64_t n, bool all) {
  TestPages pages{{{1, n + 1}, {3 + n % 3, 90 + n}}};
  if (all) {
    for (std::uint64_t k = 0; k < 3 && k <= n; ++k) {
      const std::uint64_t last = n - k;  // when page 3 + last % 3 changed
      if (k != 0) pages.seeds.push_back({3 + last % 3, 90 + last});
    }
    pages.seeds.push_back({2, 5});
  }
  std::sort(pages.seeds.begin(), pages.seeds.end());
  return pages;
}

inline void write_checkpoint_of_run(RecordingWriter& writer, std::uint64_t n) {
  const std::size_t count = writer.checkpoint_count();
  const auto parent = count == 0
                          ? std::nullopt
                          : std::optional<std::uint32_t>(static_cast<std::uint32_t>(count - 1));
  writer.digest(
      {Position{n * kSpacing}, hash128(as_bytes("digest " + std::to_string(n * kSpacing)))});
  write_checkpoint(writer, n * kSpacing, parent, pages_of(n, count == 0));
}

/// What happens behind a checkpoint: an input, output, frames, a block that is read.
inline void write_stretch(RecordingWriter& writer, std::uint64_t n) {
  const std::uint64_t at = n * kSpacing;
  writer.input(serial_input(at + 7, at / 2, static_cast<char>('a' + n % 26)));
  writer.console({Position{at + 9}, at / 2, ConsoleChannel::serial0, as_bytes("x\n")});
  if (n % 3 == 1) {
    writer.input({Position{at + 20}, at / 2, InputKind::network_frame, 0, Bytes(60, 1)});
    writer.sent_frame(Position{at + 30}, at / 2, 0, Bytes(70, static_cast<std::uint8_t>(n)));
  }
  writer.block(0, kBlockOfDisk + n / 10, ByteView(test_page(500 + n / 10)));
  if (n == 5) writer.bookmark({Position{at + 40}, "five"});
}

inline void embed(RecordingWriter& writer) {
  writer.embed_image("kernel", "/boot/vmlinuz", MemoryInputFile(Bytes(3000, 0x41), "vmlinuz"));
}

inline void write_end(RecordingWriter& writer) {
  writer.advance_to(Position{kCheckpoints * kSpacing});
}
inline constexpr const char* kSummary = R"({"exit":{"reason":"poweroff","code":0}})";

inline Bytes in_one_file() {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), test_id(), StartCondition{}.to_json());
  embed(writer);
  for (std::uint64_t n = 0; n < kCheckpoints; ++n) {
    if (n != 0) writer.interval_index(Position{(n - 1) * kSpacing}, Position{n * kSpacing}, {});
    write_checkpoint_of_run(writer, n);
    write_stretch(writer, n);
  }
  write_end(writer);
  writer.finish(kSummary);
  return *bytes;
}

/// The same run with a part for every ten checkpoints. `end` is false: it was killed.
inline std::uint64_t write_parts(const std::string& path, std::uint64_t most_thinned = 1,
                                 bool end = true) {
  PartedRecorder tape(path, StartCondition{}.to_json(), {},
                      {.part_bytes = 1, .least_steps = 10 * kSpacing, .most_thinned = most_thinned},
                      counter(0), embed);
  for (std::uint64_t n = 0; n < kCheckpoints; ++n) {
    const std::uint64_t at = n * kSpacing;
    if (n != 0) {
      tape.writer().advance_to(Position{at});
      tape.writer().interval_index(Position{at - kSpacing}, Position{at}, {});
    }
    const bool due = tape.is_due(counter(at));
    if (due) tape.begin_segment(counter(at));
    write_checkpoint_of_run(tape.writer(), n);
    if (due) tape.commit_segment();
    write_stretch(tape.writer(), n);
  }
  write_end(tape.writer());
  tape.wait_for_thinning();
  if (end) {
    tape.finish(kSummary, counter(kCheckpoints * kSpacing));
  } else {
    tape.writer().flush();
  }
  return tape.parts();
}

/// Everything in a recording, however it is kept: as a copy of it has it.
inline std::vector<std::string> facts_of(const RecordingReader& reader) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  const RecordingReader* const source = &reader;
  rewrite_recording({&source, 1}, std::move(file), {});
  const Walk walk = walk_bytes(*bytes);
  CHECK(walk.problems.empty());
  return walk.facts;
}

}  // namespace chronovisor::testing
