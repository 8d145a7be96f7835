// Owns the blocks of disks that a primary has read and its backup will read: contents in a
// file without a name, by medium and block. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "host/descriptor.h"
#include "recorder/format/block_log.h"
#include "vmm/devices/core/media.h"

namespace chronovisor::replica {

class BlockStore final : public MediaSource {
 public:
  /// @param beside the file is made beside this path. Throws Error{host}.
  explicit BlockStore(const std::string& beside);
  /// What is not here is looked for there; null: nowhere, and cannot be read. `entries` are
  /// the blocks that the recording so far has, whose contents later ones may share. Before
  /// the machine runs.
  void set_before(std::shared_ptr<MediaSource> before, const std::vector<BlockEntry>& entries);

  /// What comes from here on is of another file: its chunks are numbered anew.
  void begin_file();
  /// Contents of chunk `sequence`. Throws Error{host}.
  void add_data(std::uint64_t sequence, ByteView contents);
  /// Throws Error{bad_input} when a content lies beyond its chunk.
  void add_directory(const std::vector<BlockEntry>& entries);

  [[nodiscard]] bool read_block(std::uint32_t medium, std::uint64_t block, Block out) override;

 private:
  struct Place {
    BlockKind kind = BlockKind::unreadable;
    std::uint64_t offset = 0;
    std::optional<Hash128> shared{};  ///< the content is one that came before
  };
  struct SameContent {
    std::uint32_t medium = 0;
    std::uint64_t block = 0;
  };
  struct Chunk {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };

  Descriptor file_;
  std::shared_ptr<MediaSource> before_;
  std::mutex mutex_;
  std::uint64_t size_ = 0;
  std::unordered_map<std::uint64_t, Chunk> chunks_;
  std::unordered_map<std::uint64_t, Place> blocks_;
  std::map<Hash128, SameContent> contents_before_;
};

}  // namespace chronovisor::replica
