// Makes recordings as long runs leave them, without running anything: many checkpoints of
// a memory in which some pages change all the time and others now and then.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "recorder/format/checkpoint_chain.h"
#include "recorder/format/interval_index.h"
#include "recorder/format/recording_writer.h"

namespace chronovisor::testing {

struct LargeRecording {
  std::uint32_t checkpoints = 1000;
  std::uint32_t pages = 4096;         ///< of memory
  std::uint32_t hot_pages = 16;       ///< change with every checkpoint
  std::uint32_t other_pages = 8;      ///< of the rest, change with each, anyhow
  std::uint32_t returning_pages = 0;  ///< of the last quarter, go to and fro between two contents
  std::uint64_t steps_apart = 1ULL << 26;
  bool chained = true;  ///< parents as recorders choose them; false: the one before, as once
  bool events = false;  ///< an input, output and packets behind every checkpoint, and bookmarks
  std::uint32_t listed = 1;  ///< runs of code, and pages, that the index lists of an interval
  /// The same of a run of a guest: its saved state at a checkpoint, its pages, which stay as
  /// they are while those from `first_page` on change, and what the index says of it.
  struct Guest {
    std::function<std::vector<Section>(std::uint32_t checkpoint, Position position)> sections;
    std::map<std::uint32_t, Bytes> pages;
    std::uint32_t first_page = 0;
    std::function<void(std::uint32_t checkpoint, IntervalAccesses& accesses)> accesses;
    Bytes image;
  };
  const Guest* guest = nullptr;

  [[nodiscard]] std::uint32_t first_page() const {
    return guest != nullptr ? guest->first_page : 0;
  }
  /// Where pages begin that go to and fro.
  [[nodiscard]] std::uint32_t first_returning() const {
    return returning_pages == 0 ? pages : pages - pages / 4;
  }
  /// What the index says of the interval behind checkpoint `n`.
  [[nodiscard]] IntervalAccesses accesses(std::uint32_t n) const {
    constexpr std::uint64_t kCode = 0xffff'ffff'8100'0000;
    constexpr std::uint64_t kData = 0xffff'8880'0000'0;  // page
    IntervalAccesses some;
    if (guest != nullptr) guest->accesses(n, some);
    for (std::uint64_t k = 0; k < listed; ++k) {
      const std::uint64_t first = kCode + k * 0x10000 + n % 1000 * 64;
      some.code.push_back({first, first + 9});
      some.pages.push_back({kData + k * 512 + n % 500, true, false, 1ULL << (n % 64)});
    }
    return some;
  }

  /// The content of a page that changed last with checkpoint `version`.
  [[nodiscard]] static Bytes content(std::uint64_t page, std::uint32_t version) {
    Bytes bytes(kPageSize, static_cast<std::uint8_t>(page % 255 + 1));  // never zeros
    std::memcpy(bytes.data(), &page, sizeof page);
    std::memcpy(bytes.data() + 64 + version % 500 * 8, &version, sizeof version);
    return bytes;
  }
  /// The content of a page of the guest that stays, or of one that changed with `version`.
  [[nodiscard]] Bytes content_of(std::uint32_t page, std::uint32_t version) const {
    if (guest == nullptr) return content(page, version);
    const auto stays = guest->pages.find(page);
    return stays != guest->pages.end() ? stays->second : content(page, version);
  }
};

/// With which checkpoint each page changed last; of those that go to and fro, 0 or 1.
class PageVersions {
 public:
  explicit PageVersions(const LargeRecording& kind) : kind_(kind), version_(kind.pages) {}

  /// Goes on to a checkpoint, one after the other from 0.
  /// @return the pages that changed, ascending
  std::vector<std::uint32_t> next() {
    std::vector<std::uint32_t> changed;
    if (number_ == 0) {
      for (std::uint32_t page = kind_.first_page(); page < kind_.pages; ++page) {
        changed.push_back(page);
      }
    } else {
      change(changed);
    }
    ++number_;
    return changed;
  }
  [[nodiscard]] std::uint32_t of(std::uint64_t page) const {
    return version_[static_cast<std::size_t>(page)];
  }

 private:
  void change(std::vector<std::uint32_t>& changed) {
    const std::uint32_t first = kind_.first_page();
    const std::uint32_t hot = std::min(kind_.hot_pages, kind_.pages - first);
    for (std::uint32_t n = 0; n < hot; ++n) changed.push_back(first + n);
    const std::uint32_t end = kind_.first_returning();
    for (std::uint32_t n = 0; n < kind_.other_pages; ++n) {
      changed.push_back(first + static_cast<std::uint32_t>(random_() % (end - first)));
    }
    for (std::uint32_t n = 0; n < kind_.returning_pages; ++n) {
      changed.push_back(end + static_cast<std::uint32_t>(random_() % (kind_.pages - end)));
    }
    std::sort(changed.begin(), changed.end());
    changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
    for (const std::uint32_t page : changed) {
      version_[page] = page < end ? number_ : 1 - version_[page];
    }
  }

