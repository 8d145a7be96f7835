// Owns what an opened recording keeps for reading blocks of disks: in which directory each
// block is told of, 8 bytes a block, and directories and data read lately, within bounds.
// For RecordingReader alone.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "recorder/format/block_log.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {

struct RecordingReader::BlockCache {
  /// A block that was read; the directory by its place among all.
  struct KnownBlock {
    std::uint32_t block = 0;
    std::uint32_t directory = 0;
    auto operator<=>(const KnownBlock&) const = default;
  };
  /// The latest values of some kind that were used, by the chunk that they are from.
  template <class Value>
  struct Lately {
    struct Cached {
      std::uint64_t sequence = 0;
      std::shared_ptr<const Value> value;
      std::size_t bytes = 0;
    };
    explicit Lately(std::size_t limit) : limit_bytes(limit) {}
    std::size_t limit_bytes;
    std::deque<Cached> recent;  ///< the latest in front
    std::size_t bytes = 0;

    std::shared_ptr<const Value> find(std::uint64_t sequence);
    void keep(std::uint64_t sequence, std::shared_ptr<const Value> value, std::size_t size);
  };
  using Directory = std::vector<BlockEntry>;  ///< by medium and block

  static constexpr std::size_t kDataBytes = std::size_t{32} << 20;
  static constexpr std::size_t kDirectoryBytes = std::size_t{2} << 20;

  std::mutex mutex;
  bool loaded = false;
  std::map<std::uint32_t, std::vector<KnownBlock>> blocks;  ///< of each medium, each once
  Lately<Bytes> data{kDataBytes};
  Lately<Directory> directories{kDirectoryBytes};

  /// What is known of a block; nothing: it was not read. Needs the lock.
  std::optional<BlockEntry> find(const RecordingReader& reader, std::uint32_t medium,
                                 std::uint64_t block);
  [[nodiscard]] std::size_t bytes() const;

 private:
  void load(const RecordingReader& reader);
  std::shared_ptr<const Directory> directory(const RecordingReader& reader, std::uint32_t number);
};

}  // namespace chronovisor
