#include "replica/primary/log_tail.h"

#include <algorithm>
#include <array>
#include <variant>

#include "base/error.h"

namespace chronovisor::replica {

bool is_log_chunk(std::uint32_t type) {
  switch (static_cast<ChunkType>(type)) {
    case ChunkType::input_log:
    case ChunkType::block_data:
    case ChunkType::block_directory:
    case ChunkType::digests:
      return true;
    default:
      return false;
  }
}

LogTail::LogTail(const std::string& path) : file_(path) {
  id_ = decode_file_header(read(0, kFileHeaderSize), path).id;
}

Bytes LogTail::read(std::uint64_t offset, std::size_t most) const {
  Bytes bytes(most);
  bytes.resize(file_.read(offset, bytes));
  return bytes;
}

Bytes LogTail::log_between(std::uint64_t from, std::uint64_t to) const {
  Bytes log;
  while (from < to) {
    std::array<std::uint8_t, kChunkHeaderSize> head{};
    const bool whole = file_.read(from, head) == head.size();
    const auto decoded = decode_chunk_header(head, id_);
    const auto* header = std::get_if<ChunkHeader>(&decoded);
    if (!whole || header == nullptr) {
      throw Error(ErrorCode::bad_input,
                  file_.name() + ": no chunk at byte " + std::to_string(from) + " any more");
    }
    const std::size_t size = kChunkHeaderSize + header->stored_length;
    if (is_log_chunk(header->type)) {
      const std::size_t at = log.size();
      log.resize(at + size);
      const std::size_t got = file_.read(from, std::span(log).subspan(at));
      if (got != size) throw Error(ErrorCode::bad_input, file_.name() + ": was cut");
    }
    from += size;
  }
  return log;
}

}  // namespace chronovisor::replica
