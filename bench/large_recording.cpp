// Makes a recording as a long run leaves it (tests/recorder/large_recording.h), or opens
// one at its end and prints what that took: seconds of the processor, and memory.
//   large_recording make FILE CHECKPOINTS [PAGES]
//   large_recording open FILE
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "recorder/format/start_condition.h"
#include "tests/recorder/large_recording.h"
#include "timetravel/checkpoint_store.h"

using namespace chronovisor;

namespace {

double resident_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

class Watch {
 public:
  [[nodiscard]] double seconds() const {
    return static_cast<double>(std::clock() - began_) / CLOCKS_PER_SEC;
  }

 private:
  std::clock_t began_ = std::clock();  ///< of the processor
};

void make(const std::string& path, std::uint32_t checkpoints, std::uint32_t pages) {
  testing::LargeRecording kind;
  kind.checkpoints = checkpoints;
  kind.pages = pages;
  StartCondition start;
  start.machine.memory_bytes = std::uint64_t{pages} * kPageSize;
  testing::write_large(std::make_unique<PosixOutputFile>(path, ExistingFile::replace),
                       FileId::random(), kind, start.to_json());
  std::printf("resident %.0f MiB\n", resident_mib());
}

void open(const std::string& path) {
  const Watch all;
  const RecordingReader reader(path);
  const double opened = all.seconds();
  const std::uint64_t pages = start_of(reader).machine.memory_bytes / kPageSize;
  const CheckpointStore store(reader, pages, std::uint64_t{1} << 30);
  const Watch memory;
  const std::size_t last = reader.checkpoints().size() - 1;
  const PageMap map = store.recorded_map(last);
  const double mapped = memory.seconds();
  // As a restore does: in the order in which pages lie in the file.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> order;
  for (std::uint64_t page = 0; page < pages; ++page) {
    const auto known = map.place(page);
    order.emplace_back(known ? *known : reader.page_place(map.content(page)), page);
  }
  std::sort(order.begin(), order.end());
  Bytes bytes(kPageSize);
  for (const auto& [place, page] : order) {
    store.read_page(map, page, std::span(bytes).first<kPageSize>());
  }
  std::printf("steps %.3g checkpoints %zu file %.1f MiB open %.3f s map at the end %.3f s ",
              static_cast<double>(reader.usable_to().steps), last + 1,
              static_cast<double>(reader.file_bytes()) / (1 << 20), opened, mapped);
  std::printf("its pages %.3f s resident %.0f MiB, kept of what was read %.1f MiB\n",
              memory.seconds() - mapped, resident_mib(),
              static_cast<double>(reader.cache_bytes()) / (1 << 20));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string what = argc > 2 ? argv[1] : "";
    if (what == "make" && argc > 3) {
      make(argv[2], static_cast<std::uint32_t>(std::atol(argv[3])),
           argc > 4 ? static_cast<std::uint32_t>(std::atol(argv[4])) : 65'536);
    } else if (what == "open") {
      open(argv[2]);
    } else {
      std::fprintf(stderr,
                   "large_recording make FILE CHECKPOINTS [PAGES]\nlarge_recording open FILE\n");
      return 2;
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "large_recording: %s\n", error.what());
    return 5;
  }
  return 0;
}
