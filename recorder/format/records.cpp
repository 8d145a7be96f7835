#include "recorder/format/records.h"

#include <utility>

#include "base/error.h"
#include "recorder/format/chunk.h"
#include "recorder/format/page_table.h"
#include "recorder/format/recording_index.h"

namespace chronovisor {

namespace {

constexpr std::uint8_t kChannelMask = 0x0f;
constexpr std::uint8_t kIdleGrows = 0x10;
constexpr std::uint8_t kHasLength = 0x20;

std::uint64_t grown(ByteReader& in, std::uint64_t base) {
  const std::uint64_t growth = in.varint();
  if (growth > ~base) in.fail("a position or time overflows");
  return base + growth;
}

}  // namespace

Bytes encode_sections(std::span<const Section> sections) {
  ByteWriter out;
  for (const Section& section : sections) {
    CHECK_THAT(section.name.size() <= kMaxSectionName, "a section name above the limit");
    out.sized_text(section.name);
    out.sized_bytes(section.bytes);
  }
  return out.take();
}

std::vector<Section> decode_sections(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  std::vector<Section> sections;
  while (!in.at_end()) {
    Section section;
    section.name = in.sized_text(kMaxSectionName);
    const ByteView bytes = in.sized_bytes(in.remaining());
    section.bytes.assign(bytes.begin(), bytes.end());
    sections.push_back(std::move(section));
  }
  return sections;
}

Bytes encode_page_map(const PageMapRecord& map) {
  CHECK_THAT(map.entries.size() <= kMaxPagesPerMap, "a page map above the limit");
  ByteWriter out;
  out.varint(map.entries.size());
  std::uint64_t next = 0;
  for (const PageMapEntry& entry : map.entries) {
    CHECK_THAT(entry.page >= next && entry.page < kMaxPageNumber, "pages ascend, each once");
    out.varint(entry.page - next);
    out.varint(entry.code);
    next = entry.page + 1;
  }
  if (map.has_contents) {
    for (const PageMapEntry& entry : map.entries) {
      if (entry.code != 0) encode_hash(entry.content, out);
    }
  }
  return out.take();
}

PageMapRecord decode_page_map(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  const std::uint64_t count = in.varint();
  if (count > kMaxPagesPerMap || count > in.remaining() / 2)
    in.fail("more pages than the bytes left can hold");
  PageMapRecord map;
  map.entries.resize(static_cast<std::size_t>(count));
  std::uint64_t next = 0;
  for (PageMapEntry& entry : map.entries) {
    const std::uint64_t skipped = in.varint();
    if (skipped >= kMaxPageNumber - next) in.fail("a page number out of range");
    entry.page = next + skipped;
    entry.code = in.varint();
    next = entry.page + 1;
  }
  map.has_contents = !in.at_end();
  if (map.has_contents) {
    for (PageMapEntry& entry : map.entries) {
      if (entry.code != 0) entry.content = decode_hash(in);
    }
    if (!in.at_end()) in.fail("bytes are left over");
  }
  return map;
}

void encode_page_batch(const PageBatch& batch, ByteWriter& out) {
  out.varint(batch.sequence);
  out.varint(batch.pages.size());
  for (const Hash128& hash : batch.pages) encode_hash(hash, out);
}

std::vector<PageBatch> decode_page_directory(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  std::vector<PageBatch> batches;
  while (!in.at_end()) {
    PageBatch batch;
    batch.sequence = in.varint();
    const std::uint64_t count = in.varint();
    if (count == 0 || count > kMaxPagesPerBatch || count > in.remaining() / 16) {
      in.fail("a page batch with a count out of range");
    }
    for (std::uint64_t i = 0; i < count; ++i) batch.pages.push_back(decode_hash(in));
    batches.push_back(std::move(batch));
  }
  return batches;
}

Bytes encode_page_totals(std::span<const std::uint32_t> totals) {
  ByteWriter out;
  out.varint(totals.size());
  for (const std::uint32_t total : totals) out.varint(total);
  return out.take();
}

std::vector<std::uint32_t> decode_page_totals(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  const std::uint64_t count = in.varint();
  if (count > in.remaining()) in.fail("more totals than the bytes left can hold");
  std::vector<std::uint32_t> totals(static_cast<std::size_t>(count));
  for (std::uint32_t& total : totals) {
    const std::uint64_t pages = in.varint();
    if (pages > kMostNumbered) in.fail("a total out of range");
    total = static_cast<std::uint32_t>(pages);
  }
  if (!in.at_end()) in.fail("bytes are left over");
  return totals;
}

void DigestEncoder::add(const DigestRecord& record) {
  CHECK_THAT(record.position >= last_, "digests never go back");
  out_.varint(record.position.steps - last_.steps);
  encode_hash(record.digest, out_);
  last_ = record.position;
}

Bytes DigestEncoder::take() {
  last_ = {};
  return std::exchange(out_, {}).take();
}

std::vector<DigestRecord> decode_digests(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  std::vector<DigestRecord> digests;
  std::uint64_t steps = 0;
  while (!in.at_end()) {
    steps = grown(in, steps);
    digests.push_back({Position{steps}, decode_hash(in)});
  }
  return digests;
}

void ConsoleEncoder::add(const ConsoleView& record) {
  CHECK_THAT(record.position >= position_ && record.idle_ns >= idle_ns_,
             "console output never goes back");
  auto tag = static_cast<std::uint8_t>(static_cast<std::uint8_t>(record.channel) & kChannelMask);
  if (record.idle_ns != idle_ns_) tag |= kIdleGrows;
  if (record.bytes.size() != 1) tag |= kHasLength;
  out_.integer(tag);
  out_.varint(record.position.steps - position_.steps);
  if ((tag & kIdleGrows) != 0) out_.varint(record.idle_ns - idle_ns_);
  if ((tag & kHasLength) != 0) out_.varint(record.bytes.size());
  out_.bytes(record.bytes);
  position_ = record.position;
  idle_ns_ = record.idle_ns;
}

Bytes ConsoleEncoder::take() {
  position_ = {};
  idle_ns_ = 0;
  return std::exchange(out_, {}).take();
}

void decode_console(ByteView data, std::string_view what,
                    const std::function<void(const ConsoleView&)>& visit) {
  ByteReader in(data, what);
  ConsoleView record;
  while (!in.at_end()) {
    const auto tag = in.integer<std::uint8_t>();
    if ((tag & 0xc0) != 0) in.fail("a console tag with unknown bits");
    record.channel = static_cast<ConsoleChannel>(tag & kChannelMask);
    record.position.steps = grown(in, record.position.steps);
    if ((tag & kIdleGrows) != 0) record.idle_ns = grown(in, record.idle_ns);
    record.bytes = (tag & kHasLength) != 0 ? in.sized_bytes(in.remaining()) : in.bytes(1);
    visit(record);
  }
}

Bytes encode_bookmark(const Bookmark& bookmark) {
  ByteWriter out;
  out.varint(bookmark.position.steps);
  out.sized_text(bookmark.name);
  return out.take();
}

Bookmark decode_bookmark(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  Bookmark bookmark;
  bookmark.position.steps = in.varint();
  bookmark.name = in.sized_text(kMaxTextBytes);
  if (!in.at_end()) in.fail("bytes are left over");
  return bookmark;
}

Bytes encode_bookmark_removed(const std::string& name) {
  ByteWriter out;
  out.sized_text(name);
  return out.take();
}

std::string decode_bookmark_removed(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  std::string name = in.sized_text(kMaxTextBytes);
  if (!in.at_end()) in.fail("bytes are left over");
  return name;
}

std::string grouped(std::uint64_t value) {
  const std::string digits = std::to_string(value);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

}  // namespace chronovisor
