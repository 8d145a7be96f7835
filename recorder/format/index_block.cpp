#include "recorder/format/index_block.h"

#include <array>
#include <variant>

#include "base/error.h"
#include "recorder/format/scan.h"

namespace chronovisor {
namespace {

constexpr std::size_t kKeptOverhead = 128;

}  // namespace

void encode_block_head(const BlockHead& head, ByteWriter& out) {
  out.integer(head.table);
  out.integer(head.level);
  out.varint(head.first);
  out.varint(head.count);
}

BlockHead decode_block_head(ByteReader& in) {
  BlockHead head;
  head.table = in.integer<std::uint8_t>();
  head.level = in.integer<std::uint8_t>();
  head.first = in.varint();
  head.count = in.varint();
  return head;
}

void encode_block_ref(const BlockRef& ref, ByteWriter& out) {
  out.varint(ref.sequence);
  out.varint(ref.offset);
  out.varint(ref.stored_length);
  out.varint(ref.raw_length);
}

BlockRef decode_block_ref(ByteReader& in, std::uint64_t sequence, std::uint64_t offset) {
  BlockRef ref;
  ref.sequence = in.varint();
  ref.offset = in.varint();
  const std::uint64_t stored = in.varint();
  const std::uint64_t raw = in.varint();
  if (stored > kMaxChunkBytes || raw > kMaxChunkBytes) in.fail("an index block is too large");
  if (ref.sequence >= sequence || ref.offset < kFileHeaderSize || ref.offset >= offset ||
      offset - ref.offset < kChunkHeaderSize + stored) {
    in.fail("an index block does not come before what refers to it");
  }
  ref.stored_length = static_cast<std::uint32_t>(stored);
  ref.raw_length = static_cast<std::uint32_t>(raw);
  return ref;
}

std::string IndexBlocks::place_of(const BlockRef& ref) const {
  return chunk_place(file_->name(), ref.sequence, ref.offset);
}

Bytes IndexBlocks::read(const BlockRef& ref) const {
  const auto fail = [&](const std::string& reason) {
    throw Error{ErrorCode::bad_input,
                place_of(ref) + ": " + reason +
                    loss_of(static_cast<std::uint32_t>(ChunkType::index_block), {})};
  };
  Bytes data(kChunkHeaderSize + ref.stored_length);
  if (file_->read(ref.offset, data) != data.size()) fail("the file ends within it");
  const auto decoded = decode_chunk_header(std::span(data).first<kChunkHeaderSize>(), id_);
  if (const auto* fault = std::get_if<ChunkFault>(&decoded)) fail(fault->reason);
  const ChunkHeader& header = std::get<ChunkHeader>(decoded);
  if (header.type != static_cast<std::uint32_t>(ChunkType::index_block) ||
      header.sequence != ref.sequence || header.stored_length != ref.stored_length ||
      header.raw_length != ref.raw_length) {
    fail("it is not the index block that is referred to");
  }
  const ByteView stored = ByteView(data).subspan(kChunkHeaderSize);
  if (const auto fault = check_payload(header, stored)) fail(fault->reason);
  auto payload = decode_payload(header, stored);
  if (const auto* fault = std::get_if<ChunkFault>(&payload)) fail(fault->reason);
  return std::get<Bytes>(std::move(payload));
}

std::shared_ptr<const void> IndexBlocks::find(const BlockRef& ref, const BlockHead& head) {
  const std::lock_guard lock(mutex_);
  const auto known = by_offset_.find(ref.offset);
  // What is known as something else is read again, and refused.
  if (known == by_offset_.end() || known->second->head != head) {
    ++reads_;
    return nullptr;
  }
  recent_.splice(recent_.begin(), recent_, known->second);
  return known->second->value;
}

void IndexBlocks::keep(const BlockRef& ref, const BlockHead& head,
                       std::shared_ptr<const void> value, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (by_offset_.contains(ref.offset)) return;
  recent_.push_front({ref.offset, head, std::move(value), bytes + kKeptOverhead});
  by_offset_[ref.offset] = recent_.begin();
  bytes_ += recent_.front().bytes;
  drop_surplus();
}

/// Needs the lock.
void IndexBlocks::drop_surplus() {
  while (bytes_ > limit_ && recent_.size() > 1) {
    bytes_ -= recent_.back().bytes;
    by_offset_.erase(recent_.back().offset);
    recent_.pop_back();
  }
}

void IndexBlocks::limit(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
  drop_surplus();
}

std::size_t IndexBlocks::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::uint64_t IndexBlocks::reads() const {
  const std::lock_guard lock(mutex_);
  return reads_;
}

}  // namespace chronovisor
