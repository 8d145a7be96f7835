// Owns the check of an option that is a number with limits. Plain function; any thread.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace chronovisor::cli {

/// Unlike CLI::Range it refuses "nan", which is beyond no limit.
[[nodiscard]] inline CLI::Validator number_between(double least, double most) {
  return CLI::Validator(
      [least, most](std::string& text) {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) {
          return std::string();
        }
        return "Value " + text + " not in range " + std::to_string(least) + " to " +
               std::to_string(most);
      },
      "");
}

}  // namespace chronovisor::cli
