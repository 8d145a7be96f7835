// Owns the file in which a part of a recording's index is kept between the machine that made
// it and the recording it belongs to. Knows nothing of what indexes say. Values; any thread.
//
//   index part := "CVRINDEX", u8 version (1), 16 bytes id of the recording,
//     varint number, varint of: which of how many shards,
//     varint count, count * { varint from, varint to - from, varint length, bytes },
//     u128 hash of all before it
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "recorder/edit/index_edit.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {

struct IndexPart {
  FileId recording;
  std::uint32_t number = 1;
  std::uint32_t of = 1;
  std::vector<NewInterval> intervals;
};

[[nodiscard]] Bytes encode_index_part(const IndexPart& part);
/// Whether `data` says that it is one.
[[nodiscard]] bool is_index_part(ByteView data);
/// Throws Error{bad_input}, beginning with `what`.
[[nodiscard]] IndexPart decode_index_part(ByteView data, std::string_view what);

}  // namespace chronovisor
