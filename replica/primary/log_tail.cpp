#include "replica/primary/log_tail.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/error.h"

namespace chronovisor::replica {
namespace {

constexpr std::size_t kWindowBytes = 16U << 10;

}  // namespace

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
  Bytes window;  // a mark's log is small: one read brings it, headers and all
  std::uint64_t window_at = from;
  const auto view = [&](std::uint64_t at, std::size_t size) {
    if (at < window_at || at + size > window_at + window.size()) {
      const std::uint64_t wanted = std::min<std::uint64_t>(to - at, kWindowBytes);
      window = read(at, std::max<std::size_t>(size, wanted));
      window_at = at;
    }
    if (window_at + window.size() < at + size) {
      throw Error(ErrorCode::bad_input, file_.name() + ": was cut");
    }
    return ByteView(window).subspan(at - window_at, size);
  };
  // Nothing shorter than a chunk's header lies between two: it is a trailer.
  while (to - from >= kChunkHeaderSize) {
    const auto decoded =
        decode_chunk_header(view(from, kChunkHeaderSize).first<kChunkHeaderSize>(), id_);
    const auto* header = std::get_if<ChunkHeader>(&decoded);
    const std::uint64_t size =
        header == nullptr ? 0 : kChunkHeaderSize + std::uint64_t{header->stored_length};
    if (header == nullptr || size > to - from) {
      throw Error(ErrorCode::bad_input,
                  file_.name() + ": no chunk at byte " + std::to_string(from) + " any more");
    }
    if (is_log_chunk(header->type)) {
      const ByteView chunk = view(from, size);
      log.insert(log.end(), chunk.begin(), chunk.end());
    }
    from += size;
  }
  return log;
}

Bytes LogPosition::take_bytes(std::uint64_t to, std::size_t most) {
  const std::size_t count = std::min<std::uint64_t>(most, to - at_);
  Bytes bytes = segment_->file.read(at_ - segment_->begin, count);
  at_ += bytes.size();
  return bytes;
}

Bytes LogPosition::take_log(std::uint64_t to) {
  Bytes log;
  while (true) {
    const std::uint64_t begin = segment_->begin;
    const std::uint64_t end = segment_->end;
    const std::uint64_t here_to = std::min(to, end);
    if (at_ < here_to) {
      const Bytes part = segment_->file.log_between(at_ - begin, here_to - begin);
      log.insert(log.end(), part.begin(), part.end());
      at_ = here_to;
    }
    if (to <= end) return log;
    segment_ = segment_->next;
    at_ = segment_->begin;
    const Bytes header = take_bytes(at_ + kFileHeaderSize, kFileHeaderSize);
    log.insert(log.end(), header.begin(), header.end());
  }
}

}  // namespace chronovisor::replica
