// Owns how commands declare themselves and their options: handles of CLI11's own, so that
// the library, whose templates and inline members take a compiler longer than a command
// does, is compiled where it parses and not in each command. What is declared is CLI11's
// to parse, check and explain. Main thread.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace chronovisor::cli {

/// An option or a positional of a command.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}

  /// The placeholder that the help shows for the value.
  Option& type_name(const std::string& placeholder);
  Option& required(bool required = true);
  Option& description(const std::string& help);
  Option& expected(int count);
  Option& expected(int least, int most);
  /// Whether one mention takes several values.
  Option& allow_extra_args(bool allow);
  Option& excludes(const Option& other);
  /// The heading in the help; none hides it there.
  Option& group(const std::string& heading);

  // Checks of the value. They add nothing to the help, where the placeholder says it.
  Option& one_of(const std::vector<std::string>& words);
  Option& in_range(int least, int most);
  Option& in_range(double least, double most);
  Option& existing_directory();
  /// Takes 64M and the like.
  Option& as_size();

 private:
  CLI::Option* option_;
};

/// The program, or one of its commands.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}

  Command add_subcommand(const std::string& name, const std::string& help);
  [[nodiscard]] Command get_subcommand(const std::string& name) const;
  [[nodiscard]] Option get_option(const std::string& name) const;
  Command& require_subcommand(int count);
  Command& footer(const std::string& text);
  Command& group(const std::string& heading);
  /// Called when the command was given, before it runs.
  Command& callback(std::function<void()> chosen);

  /// For the types that parser.cpp has it compiled for.
  template <class Value>
  Option add_option(const std::string& names, Value& value, const std::string& help);
  /// Given or not; a string takes the word in braces in `names`, or one after "=".
  template <class Value>
  Option add_flag(const std::string& names, Value& value, const std::string& help);
  /// One of some words, in any case of letters.
  template <class Value>
  Option add_choice(const std::string& names, Value& value,
                    const std::vector<std::pair<std::string, Value>>& choices,
                    const std::string& help) {
    std::vector<std::string> words;
    for (const auto& [word, meaning] : choices) words.push_back(word);
    return add_word(
        names, words, [&value, choices](std::size_t n) { value = choices.at(n).second; }, help);
  }

  [[nodiscard]] CLI::App& parser() const { return *app_; }

 private:
  Option add_word(const std::string& names, const std::vector<std::string>& words,
                  std::function<void(std::size_t)> chosen, const std::string& help);

  CLI::App* app_;
};

}  // namespace chronovisor::cli
