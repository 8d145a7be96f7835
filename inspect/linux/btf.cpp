#include "inspect/linux/btf.h"

#include <algorithm>
#include <array>
#include <functional>

#include "base/error.h"

namespace chronovisor::linux_guest {
namespace {

constexpr std::uint16_t kMagic = 0xeb9f;
constexpr std::uint32_t kHeaderBytes = 24;
constexpr unsigned kMostNesting = 32;

/// Kinds as the format numbers them.
enum Kind : std::uint8_t {
  kInt = 1,
  kPointer = 2,
  kArray = 3,
  kStruct = 4,
  kUnion = 5,
  kEnum = 6,
  kForward = 7,
  kTypedef = 8,
  kVolatile = 9,
  kConst = 10,
  kRestrict = 11,
  kFunction = 12,
  kPrototype = 13,
  kVariable = 14,
  kDataSection = 15,
  kFloat = 16,
  kDeclarationTag = 17,
  kTypeTag = 18,
  kEnum64 = 19,
};

}  // namespace

Btf::Btf(ByteView data) {
  ByteReader header(data, "BTF");
  if (header.integer<std::uint16_t>() != kMagic) header.fail("wrong magic");
  if (header.integer<std::uint8_t>() != 1) header.fail("unknown version");
  header.integer<std::uint8_t>();
  const auto header_bytes = header.integer<std::uint32_t>();
  const auto type_offset = header.integer<std::uint32_t>();
  const auto type_bytes = header.integer<std::uint32_t>();
  const auto string_offset = header.integer<std::uint32_t>();
  const auto string_bytes = header.integer<std::uint32_t>();
  if (header_bytes < kHeaderBytes) header.fail("short header");
  const auto piece = [&](std::uint64_t offset, std::uint64_t size) {
    if (header_bytes + offset + size > data.size()) header.fail("a section runs past the end");
    return data.subspan(header_bytes + offset, size);
  };
  const ByteView strings = piece(string_offset, string_bytes);
  strings_.assign(strings.begin(), strings.end());
  strings_.push_back('\0');
  ByteReader reader(piece(type_offset, type_bytes), "BTF types");
  types_.emplace_back();
  while (!reader.at_end()) {
    Type type;
    type.name = reader.integer<std::uint32_t>();
    const auto info = reader.integer<std::uint32_t>();
    type.size_or_type = reader.integer<std::uint32_t>();
    type.kind = static_cast<std::uint8_t>(info >> 24 & 0x1f);
    const std::uint32_t count = info & 0xffff;
    const bool bitfields = (info >> 31) != 0;
    switch (type.kind) {
      case kInt:
      case kVariable:
      case kDeclarationTag:
        reader.bytes(4);
        break;
      case kArray:
        type.size_or_type = reader.integer<std::uint32_t>();
        reader.bytes(4);
        type.elements = reader.integer<std::uint32_t>();
        break;
      case kStruct:
      case kUnion:
        type.first_member = static_cast<std::uint32_t>(members_.size());
        type.member_count = count;
        for (std::uint32_t n = 0; n < count; ++n) {
          Member member;
          member.name = reader.integer<std::uint32_t>();
          member.type = reader.integer<std::uint32_t>();
          const auto offset = reader.integer<std::uint32_t>();
          member.bit_offset = bitfields ? offset & 0xffffff : offset;
          member.bitfield_bits = bitfields ? offset >> 24 : 0;
          members_.push_back(member);
        }
        break;
      case kEnum:
      case kPrototype:
        reader.bytes(std::size_t{8} * count);
        break;
      case kDataSection:
      case kEnum64:
        reader.bytes(std::size_t{12} * count);
        break;
      case kPointer:
      case kForward:
      case kTypedef:
      case kVolatile:
      case kConst:
      case kRestrict:
      case kFunction:
      case kFloat:
      case kTypeTag:
        break;
      default:
        reader.fail("unknown kind of type");
    }
    types_.push_back(type);
  }
  for (std::uint32_t n = 1; n < types_.size(); ++n) {
    const bool structure = types_[n].kind == kStruct || types_[n].kind == kUnion;
    if (structure && !name_of(types_[n].name).empty())
      structures_.emplace(name_of(types_[n].name), n);
  }
}

std::string_view Btf::name_of(std::uint32_t offset) const {
  return offset < strings_.size() ? std::string_view(strings_.data() + offset) : std::string_view();
}

/// The type behind typedefs and qualifiers.
std::uint32_t Btf::strip(std::uint32_t type) const {
  for (unsigned depth = 0; depth < kMostNesting && type < types_.size(); ++depth) {
    switch (types_[type].kind) {
      case kTypedef:
      case kVolatile:
      case kConst:
      case kRestrict:
      case kTypeTag:
        type = types_[type].size_or_type;
        break;
      default:
        return type;
    }
  }
  return 0;
}

std::uint64_t Btf::bytes_of(std::uint32_t type, unsigned depth) const {
  type = strip(type);
  if (type == 0 || type >= types_.size() || depth > kMostNesting) return 0;
  const Type& row = types_[type];
  switch (row.kind) {
    case kPointer:
      return 8;
    case kArray:
      return row.elements * bytes_of(row.size_or_type, depth + 1);
    case kInt:
    case kStruct:
    case kUnion:
    case kEnum:
    case kEnum64:
    case kFloat:
      return row.size_or_type;
    default:
      return 0;
  }
}

std::optional<std::uint32_t> Btf::structure_named(std::string_view name) const {
  const auto found = structures_.find(name);
  if (found == structures_.end()) return std::nullopt;
  return found->second;
}

std::optional<Field> Btf::find_member(std::uint32_t structure, std::string_view name,
                                      unsigned depth) const {
  structure = strip(structure);
  if (structure == 0 || structure >= types_.size() || depth > kMostNesting) return std::nullopt;
  const Type& row = types_[structure];
  for (std::uint32_t n = 0; n < row.member_count; ++n) {
    const Member& member = members_[row.first_member + n];
    const std::string_view found = name_of(member.name);
    if (found == name) {
      const std::uint64_t bits =
          member.bitfield_bits != 0 ? member.bitfield_bits : 8 * bytes_of(member.type, 0);
      return Field{member.bit_offset, bits, member.type};
    }
    if (!found.empty()) continue;
    if (auto inner = find_member(member.type, name, depth + 1)) {
      inner->bit_offset += member.bit_offset;
      return inner;
    }
  }
  return std::nullopt;
}

std::optional<Field> Btf::field(std::string_view structure, std::string_view path) const {
  const auto start = structure_named(structure);
  if (!start) return std::nullopt;
  Field out{0, 0, *start};
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('.'));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    const auto member = find_member(out.type, name, 0);
    if (!member) return std::nullopt;
    out = {out.bit_offset + member->bit_offset, member->bit_size, member->type};
  }
  return out;
}

Field Btf::need(std::string_view structure, std::string_view path) const {
  if (const auto found = field(structure, path)) return *found;
  throw Error(ErrorCode::bad_input, "the kernel's type information has no " +
                                        std::string(structure) + "." + std::string(path));
}

std::uint64_t Btf::size_of(std::string_view structure) const {
  const auto found = structure_named(structure);
  return found ? bytes_of(*found, 0) : 0;
}

Btf find_btf(ByteView image) {
  constexpr std::array<std::uint8_t, 8> kStart{0x9f, 0xeb, 1, 0, kHeaderBytes, 0, 0, 0};
  const std::boyer_moore_horspool_searcher searcher(kStart.begin(), kStart.end());
  for (auto from = image.begin();;) {
    const auto hit = std::search(from, image.end(), searcher);
    if (hit == image.end()) break;
    try {
      Btf found(image.subspan(static_cast<std::size_t>(hit - image.begin())));
      if (found.size_of("task_struct") != 0) return found;
    } catch (const Error&) {
      // Bytes that only look like it; go on.
    }
    from = hit + 1;
  }
  throw Error(ErrorCode::bad_input,
              "the kernel carries no type information (CONFIG_DEBUG_INFO_BTF is off)");
}

}  // namespace chronovisor::linux_guest
