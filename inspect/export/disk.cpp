#include "inspect/export/disk.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kCluster = 65'536;
constexpr std::uint64_t kBlocksPerCluster = kCluster / kMediumBlockBytes;
constexpr std::uint64_t kEntriesPerTable = kCluster / 8;
constexpr std::uint64_t kCountsPerBlock = kCluster / 2;
constexpr std::uint64_t kCopied = 1ULL << 63;

template <class T>
void put(Bytes& out, T value) {
  for (std::size_t n = sizeof(T); n-- > 0;) {
    out.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * n)));
  }
}

/// As many as hold `count` in pieces of `of`.
std::uint64_t pieces(std::uint64_t count, std::uint64_t of) { return (count + of - 1) / of; }

bool is_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

void append_cluster(OutputFile& file, Bytes bytes) {
  bytes.resize(pieces(bytes.size(), kCluster) * kCluster);
  file.append(bytes);
}

}  // namespace

DiskView::DiskView(Machine& machine, std::uint32_t drive, MediaSource& media)
    : drive_(drive), media_(media) {
  const std::vector<DriveConfig>& drives = machine.config().drives;
  if (drive >= drives.size() || drives[drive].size_bytes == 0) {
    throw Error(ErrorCode::usage, "the machine has " + std::to_string(drives.size()) +
                                      " drives, and no disk " + std::to_string(drive));
  }
  size_bytes_ = drives[drive].size_bytes;
  const std::string name = "disk" + std::to_string(drive);
  written_ = machine.memory().region(name + ".written");
  map_ = machine.memory().region(name + ".map");
}

bool DiskView::is_written(std::uint64_t block) const {
  return map_ != nullptr && (*map_->host(block / 8) >> (block % 8) & 1) != 0;
}

std::uint64_t DiskView::written_blocks() const {
  std::uint64_t count = 0;
  for (std::uint64_t block = 0; block < blocks(); ++block) count += is_written(block) ? 1 : 0;
  return count;
}

void DiskView::read(std::uint64_t block, MediaSource::Block out) const {
  if (is_written(block)) {
    written_->read(block * kMediumBlockBytes, out);
  } else if (!media_.read_block(drive_, block, out)) {
    throw Error(ErrorCode::bad_input, "block " + std::to_string(block) + " of disk" +
                                          std::to_string(drive_) + " cannot be read");
  }
}

void for_each_block(const DiskView& disk, const BlockSink& sink) {
  std::array<std::uint8_t, kMediumBlockBytes> content{};
  for (std::uint64_t block = 0; block < disk.blocks(); ++block) {
    disk.read(block, content);
    if (!is_zero(content)) sink(block, content);
  }
}

/// In this order: header, first-level table, second-level tables, clusters, reference
/// counts. Every place is known before the first byte is written.
void export_qcow2(const DiskView& disk, OutputFile& file) {
  std::map<std::uint64_t, std::uint64_t> clusters;  // of the disk: which in the file
  for_each_block(disk, [&](std::uint64_t block, ByteView /*content*/) {
    clusters.try_emplace(block / kBlocksPerCluster);
  });
  const std::uint64_t first_level =
      std::max<std::uint64_t>(pieces(pieces(disk.size_bytes(), kCluster), kEntriesPerTable), 1);
  const std::uint64_t first_level_clusters = pieces(first_level, kEntriesPerTable);
  std::map<std::uint64_t, std::uint64_t> tables;
  std::uint64_t next = 1 + first_level_clusters;
  for (const auto& [cluster, place] : clusters) tables.try_emplace(cluster / kEntriesPerTable);
  for (auto& [table, place] : tables) place = next++;
  for (auto& [cluster, place] : clusters) place = next++;
  // The reference counts count themselves too.
  std::uint64_t count_blocks = 0;
  std::uint64_t count_tables = 0;
  for (std::uint64_t total = 0; total != next + count_blocks + count_tables;) {
    total = next + count_blocks + count_tables;
    count_blocks = pieces(total, kCountsPerBlock);
    count_tables = pieces(count_blocks, kEntriesPerTable);
  }
  const std::uint64_t used = next + count_blocks + count_tables;

  Bytes header{'Q', 'F', 'I', 0xfb};
  put(header, std::uint32_t{2});
  put(header, std::uint64_t{0});  // no backing file
  put(header, std::uint32_t{0});
  put(header, std::uint32_t{16});  // bits of a cluster
  put(header, disk.size_bytes());
  put(header, std::uint32_t{0});  // no encryption
  put(header, static_cast<std::uint32_t>(first_level));
  put(header, kCluster);
  put(header, next * kCluster);
  put(header, static_cast<std::uint32_t>(count_tables));
  put(header, std::uint32_t{0});  // no snapshots
  put(header, std::uint64_t{0});
  append_cluster(file, std::move(header));

  Bytes level;
  for (std::uint64_t n = 0; n < first_level; ++n) {
    const auto table = tables.find(n);
    put(level, table == tables.end() ? 0 : (table->second * kCluster) | kCopied);
  }
  append_cluster(file, std::move(level));
  for (const auto& [table, place] : tables) {
    Bytes entries;
    for (std::uint64_t n = 0; n < kEntriesPerTable; ++n) {
      const auto cluster = clusters.find(table * kEntriesPerTable + n);
      put(entries, cluster == clusters.end() ? 0 : (cluster->second * kCluster) | kCopied);
    }
    append_cluster(file, std::move(entries));
  }
  for (const auto& [cluster, place] : clusters) {
    Bytes content(kCluster);
    for (std::uint64_t n = 0; n < kBlocksPerCluster; ++n) {
      const std::uint64_t block = cluster * kBlocksPerCluster + n;
      if (block >= disk.blocks()) break;
      disk.read(block,
                std::span(content).subspan(n * kMediumBlockBytes).first<kMediumBlockBytes>());
    }
    file.append(content);
  }
  Bytes count_table;
  for (std::uint64_t n = 0; n < count_blocks; ++n) {
    put(count_table, (next + count_tables + n) * kCluster);
  }
  append_cluster(file, std::move(count_table));
  for (std::uint64_t n = 0; n < count_blocks; ++n) {
    Bytes counts;
    for (std::uint64_t i = 0; i < kCountsPerBlock; ++i) {
      put(counts, static_cast<std::uint16_t>(n * kCountsPerBlock + i < used ? 1 : 0));
    }
    append_cluster(file, std::move(counts));
  }
}

}  // namespace chronovisor
