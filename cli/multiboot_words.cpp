#include "cli/multiboot_words.h"

#include "cli/parser.h"

#include <filesystem>

namespace chronovisor::cli {

std::string multiboot_line(FirstWord first, const std::string& path, const std::string& words) {
  if (first == FirstWord::none) return words;
  const std::string name =
      first == FirstWord::path ? path : std::filesystem::path(path).filename().string();
  return words.empty() ? name : name + " " + words;
}

StartModule module_of(const std::string& text, BootKind kind, FirstWord first) {
  const std::size_t comma = text.find(',');
  StartModule module{text.substr(0, comma),
                     comma == std::string::npos ? "" : text.substr(comma + 1)};
  if (kind == BootKind::multiboot) {
    module.arguments = multiboot_line(first, module.name, module.arguments);
  }
  return module;
}

void add_first_word_option(Command& command, FirstWord& first) {
  command
      .add_choice("--multiboot-argv0", first,
                  {{"name", FirstWord::name}, {"path", FirstWord::path}, {"none", FirstWord::none}},
                  "First word of multiboot lines: the file's name, its path as given, or none "
                  "(name)")
      .type_name("name|path|none");
}

}  // namespace chronovisor::cli
