// Owns what a loop that gets nowhere waits for: the port, the words of memory, or
// nothing at all, as its instructions say. The machine's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "recorder/live/stuck_watch.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

struct PolledMemory {
  std::uint64_t address = 0;  ///< linear
  unsigned bytes = 0;
  std::optional<std::uint64_t> value;  ///< nothing where it cannot be read
};

struct Polling {
  std::optional<std::uint16_t> port;
  std::vector<PolledMemory> memory;       ///< read in each turn, at most a few
  std::vector<std::string> instructions;  ///< of the loop, at most a few
  std::uint64_t rip = 0;                  ///< of the first
};

/// What the loop of `guest` reads, as of `machine` standing in it.
[[nodiscard]] Polling polling_of(Machine& machine, const StuckGuest& guest);

/// "it polls port 0x64, at 0x7c0e: in al, 0x64; test al, 2; jne 0x7c0e"
[[nodiscard]] std::string polling_text(const Polling& polling, const StuckGuest& guest);

}  // namespace chronovisor
