#include "cli/parser.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <optional>

namespace chronovisor::cli {

Option& Option::type_name(const std::string& placeholder) {
  option_->type_name(placeholder);
  return *this;
}
Option& Option::required(bool required) {
  option_->required(required);
  return *this;
}
Option& Option::description(const std::string& help) {
  option_->description(help);
  return *this;
}
Option& Option::expected(int count) {
  option_->expected(count);
  return *this;
}
Option& Option::expected(int least, int most) {
  option_->expected(least, most);
  return *this;
}
Option& Option::allow_extra_args(bool allow) {
  option_->allow_extra_args(allow);
  return *this;
}
Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}
Option& Option::group(const std::string& heading) {
  option_->group(heading);
  return *this;
}

Option& Option::one_of(const std::vector<std::string>& words) {
  option_->check(CLI::IsMember(words).description(""));
  return *this;
}
Option& Option::in_range(int least, int most) {
  option_->check(CLI::Range(least, most).description(""));
  return *this;
}
Option& Option::in_range(double least, double most) {
  // Unlike CLI::Range it refuses "nan", which is beyond no limit.
  option_->check(CLI::Validator(
      [least, most](std::string& text) {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) {
          return std::string();
        }
        return fmt::format("Value {} not in range {} to {}", text, least, most);
      },
      ""));
  return *this;
}
Option& Option::existing_directory() {
  option_->check(CLI::ExistingDirectory.description(""));
  return *this;
}
Option& Option::as_size() {
  option_->transform(CLI::AsSizeValue(false).description(""));
  return *this;
}

Command Command::add_subcommand(const std::string& name, const std::string& help) {
  return Command(*app_->add_subcommand(name, help));
}
Command Command::get_subcommand(const std::string& name) const {
  return Command(*app_->get_subcommand(name));
}
Option Command::get_option(const std::string& name) const {
  return Option(*app_->get_option(name));
}
Command& Command::require_subcommand(int count) {
  app_->require_subcommand(count);
  return *this;
}
Command& Command::footer(const std::string& text) {
  app_->footer(text);
  return *this;
}
Command& Command::group(const std::string& heading) {
  app_->group(heading);
  return *this;
}
Command& Command::callback(std::function<void()> chosen) {
  app_->callback(std::move(chosen));
  return *this;
}

template <class Value>
Option Command::add_option(const std::string& names, Value& value, const std::string& help) {
  return Option(*app_->add_option(names, value, help));
}
template Option Command::add_option(const std::string&, std::string&, const std::string&);
template Option Command::add_option(const std::string&, std::vector<std::string>&,
                                    const std::string&);
template Option Command::add_option(const std::string&, std::uint64_t&, const std::string&);
template Option Command::add_option(const std::string&, int&, const std::string&);
template Option Command::add_option(const std::string&, unsigned&, const std::string&);
template Option Command::add_option(const std::string&, double&, const std::string&);
template Option Command::add_option(const std::string&, std::optional<unsigned>&,
                                    const std::string&);

template <class Value>
Option Command::add_flag(const std::string& names, Value& value, const std::string& help) {
  return Option(*app_->add_flag(names, value, help));
}
template Option Command::add_flag(const std::string&, bool&, const std::string&);
template Option Command::add_flag(const std::string&, std::string&, const std::string&);

Option Command::add_word(const std::string& names, const std::vector<std::string>& words,
                         std::function<void(std::size_t)> chosen, const std::string& help) {
  CLI::Option* option = app_->add_option_function<std::string>(
      names,
      [words, chosen = std::move(chosen)](const std::string& word) {
        chosen(
            static_cast<std::size_t>(std::find(words.begin(), words.end(), word) - words.begin()));
      },
      help);
  option->transform(CLI::IsMember(words, CLI::ignore_case).description(""));
  return Option(*option);
}

}  // namespace chronovisor::cli
