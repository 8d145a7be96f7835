// Owns what a Multiboot kernel and its modules find on their lines, for the commands
// that start one: first a name, as other loaders give it, then the words that were
// typed. Values.
#pragma once

#include <cstdint>
#include <string>

#include "recorder/format/start_condition.h"

namespace chronovisor::cli {

class Command;

/// What comes first on a line, before the words given.
enum class FirstWord : std::uint8_t { name, path, none };

[[nodiscard]] std::string multiboot_line(FirstWord first, const std::string& path,
                                         const std::string& words);
/// FILE[,ARGUMENTS], with the line that the module gets in a guest of `kind`.
[[nodiscard]] StartModule module_of(const std::string& text, BootKind kind, FirstWord first);
/// --multiboot-argv0
void add_first_word_option(Command& command, FirstWord& first);

}  // namespace chronovisor::cli
