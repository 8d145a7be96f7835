#include "recorder/edit/index_part.h"

#include <algorithm>
#include <string_view>

#include "base/hash.h"

namespace chronovisor {
namespace {

constexpr std::string_view kMagic = "CVRINDEX";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHashBytes = 16;
constexpr std::uint64_t kMostShards = 1'000'000;
constexpr std::size_t kMostIndexBytes = 1U << 30;

}  // namespace

Bytes encode_index_part(const IndexPart& part) {
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.integer(kVersion);
  out.bytes(part.recording.bytes);
  out.varint(part.number);
  out.varint(part.of);
  out.varint(part.intervals.size());
  for (const NewInterval& interval : part.intervals) {
    out.varint(interval.from.steps);
    out.varint(interval.to.steps - interval.from.steps);
    out.sized_bytes(interval.data);
  }
  const Hash128 hash = hash128(out.data());
  out.integer(hash.low);
  out.integer(hash.high);
  return out.take();
}

bool is_index_part(ByteView data) {
  return data.size() >= kMagic.size() &&
         std::equal(kMagic.begin(), kMagic.end(), data.begin(),
                    [](char c, std::uint8_t byte) { return static_cast<std::uint8_t>(c) == byte; });
}

IndexPart decode_index_part(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  if (!is_index_part(data) || data.size() < kMagic.size() + kHashBytes) in.fail("no index part");
  const std::size_t hashed = data.size() - kHashBytes;
  ByteReader tail(data.subspan(hashed), what);
  const auto low = tail.integer<std::uint64_t>();
  const auto high = tail.integer<std::uint64_t>();
  if (hash128(data.first(hashed)) != Hash128{low, high}) in.fail("its checksum is another");
  static_cast<void>(in.bytes(kMagic.size()));
  if (in.integer<std::uint8_t>() != kVersion) in.fail("of a later version");
  IndexPart part;
  const ByteView id = in.bytes(part.recording.bytes.size());
  std::copy(id.begin(), id.end(), part.recording.bytes.begin());
  const std::uint64_t number = in.varint();
  const std::uint64_t of = in.varint();
  if (number == 0 || number > of || of > kMostShards) in.fail("a shard that cannot be");
  part.number = static_cast<std::uint32_t>(number);
  part.of = static_cast<std::uint32_t>(of);
  const std::uint64_t count = in.varint();
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint64_t from = in.varint();
    const std::uint64_t length = in.varint();
    if (length > kNever - from) in.fail("an interval beyond the end of time");
    const ByteView bytes = in.sized_bytes(kMostIndexBytes);
    part.intervals.push_back({{from}, {from + length}, Bytes(bytes.begin(), bytes.end())});
  }
  if (in.remaining() != kHashBytes) in.fail("bytes behind the last interval");
  return part;
}

}  // namespace chronovisor
