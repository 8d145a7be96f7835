// Owns the words in which a request is typed: one table of commands, each with
// what it takes, parsed strictly. What a debugger's `monitor` takes, and whoever
// else wants words. Knows no machine and no answer. Any thread.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "session/request.h"

namespace chronovisor::session {

/// The words behind a command, taken one after the other. Every refusal is an
/// Error{usage} that ends with how the command is used.
class Words {
 public:
  Words(std::string_view command, std::string_view usage, std::vector<std::string> words)
      : command_(command), usage_(usage), words_(std::move(words)) {}

  [[nodiscard]] bool empty() const { return at_ == words_.size(); }
  [[nodiscard]] const std::string& peek() const { return words_[at_]; }
  /// The next word. `what` names it for the refusal when there is none.
  std::string word(std::string_view what);
  std::uint64_t number(std::string_view what);
  std::uint64_t number_or(std::string_view what, std::uint64_t otherwise);
  bool on_or_off();
  /// `if CONDITION`, to the end of the line; or nothing.
  std::string condition();
  [[nodiscard]] std::vector<std::string> rest();
  /// Takes the next word if it is this one.
  bool take(std::string_view word);
  [[noreturn]] void refuse(const std::string& why) const;

 private:
  std::string_view command_;
  std::string_view usage_;
  std::vector<std::string> words_;
  std::size_t at_ = 0;
};

/// One row of the table: adding a command is adding a row, a request and an answer.
struct WordCommand {
  std::string_view name;
  std::string_view arguments;
  std::string_view help;
  Request (*parse)(Words& words);
};
[[nodiscard]] std::span<const WordCommand> word_commands();

/// The request that `line` asks; an empty line asks for help. Words are separated
/// by white space; "..." makes one of several. Throws Error{usage}: for an unknown
/// command with those that it resembles, and for words too few, too many or wrong.
[[nodiscard]] Request parse_request(std::string_view line);

}  // namespace chronovisor::session
