// Owns a script of inputs: what is pressed, moved and waited for, in order. Knows no
// machine. Values; any thread.
//
// A line is one of these; empty lines and those that begin with # say nothing:
//   wait 2s                  so much virtual time
//   wait-screen TEXT         until the characters on the screen have TEXT
//   wait-serial TEXT         until the first serial line has said TEXT
//   keys TEXT                typed, as --keys has it
//   mouse RIGHT DOWN [WHEEL] moved
//   click left|middle|right  pressed and released
//   button left|middle|right|none   held from now on
//   point X Y                a tablet's pointer is there, of 0 to 32767 each
//   console TEXT             comes in by a virtio console
//   power-button
//   end                      of the run
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/devices/core/input_output.h"

namespace chronovisor {

struct ScriptStep {
  enum class Kind : std::uint8_t { input, wait, screen, serial, end };
  Kind kind = Kind::input;
  Input input{};              ///< of kind input
  std::uint64_t wait_ns = 0;  ///< before what follows
  std::string text{};         ///< of kinds screen and serial
};

/// The steps of a script. Throws Error{usage} that begins with `name` and the line.
[[nodiscard]] std::vector<ScriptStep> parse_input_script(std::string_view script,
                                                         const std::string& name);
/// The steps of a text that is typed.
[[nodiscard]] std::vector<ScriptStep> steps_of_keys(std::string_view text);

}  // namespace chronovisor
