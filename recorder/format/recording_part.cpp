#include "recorder/format/recording_part.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

std::string suffix_of(std::uint64_t number) {
  return number == 1 ? "" : ".part" + std::to_string(number);
}

}  // namespace

Bytes encode_part_note(const PartNote& note) {
  ByteWriter out;
  out.integer(static_cast<std::uint8_t>(note.what));
  for (const std::uint8_t byte : note.run.bytes) out.integer(byte);
  out.varint(note.number);
  return out.take();
}

PartNote decode_part_note(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  PartNote note;
  const auto kind = in.integer<std::uint8_t>();
  if (kind != static_cast<std::uint8_t>(PartNote::What::is) &&
      kind != static_cast<std::uint8_t>(PartNote::What::follows)) {
    in.fail("a note of a part that is not known");
  }
  note.what = static_cast<PartNote::What>(kind);
  const ByteView run = in.bytes(note.run.bytes.size());
  std::copy(run.begin(), run.end(), note.run.bytes.begin());
  note.number = in.varint();
  if (note.number == 0 || note.number > kMostParts) in.fail("a part's number is out of range");
  if (!in.at_end()) in.fail("bytes are left over");
  return note;
}

std::string part_path(const std::string& first, std::uint64_t number) {
  return first + suffix_of(number);
}

std::vector<std::string> further_parts(const std::string& first) {
  std::vector<std::string> found;
  for (std::uint64_t number = 2; number <= kMostParts; ++number) {
    std::string path = part_path(first, number);
    std::error_code failed;
    if (std::filesystem::exists(std::filesystem::symlink_status(path, failed))) {
      found.push_back(std::move(path));
    }
  }
  return found;
}

std::string first_part_path(const std::string& path, std::uint64_t number) {
  const std::string suffix = suffix_of(number);
  return path.ends_with(suffix) ? path.substr(0, path.size() - suffix.size()) : path;
}

std::string first_part_path(const std::string& path) {
  for (std::uint64_t number = 2; number <= kMostParts; ++number) {
    if (std::string first = first_part_path(path, number); first != path) return first;
  }
  return path;
}

}  // namespace chronovisor
