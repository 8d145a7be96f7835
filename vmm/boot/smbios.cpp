#include "vmm/boot/smbios.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

namespace chronovisor {
namespace {

constexpr std::string_view kMaker = "Chronovisor";
constexpr std::uint16_t kStructures = 7;

/// A structure: header, `body`, then its strings, which the body names from 1 on.
void add(ByteWriter& out, std::uint8_t type, std::uint16_t handle, const Bytes& body,
         std::initializer_list<std::string_view> strings) {
  out.integer(type);
  out.integer(static_cast<std::uint8_t>(4 + body.size()));
  out.integer(handle);
  out.bytes(body);
  for (const std::string_view string : strings) {
    out.bytes(as_bytes(string));
    out.integer(std::uint8_t{0});
  }
  if (strings.size() == 0) out.integer(std::uint8_t{0});
  out.integer(std::uint8_t{0});
}

Bytes system_information() {
  ByteWriter body;
  for (const std::uint8_t string : std::array<std::uint8_t, 4>{1, 2, 0, 0}) body.integer(string);
  for (int i = 0; i < 16; ++i) body.integer(std::uint8_t{0});  // no UUID
  body.integer(std::uint8_t{6});                               // woken by the power switch
  body.integer(std::uint16_t{0});                              // SKU, family
  return body.take();
}

Bytes enclosure() {
  ByteWriter body;
  body.integer(std::uint8_t{1});   // manufacturer
  body.integer(std::uint8_t{1});   // other
  body.integer(std::uint32_t{0});  // version, serial, asset tag; boot-up state
  body.integer(std::uint32_t{0x02030303});
  body.integer(std::uint32_t{0});
  body.integer(std::uint32_t{0});
  return body.take();
}

Bytes processor() {
  ByteWriter body;
  body.integer(std::uint8_t{1});   // socket
  body.integer(std::uint8_t{3});   // central processor
  body.integer(std::uint8_t{1});   // other family
  body.integer(std::uint8_t{2});   // manufacturer
  body.integer(std::uint64_t{0});  // ID
  body.integer(std::uint16_t{0});  // version, voltage
  body.integer(std::uint16_t{0});  // external clock
  body.integer(std::uint16_t{1000});
  body.integer(std::uint16_t{1000});
  body.integer(std::uint8_t{0x41});                                 // populated, enabled
  body.integer(std::uint8_t{1});                                    // other socket
  for (int i = 0; i < 3; ++i) body.integer(std::uint16_t{0xffff});  // no cache tables
  body.integer(std::uint16_t{0});
  body.integer(std::uint8_t{0});
  body.integer(std::uint8_t{1});  // cores, enabled, threads
  body.integer(std::uint8_t{1});
  body.integer(std::uint8_t{1});
  body.integer(std::uint16_t{0});
  body.integer(std::uint16_t{1});
  return body.take();
}

Bytes memory_array(std::uint64_t memory_bytes) {
  ByteWriter body;
  body.integer(std::uint8_t{1});  // other place
  body.integer(std::uint8_t{3});  // system memory
  body.integer(std::uint8_t{3});  // no error correction
  body.integer(static_cast<std::uint32_t>(std::min<std::uint64_t>(memory_bytes >> 10, 0x7fffffff)));
  body.integer(std::uint16_t{0xfffe});  // no error information
  body.integer(std::uint16_t{1});       // devices
  return body.take();
}

Bytes memory_device(std::uint16_t array, std::uint64_t memory_bytes) {
  ByteWriter body;
  body.integer(array);
  body.integer(std::uint16_t{0xfffe});
  body.integer(std::uint16_t{64});
  body.integer(std::uint16_t{64});
  body.integer(static_cast<std::uint16_t>(std::min<std::uint64_t>(memory_bytes >> 20, 0x7ffe)));
  body.integer(std::uint8_t{9});  // DIMM
  body.integer(std::uint8_t{0});
  body.integer(std::uint8_t{1});  // locator
  body.integer(std::uint8_t{0});
  body.integer(std::uint8_t{7});  // RAM
  body.integer(std::uint16_t{2});
  return body.take();
}

}  // namespace

Bytes smbios_tables(std::uint64_t memory_bytes) {
  ByteWriter out;
  add(out, 1, 0x0100, system_information(), {kMaker, "pc-2"});
  add(out, 3, 0x0300, enclosure(), {kMaker});
  add(out, 4, 0x0400, processor(), {"CPU 0", kMaker});
  add(out, 16, 0x1000, memory_array(memory_bytes), {});
  add(out, 17, 0x1100, memory_device(0x1000, memory_bytes), {"DIMM 0"});
  add(out, 32, 0x2000, Bytes(7, 0), {});  // started without errors
  add(out, 127, 0x7f00, {}, {});
  return out.take();
}

Bytes smbios_anchor(std::uint64_t memory_bytes) {
  constexpr std::uint16_t kLargestStructure = 64;
  ByteWriter out;
  out.bytes(as_bytes("_SM_"));
  out.integer(std::uint8_t{0});     // checksum
  out.integer(std::uint8_t{0x1f});  // length
  out.integer(std::uint8_t{2});
  out.integer(std::uint8_t{8});
  out.integer(kLargestStructure);
  for (int i = 0; i < 6; ++i) out.integer(std::uint8_t{0});
  out.bytes(as_bytes("_DMI_"));
  out.integer(std::uint8_t{0});  // checksum
  out.integer(static_cast<std::uint16_t>(smbios_tables(memory_bytes).size()));
  out.integer(std::uint32_t{0});  // address
  out.integer(kStructures);
  out.integer(std::uint8_t{0x28});
  return out.take();
}

}  // namespace chronovisor