  LargeRecording kind_;
  std::vector<std::uint32_t> version_;
  std::uint32_t number_ = 0;
  std::mt19937_64 random_{17};
};

/// Behind checkpoint `n`, at `position`.
inline void write_events(RecordingWriter& writer, std::uint32_t n, std::uint64_t position) {
  static const std::string kLine = "a line of output as programs write them\n";
  writer.input({Position{position + 7}, 0, InputKind::serial_byte, 0, Bytes(1, 'a')});
  writer.console({Position{position + 9}, 0, ConsoleChannel::serial0, as_bytes(kLine)});
  writer.input({Position{position + 20}, 0, InputKind::network_frame, 0, Bytes(60, 1)});
  writer.sent_frame(Position{position + 30}, 0, 0, Bytes(70, static_cast<std::uint8_t>(n)));
  if (n % 10'000 == 1) writer.bookmark({Position{position + 40}, "mark-" + std::to_string(n)});
}

/// Writes such a recording. Checkpoint n is at position n * steps_apart.
inline void write_large(std::unique_ptr<OutputFile> file, const FileId& id,
                        const LargeRecording& kind, const std::string& metadata = "{}",
                        const WriterOptions& options = {},
                        const std::function<void(std::uint32_t)>& progress = {}) {
  RecordingWriter writer(std::move(file), id, metadata, options);
  if (kind.guest != nullptr) {
    writer.embed_image("kernel", "guest", MemoryInputFile(kind.guest->image));
  }
  PageVersions versions(kind);
  ChangedPages chain;
  // Of each page the content that it has, and of those that go to and fro the other one.
  std::vector<Hash128> hash(kind.pages);
  std::vector<Hash128> other(kind.pages);
  const std::uint32_t first_returning = kind.first_returning();
  for (std::uint32_t page = first_returning; page < kind.pages; ++page) {
    other[page] = hash128(LargeRecording::content(page, 1));
  }
  for (std::uint32_t n = 0; n < kind.checkpoints; ++n) {
    const std::vector<std::uint32_t> changed = versions.next();
    for (const std::uint32_t page : changed) {
      if (n != 0 && page >= first_returning) {
        std::swap(hash[page], other[page]);
      } else {
        hash[page] = hash128(LargeRecording::content(page, n));
      }
    }
    CheckpointRecord record;
    record.position = Position{n * kind.steps_apart};
    record.digest = hash128(as_bytes(std::to_string(n)));
    record.sections = kind.guest != nullptr
                          ? kind.guest->sections(n, record.position)
                          : std::vector<Section>{{"cpu", Bytes(600, static_cast<std::uint8_t>(n))}};
    std::vector<std::uint32_t> pages = changed;
    if (kind.chained) {
      record.parent = chain_parent(n);
      pages = chain.taken(n, changed);
    } else if (n != 0) {
      record.parent = n - 1;
    }
    if (n == 0 && kind.guest != nullptr) {
      for (const auto& [page, bytes] : kind.guest->pages) {
        if (page < kind.guest->first_page) record.pages.push_back({page, hash128(bytes)});
      }
    }
    for (const std::uint32_t page : pages) record.pages.push_back({page, hash[page]});
    if (n == 0 && kind.guest != nullptr) {
      for (const auto& [page, bytes] : kind.guest->pages) {
        if (page >= kind.pages) record.pages.push_back({page, hash128(bytes)});
      }
    }
    writer.checkpoint(record, [&](const PageRecord& page, PageBytes out) {
      const auto number = static_cast<std::uint32_t>(page.page);
      const bool changes = number < kind.pages;
      const Bytes bytes = kind.content_of(number, changes ? versions.of(number) : 0);
      std::copy(bytes.begin(), bytes.end(), out.begin());
    });
    writer.digest({record.position, record.digest});
    if (kind.events) write_events(writer, n, n * kind.steps_apart);
    writer.interval_index(Position{n * kind.steps_apart}, Position{(n + 1) * kind.steps_apart},
                          kind.accesses(n).encode());
    if (progress) progress(n);
  }
  writer.advance_to(Position{kind.checkpoints * kind.steps_apart});
  writer.finish(std::nullopt);
}

}  // namespace chronovisor::testing
