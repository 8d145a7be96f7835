// Owns conditions that a user gives to a search, so that a hundred thousand hits
// are looked at here, at the engine's speed, and not by a debugger far away. A small
// language of C's operators. Values; a condition may be evaluated on several
// threads, each with a machine of its own.
//
//   value         the watched bytes, 1 to 8 of them, after the access
//   svalue        the same with its sign
//   $rax $eip $cr3 $cpl $position ...   registers, by gdb's names
//   u8[ADDRESS] u16 u32 u64 i8 i16 i32 i64   linear memory
//   (TYPE)        casts to the integer types: C's, uint8_t and its like, u8 to i64
//   *(TYPE*)ADDRESS ((TYPE*)ADDRESS)[N]   linear memory, C's way
//   numbers, ( ), + - ~ !, * / % + - << >> < <= > >= == != & ^ | && ||
//
// Arithmetic is on 64 bits. It is signed where both sides are, as in C: numbers are,
// svalue, what is read as or cast to a signed type, and what has 8 or 16 bits; the
// others are not. Beside 32 bits without a sign a number has as many (u32[A] == -1).
// `long` and addresses have the width of the code that runs: 8 bytes in 64-bit mode,
// else 4.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/machine/machine.h"

namespace chronovisor::session {

/// What `value` means.
struct WatchedRange {
  std::uint64_t address = 0;
  std::uint64_t length = 0;
};

/// Whether the condition holds in a machine as it stands. What cannot be evaluated
/// there, as where memory is not mapped or a division is by zero, counts as true, so
/// that the user learns of it.
using Condition = std::function<bool(Machine&)>;

/// Throws Error{usage} with what is wrong and where.
/// @param range nothing: there is no `value`
[[nodiscard]] Condition parse_condition(std::string_view text,
                                        const std::optional<WatchedRange>& range);

}  // namespace chronovisor::session
