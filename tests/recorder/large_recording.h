// Makes recordings as long runs leave them, without running anything: many checkpoints of
// a memory in which some pages change all the time and others now and then.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "recorder/format/checkpoint_chain.h"
#include "recorder/format/recording_writer.h"

namespace chronovisor::testing {

struct LargeRecording {
  std::uint32_t checkpoints = 1000;
  std::uint32_t pages = 4096;     ///< of memory
  std::uint32_t hot_pages = 16;   ///< change with every checkpoint
  std::uint32_t other_pages = 8;  ///< of the rest, change with each, anyhow
  std::uint64_t steps_apart = 1ULL << 26;
  bool chained = true;  ///< parents as recorders choose them; false: the one before, as once

  /// The content of a page that changed last with checkpoint `version`.
  [[nodiscard]] static Bytes content(std::uint64_t page, std::uint32_t version) {
    Bytes bytes(kPageSize, static_cast<std::uint8_t>(page % 255 + 1));  // never zeros
    std::memcpy(bytes.data(), &page, sizeof page);
    std::memcpy(bytes.data() + 64 + version % 500 * 8, &version, sizeof version);
    return bytes;
  }
};

/// With which checkpoint each page changed last.
class PageVersions {
 public:
  explicit PageVersions(const LargeRecording& kind) : kind_(kind), version_(kind.pages) {}

  /// Goes on to a checkpoint, one after the other from 0.
  /// @return the pages that changed, ascending
  std::vector<std::uint32_t> next() {
    std::vector<std::uint32_t> changed;
    for (std::uint32_t page = 0; page < kind_.pages; ++page) {
      if (number_ != 0 && page == kind_.hot_pages) break;
      changed.push_back(page);
    }
    for (std::uint32_t n = 0; number_ != 0 && n < kind_.other_pages; ++n) {
      changed.push_back(static_cast<std::uint32_t>(random_() % kind_.pages));
    }
    std::sort(changed.begin(), changed.end());
    changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
    for (const std::uint32_t page : changed) version_[page] = number_;
    ++number_;
    return changed;
  }
  [[nodiscard]] std::uint32_t of(std::uint64_t page) const {
    return version_[static_cast<std::size_t>(page)];
  }

 private:
  LargeRecording kind_;
  std::vector<std::uint32_t> version_;
  std::uint32_t number_ = 0;
  std::mt19937_64 random_{17};
};

/// Writes such a recording. Checkpoint n is at position n * steps_apart.
inline void write_large(std::unique_ptr<OutputFile> file, const FileId& id,
                        const LargeRecording& kind, const std::string& metadata = "{}",
                        const WriterOptions& options = {}) {
  RecordingWriter writer(std::move(file), id, metadata, options);
  PageVersions versions(kind);
  ChangedPages chain;
  std::vector<Hash128> hash(kind.pages);
  for (std::uint32_t n = 0; n < kind.checkpoints; ++n) {
    const std::vector<std::uint32_t> changed = versions.next();
    for (const std::uint32_t page : changed) {
      hash[page] = hash128(LargeRecording::content(page, n));
    }
    CheckpointRecord record;
    record.position = Position{n * kind.steps_apart};
    record.digest = hash128(as_bytes(std::to_string(n)));
    record.sections = {{"cpu", Bytes(600, static_cast<std::uint8_t>(n))}};
    std::vector<std::uint32_t> pages = changed;
    if (kind.chained) {
      record.parent = chain_parent(n);
      pages = chain.taken(n, changed);
    } else if (n != 0) {
      record.parent = n - 1;
    }
    for (const std::uint32_t page : pages) record.pages.push_back({page, hash[page]});
    writer.checkpoint(record, [&](const PageRecord& page, PageBytes out) {
      const Bytes bytes = LargeRecording::content(page.page, versions.of(page.page));
      std::copy(bytes.begin(), bytes.end(), out.begin());
    });
    writer.digest({record.position, record.digest});
    writer.interval_index(Position{n * kind.steps_apart}, Position{(n + 1) * kind.steps_apart},
                          Bytes(40, static_cast<std::uint8_t>(n)));
  }
  writer.advance_to(Position{kind.checkpoints * kind.steps_apart});
  writer.finish(std::nullopt);
}

}  // namespace chronovisor::testing
