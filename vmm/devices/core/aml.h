// Owns the encoding of AML, ACPI's byte code: just the terms that a static DSDT
// needs. A term is its bytes; terms nest by concatenation. Knows no machine.
// Plain functions; any thread.
// Source: ACPI specification 6.4, chapters 6.4 (resource data types) and 20 (AML).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace chronovisor::aml {

/// The terms one after another.
Bytes sequence(std::initializer_list<Bytes> terms);

Bytes integer(std::uint64_t value);
/// A compressed EISA identifier such as "PNP0501": three capitals, four hex digits.
Bytes eisa_id(std::string_view id);
/// Name (segment, value). A name segment is four characters; "\\_S5_" is rooted.
Bytes name(std::string_view path, const Bytes& value);
Bytes scope(std::string_view path, const Bytes& body);
Bytes device(std::string_view path, const Bytes& body);
Bytes package(std::initializer_list<Bytes> elements);
Bytes buffer(const Bytes& content);
Bytes package(const std::vector<Bytes>& elements);
Bytes string(std::string_view characters);
/// Method (segment, arguments, not serialised).
Bytes method(std::string_view path, unsigned arguments, const Bytes& body);
/// Store (Arg0, name).
Bytes store_argument0(std::string_view path);
Bytes return_name(std::string_view path);
/// If (name) { body }
Bytes if_name(std::string_view path, const Bytes& body);

/// A buffer of resource descriptors, with the end tag.
Bytes resources(std::initializer_list<Bytes> descriptors);
/// `count` ports from `first`, fixed, 16-bit decoding.
Bytes io_ports(std::uint16_t first, std::uint8_t count);
/// One ISA interrupt: edge, active high, not shared.
Bytes irq(std::uint8_t number);
/// Windows of a bridge; `last` is inclusive.
Bytes bus_window(std::uint16_t first, std::uint16_t last);
Bytes io_window(std::uint16_t first, std::uint16_t last);
Bytes memory_window(std::uint32_t first, std::uint32_t last);

}  // namespace chronovisor::aml
