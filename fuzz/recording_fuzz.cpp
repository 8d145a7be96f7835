// Opens and walks whatever it is given as a recording. Checksums would stop
// nearly every mutation at the door, so inputs that begin with an odd byte are
// read as a list of chunks to be framed and signed correctly:
//   { u8 type and flags, u16 length, payload } ...
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/error.h"
#include "recorder/format/frame_cursor.h"
#include "recorder/format/recording_reader.h"

namespace {

using namespace chronovisor;

constexpr std::uint8_t kWithFooter = 2;
constexpr std::uint8_t kInParts = 4;  ///< the same chunks again in two more parts
constexpr std::uint8_t kCountedLog = 0x20;
constexpr std::uint8_t kUnknownType = 0x40;
constexpr std::uint8_t kPageRecipes = kCountedLog | kUnknownType;
constexpr std::uint8_t kPageTotals = 0x10;  ///< with kPageRecipes: totals, or of an index
constexpr std::uint8_t kCompressed = 0x80;

ChunkType late_type(unsigned number) {
  switch (number) {
    case 1:
      return ChunkType::index_block;
    case 2:
      return ChunkType::index_root;
    case 3:
      return ChunkType::index_mark;
    case 4:
      return ChunkType::part;
    case 5:
      return ChunkType::interval_filter;
    case 6:
      return ChunkType::block_data;
    case 7:
      return ChunkType::block_directory;
    case 8:
      return ChunkType::sent_frames;
    default:
      return ChunkType::page_totals;
  }
}

std::uint32_t type_of(std::uint8_t tag) {
  if ((tag & kPageRecipes) == kPageRecipes) {
    return static_cast<std::uint32_t>((tag & kPageTotals) != 0 ? late_type(tag % 16)
                                                               : ChunkType::page_recipes);
  }
  if ((tag & kUnknownType) != 0) return 1000;
  if ((tag & kCountedLog) != 0) return static_cast<std::uint32_t>(ChunkType::counted_log);
  const std::uint32_t number = tag % 16;
  return number <= 9 ? number | kCriticalFlag : number;
}

/// @param part of a recording in parts, from 1; 0: it is all of one
Bytes signed_file(ByteView input, bool with_footer, std::uint64_t part) {
  const FileId id;
  Bytes file = encode_file_header({kFormatVersion, id});
  ChunkEncoder encoder;
  std::uint64_t sequence = 0;
  Trailer trailer;
  const auto append = [&](std::uint32_t type, ByteView payload, int level) {
    if (type == static_cast<std::uint32_t>(ChunkType::footer) ||
        type == static_cast<std::uint32_t>(ChunkType::index_root)) {
      trailer = {file.size(), sequence};
    }
    const Bytes& chunk =
        encoder.encode(static_cast<ChunkType>(type), sequence++, id, payload, level);
    file.insert(file.end(), chunk.begin(), chunk.end());
  };
  const auto note_part = [&](PartNote::What what, std::uint64_t number) {
    if (part == 0) return;
    append(static_cast<std::uint32_t>(ChunkType::part), encode_part_note({what, id, number}), 0);
  };
  append(static_cast<std::uint32_t>(ChunkType::metadata), as_bytes("{}"), 0);
  note_part(PartNote::What::is, part);
  note_part(PartNote::What::follows, part + 1);
  while (input.size() >= 3) {
    const std::uint8_t tag = input[0];
    const std::size_t wanted = input[1] | static_cast<std::size_t>(input[2]) << 8;
    input = input.subspan(3);
    const ByteView payload = input.first(std::min(wanted, input.size()));
    append(type_of(tag), payload, (tag & kCompressed) != 0 ? 1 : 0);
    input = input.subspan(payload.size());
  }
  if (with_footer) {
    const Bytes end = encode_trailer(trailer, id);
    file.insert(file.end(), end.begin(), end.end());
  }
  return file;
}

template <class Action>
void attempt(Action&& action) {
  try {
    action();
  } catch (const Error&) {
    // An error is the right answer to a bad file.
  }
}

void walk(const RecordingReader& reader) {
  attempt([&] { (void)reader.verify_bytes(); });
  attempt([&] { (void)reader.summary_json(); });
  for (std::size_t i = 0; i < reader.images().size(); ++i) {
    attempt([&] { (void)reader.read_image(i, 1u << 20); });
  }
  for (std::size_t i = 0; i < reader.checkpoints().size(); ++i) {
    attempt([&] { (void)reader.load_sections(i); });
    attempt([&] {
      for (const PageRecord& page : reader.page_delta(i)) {
        std::array<std::uint8_t, kPageSize> content{};
        reader.read_page(page.content, content, page.place);
      }
    });
  }
  attempt([&] {
    for (InputCursor cursor(reader); cursor.peek() != nullptr; cursor.pop()) {
    }
  });
  for (std::size_t i = 0; i < reader.counted_chunks(); ++i) {
    attempt([&] { (void)reader.read_counted(i); });
  }
  attempt([&] {
    for (const BlockEntry& entry : reader.block_entries()) {
      std::array<std::uint8_t, kBlockBytes> content{};
      (void)reader.read_block(entry.medium, entry.block, content);
    }
  });
  attempt([&] {
    std::uint64_t number = 0;
    PacketCursor packets(reader);
    for (auto packet = packets.next(); packet; packet = packets.next()) {
      number = packet->place.number;
    }
    (void)find_packet(reader, number / 2);
    (void)PacketCursor(reader, reader.usable_to()).next();
  });
  attempt([&] { (void)reader.digests(); });
  attempt([&] { reader.for_each_console([](const ConsoleView&) {}); });
  attempt([&] { (void)reader.bookmarks(); });
  for (std::size_t i = 0; i < reader.intervals().size(); ++i) {
    attempt([&] { (void)reader.load_interval(i); });
  }
  for (unsigned level = 0; level < kFilterLevels; ++level) {
    attempt([&] {
      if (const auto group = reader.group_from(level, reader.start())) {
        (void)reader.load_filter(level, *group).may_execute(0x1000);
      }
    });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView input = ByteView(data, size).subspan(1);
  const bool is_raw = (data[0] & 1) == 0;
  const bool in_parts = !is_raw && (data[0] & kInParts) != 0;
  const auto file = [&](std::uint64_t part) {
    return std::make_shared<const MemoryInputFile>(
        is_raw ? Bytes(input.begin(), input.end())
               : signed_file(input, (data[0] & kWithFooter) != 0, part));
  };
  attempt([&] {
    walk(RecordingReader([&](std::uint64_t number) -> std::shared_ptr<const InputFile> {
      if (number == 0) return file(in_parts ? 1 : 0);
      return in_parts && number <= 3 ? file(number) : nullptr;
    }));
  });
  return 0;
}
