// Owns the records that go with emitted code: a translated block, the direct
// jumps out of it, and the places where it calls back. Plain data; one thread a
// machine.
#pragma once

#include <cstdint>
#include <vector>

namespace chronovisor {
struct Block;
struct Instruction;
}  // namespace chronovisor

namespace chronovisor::translate {

/// What an observer was told of the code on one RAM page.
struct ToldPage {
  std::uint64_t rip_base = ~std::uint64_t{0};  ///< where its code was told of last
  std::vector<std::uint32_t> told;             ///< numbers of Translations
  std::vector<std::uint32_t> translations;     ///< numbers of all whose first byte is on it
};

/// The emitted form of one Block. Lives until the code cache is flushed; dead once
/// its Block is gone.
struct Translation {
  const Block* block = nullptr;
  const std::uint8_t* code = nullptr;  ///< where it is entered, executable
  std::uint32_t number = 0;
  std::uint32_t page_offset = 0;  ///< of the block's first byte within its page
  std::uint32_t steps = 0;        ///< instructions of the block
  std::uint32_t tell_at = 0;      ///< of the jump to tell_stub or the NOP in its place; 0: none
  std::uint32_t tell_stub = 0;
  std::uint8_t key = 0;  ///< of the mode it was made for
  bool alive = true;
  bool told = false;
  std::vector<std::uint32_t> incoming;  ///< edges that jump here
  ToldPage* page = nullptr;             ///< of its first byte, if there is an observer
};

/// A direct jump to a place in the same page.
struct Edge {
  std::uint32_t from = 0;         ///< number of the Translation
  std::uint32_t page_offset = 0;  ///< of the target
  std::uint32_t patch_at = 0;     ///< offset of the jump's 32-bit distance
  std::uint32_t stub = 0;         ///< where it jumps while it is not linked
  bool linked = false;
};

/// A place where emitted code has an instruction executed by its handler. It says of the
/// block what is wanted then, since each record apart is a cache line that has gone cold.
struct Site {
  const Instruction* instruction = nullptr;
  std::uint32_t page_offset = 0;  ///< of the block's first byte within its page
  std::uint16_t index = 0;        ///< of the instruction in its block
  std::uint16_t steps = 0;        ///< instructions of the block
  std::uint8_t key = 0;           ///< of the mode the block was emitted for
  bool flags_in = false;          ///< the handler, or who looks at a fault, needs the flags
  bool flags_out = false;         ///< the handler may change them
  bool last = false;              ///< emitted code is left behind it, whatever it does
};

}  // namespace chronovisor::translate
