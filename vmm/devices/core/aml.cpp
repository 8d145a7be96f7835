#include "vmm/devices/core/aml.h"

#include "base/error.h"

namespace chronovisor::aml {

namespace {

constexpr std::uint8_t kZeroOp = 0x00;
constexpr std::uint8_t kOneOp = 0x01;
constexpr std::uint8_t kNameOp = 0x08;
constexpr std::uint8_t kBytePrefix = 0x0a;
constexpr std::uint8_t kWordPrefix = 0x0b;
constexpr std::uint8_t kDwordPrefix = 0x0c;
constexpr std::uint8_t kQwordPrefix = 0x0e;
constexpr std::uint8_t kStringPrefix = 0x0d;
constexpr std::uint8_t kScopeOp = 0x10;
constexpr std::uint8_t kBufferOp = 0x11;
constexpr std::uint8_t kPackageOp = 0x12;
constexpr std::uint8_t kExtendedPrefix = 0x5b;
constexpr std::uint8_t kDeviceOp = 0x82;
constexpr std::uint8_t kMethodOp = 0x14;
constexpr std::uint8_t kStoreOp = 0x70;
constexpr std::uint8_t kArgument0 = 0x68;
constexpr std::uint8_t kIfOp = 0xa0;
constexpr std::uint8_t kReturnOp = 0xa4;

// Resource descriptor tags and flags.
constexpr std::uint8_t kIoPortTag = 0x47;
constexpr std::uint8_t kIrqTag = 0x22;
constexpr std::uint8_t kEndTag = 0x79;
constexpr std::uint8_t kWordSpaceTag = 0x88;
constexpr std::uint8_t kDwordSpaceTag = 0x87;
constexpr std::uint8_t kMemoryRange = 0;
constexpr std::uint8_t kIoRange = 1;
constexpr std::uint8_t kBusRange = 2;
constexpr std::uint8_t kMinimumAndMaximumFixed = 0x0c;
constexpr std::uint8_t kEntireIoRange = 0x03;
constexpr std::uint8_t kReadWriteMemory = 0x01;

/// PkgLength counts itself and the body.
/// Source: ACPI 20.2.4 "Package Length Encoding".
Bytes package_length(std::size_t body_size) {
  if (body_size + 1 < 0x40) return {static_cast<std::uint8_t>(body_size + 1)};
  const std::size_t extra = body_size + 2 < 0x1000 ? 1 : 2;
  const std::size_t total = body_size + 1 + extra;
  CHECK_THAT(total < 0x100000, "an AML package is too long");
  Bytes out{static_cast<std::uint8_t>(extra << 6 | (total & 0xf))};
  for (std::size_t i = 0; i < extra; ++i) {
    out.push_back(static_cast<std::uint8_t>(total >> (4 + 8 * i)));
  }
  return out;
}

Bytes text(std::string_view characters) { return {characters.begin(), characters.end()}; }

Bytes with_length(std::initializer_list<std::uint8_t> opcode, const Bytes& body) {
  return sequence({Bytes(opcode), package_length(body.size()), body});
}

Bytes word_window(std::uint8_t kind, std::uint8_t type_flags, std::uint16_t first,
                  std::uint16_t last) {
  ByteWriter out;
  out.integer(kWordSpaceTag);
  out.integer(std::uint16_t{0x0d});
  out.integer(kind);
  out.integer(kMinimumAndMaximumFixed);
  out.integer(type_flags);
  out.integer(std::uint16_t{0});  // granularity
  out.integer(first);
  out.integer(last);
  out.integer(std::uint16_t{0});  // translation
  out.integer(static_cast<std::uint16_t>(last - first + 1));
  return out.take();
}

}  // namespace

Bytes sequence(std::initializer_list<Bytes> terms) {
  Bytes out;
  for (const Bytes& term : terms) out.insert(out.end(), term.begin(), term.end());
  return out;
}

Bytes integer(std::uint64_t value) {
  ByteWriter out;
  if (value <= 1) {
    out.integer(value == 0 ? kZeroOp : kOneOp);
  } else if (value <= 0xff) {
    out.integer(kBytePrefix);
    out.integer(static_cast<std::uint8_t>(value));
  } else if (value <= 0xffff) {
    out.integer(kWordPrefix);
    out.integer(static_cast<std::uint16_t>(value));
  } else if (value <= 0xffffffff) {
    out.integer(kDwordPrefix);
    out.integer(static_cast<std::uint32_t>(value));
  } else {
    out.integer(kQwordPrefix);
    out.integer(value);
  }
  return out.take();
}

Bytes eisa_id(std::string_view id) {
  CHECK_THAT(id.size() == 7, "an EISA identifier has seven characters");
  // Big-endian: five bits a letter, then four bits a digit.
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    value = value << 5 | (static_cast<std::uint32_t>(id[i]) - 0x40U);
  }
  for (std::size_t i = 3; i < 7; ++i) {
    const auto digit = static_cast<std::uint32_t>(id[i]);
    value = value << 4 | (digit <= '9' ? digit - '0' : digit - 'A' + 10);
  }
  Bytes out{kDwordPrefix};
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<std::uint8_t>(value >> shift));
  }
  return out;
}

