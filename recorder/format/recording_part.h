// Owns what ties the files of one recording together: a recording of parts is several
// files, each a recording by itself that begins at a checkpoint where the one before it
// ends. Says how they are named and what each notes of itself. Knows no file's content.
// Values and pure functions; any thread.
//
// The payload of a part chunk, the second of the file, and again the last before the end
// of a file after which another one follows:
//
//   part := u8 what (1 this is part `number`; 2 part `number` follows), u128 the file id of
//           the first part as it was recorded, varint number, from 1
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "recorder/format/chunk.h"

namespace chronovisor {

/// The most parts of a recording; a reader has all of them open.
inline constexpr std::uint64_t kMostParts = 500;

struct PartNote {
  enum class What : std::uint8_t { is = 1, follows = 2 };
  What what = What::is;
  FileId run;
  std::uint64_t number = 1;
  bool operator==(const PartNote&) const = default;
};
[[nodiscard]] Bytes encode_part_note(const PartNote& note);
/// Throws Error{bad_input}, beginning with `what`.
[[nodiscard]] PartNote decode_part_note(ByteView data, std::string_view what);

/// The path of a part of the recording whose first one is at `first`: that, then
/// `first`.part2, `first`.part3 ...
[[nodiscard]] std::string part_path(const std::string& first, std::uint64_t number);
/// Paths where further parts of that recording are, or what is in their places.
[[nodiscard]] std::vector<std::string> further_parts(const std::string& first);
/// The path of the first part, of that of part `number`.
[[nodiscard]] std::string first_part_path(const std::string& path, std::uint64_t number);
/// The same where the number is not known: of any other path that path.
[[nodiscard]] std::string first_part_path(const std::string& path);

}  // namespace chronovisor
