#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"
#include "tests/recorder/sample_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

/// What the recording child tells its parent: everything before it was flushed.
using Flushed = std::atomic<std::uint64_t>;

[[noreturn]] void record_until_killed(const std::string& path, Flushed& flushed) {
  RecordingWriter writer(std::make_unique<PosixOutputFile>(path, ExistingFile::replace), test_id(),
                         "{}");
  std::optional<std::uint32_t> parent;
  for (std::uint64_t steps = 1;; ++steps) {
    writer.input(serial_input(steps, 0, static_cast<char>(steps)));
    if (steps % 50 == 0) {
      write_checkpoint(writer, steps, parent, {{{1, steps}, {2, steps + 1}, {3, 7}}});
      parent = parent ? *parent + 1 : 0;
    } else if (steps % 10 == 0) {
      writer.flush();
    } else {
      continue;
    }
    flushed = steps;
  }
}

}  // namespace

TEST_CASE("a recorder killed at any moment leaves all it had flushed") {
  const std::string path = std::filesystem::temp_directory_path() /
                           ("chronovisor-kill-" + std::to_string(::getpid()) + ".cvr");
  void* shared =
      ::mmap(nullptr, sizeof(Flushed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  auto& flushed = *new (shared) Flushed(0);
  std::mt19937_64 random(5);
  for (int round = 0; round < 25; ++round) {
    flushed = 0;
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) record_until_killed(path, flushed);
    while (flushed == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);

    const RecordingReader reader(path);
    CHECK(reader.usable_to().steps >= flushed);
    // The last checkpoint may still be on its way until the next flush.
    const std::uint64_t on_its_way = flushed % 50 == 0 ? 1 : 0;
    CHECK(reader.checkpoints().size() >= flushed / 50 - on_its_way);
    std::uint64_t expected = 0;
    for (InputCursor cursor(reader); const InputEvent* event = cursor.peek(); cursor.pop()) {
      ++expected;
      REQUIRE(*event == serial_input(expected, 0, static_cast<char>(expected)));
    }
    CHECK(expected == reader.usable_to().steps);
    for (std::size_t i = 0; i < reader.checkpoints().size(); ++i) {
      for (const PageRecord& page : reader.page_delta(i)) {
        std::array<std::uint8_t, kPageSize> content{};
        reader.read_page(page.content, content);
      }
    }
  }
  ::munmap(shared, sizeof(Flushed));
  std::filesystem::remove(path);
}