Bytes name(std::string_view path, const Bytes& value) {
  return sequence({{kNameOp}, text(path), value});
}

Bytes scope(std::string_view path, const Bytes& body) {
  return with_length({kScopeOp}, sequence({text(path), body}));
}

Bytes device(std::string_view path, const Bytes& body) {
  return with_length({kExtendedPrefix, kDeviceOp}, sequence({text(path), body}));
}

Bytes package(std::initializer_list<Bytes> elements) {
  return with_length({kPackageOp},
                     sequence({{static_cast<std::uint8_t>(elements.size())}, sequence(elements)}));
}

Bytes package(const std::vector<Bytes>& elements) {
  Bytes body{static_cast<std::uint8_t>(elements.size())};
  for (const Bytes& element : elements) body.insert(body.end(), element.begin(), element.end());
  return with_length({kPackageOp}, body);
}

Bytes string(std::string_view characters) {
  return sequence({{kStringPrefix}, text(characters), {0}});
}

Bytes method(std::string_view path, unsigned arguments, const Bytes& body) {
  return with_length({kMethodOp},
                     sequence({text(path), {static_cast<std::uint8_t>(arguments & 7)}, body}));
}

Bytes store_argument0(std::string_view path) {
  return sequence({{kStoreOp, kArgument0}, text(path)});
}

Bytes return_name(std::string_view path) { return sequence({{kReturnOp}, text(path)}); }

Bytes if_name(std::string_view path, const Bytes& body) {
  return with_length({kIfOp}, sequence({text(path), body}));
}

Bytes buffer(const Bytes& content) {
  return with_length({kBufferOp}, sequence({integer(content.size()), content}));
}

Bytes resources(std::initializer_list<Bytes> descriptors) {
  // A zero in place of the end tag's checksum means: not checked.
  return buffer(sequence({sequence(descriptors), {kEndTag, 0}}));
}

Bytes io_ports(std::uint16_t first, std::uint8_t count) {
  ByteWriter out;
  out.integer(kIoPortTag);
  out.integer(std::uint8_t{1});  // decodes 16 bits
  out.integer(first);
  out.integer(first);
  out.integer(std::uint8_t{1});  // alignment
  out.integer(count);
  return out.take();
}

Bytes irq(std::uint8_t number) {
  ByteWriter out;
  out.integer(kIrqTag);
  out.integer(static_cast<std::uint16_t>(1U << number));
  return out.take();
}

Bytes bus_window(std::uint16_t first, std::uint16_t last) {
  return word_window(kBusRange, 0, first, last);
}

Bytes io_window(std::uint16_t first, std::uint16_t last) {
  return word_window(kIoRange, kEntireIoRange, first, last);
}

Bytes memory_window(std::uint32_t first, std::uint32_t last) {
  ByteWriter out;
  out.integer(kDwordSpaceTag);
  out.integer(std::uint16_t{0x17});
  out.integer(kMemoryRange);
  out.integer(kMinimumAndMaximumFixed);
  out.integer(kReadWriteMemory);
  out.integer(std::uint32_t{0});  // granularity
  out.integer(first);
  out.integer(last);
  out.integer(std::uint32_t{0});  // translation
  out.integer(last - first + 1);
  return out.take();
}

}  // namespace chronovisor::aml
