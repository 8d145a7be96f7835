#include "recorder/format/chunk_purpose.h"

#include "recorder/format/chunk.h"

namespace chronovisor {

ChunkPurpose chunk_purpose(std::uint32_t type) {
  switch (static_cast<ChunkType>(type)) {
    case ChunkType::image:
    case ChunkType::image_data:
      return ChunkPurpose::image;
    case ChunkType::block_data:
    case ChunkType::block_directory:
      return ChunkPurpose::disk;
    case ChunkType::page_batch:
    case ChunkType::page_recipes:
    case ChunkType::page_totals:
    case ChunkType::page_directory:
    case ChunkType::page_map:
    case ChunkType::sections:
    case ChunkType::checkpoint:
      return ChunkPurpose::checkpoint;
    case ChunkType::interval_index:
    case ChunkType::interval_filter:
      return ChunkPurpose::index;
    default:
      return ChunkPurpose::run;
  }
}

std::uint64_t bytes_for(const RecordingIndex& index, ChunkPurpose purpose) {
  std::uint64_t bytes = 0;
  for (const auto& [type, total] : index.totals) {
    if (chunk_purpose(type) == purpose) bytes += total.stored_bytes;
  }
  return bytes;
}

}  // namespace chronovisor
