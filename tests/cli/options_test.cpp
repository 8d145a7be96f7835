#include <doctest/doctest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/parser.h"

using namespace chronovisor;
using namespace chronovisor::cli;

namespace {

/// Runs a command line through the parser and the command, as main does.
/// @return the exit status an Error or a parse error stands for; 0 when neither
int status_of(std::vector<std::string> words) {
  CLI::App app;
  app.require_subcommand(1);
  Action action;
  Command root(app);
  add_record(root, action);
  add_replay(root, action);
  add_verify(root, action);
  add_diff(root, action);
  std::reverse(words.begin(), words.end());
  try {
    app.parse(words);
    return action();
  } catch (const CLI::ParseError&) {
    return static_cast<int>(ErrorCode::usage);
  } catch (const Error& error) {
    return static_cast<int>(error.code());
  }
}

constexpr int kUsage = static_cast<int>(ErrorCode::usage);
constexpr int kBadInput = static_cast<int>(ErrorCode::bad_input);
const std::string kMissing = "/nonexistent/recording.cvr";

}  // namespace

TEST_CASE("a command line without a command, or with an unknown one, is a usage error") {
  CHECK(status_of({}) == kUsage);
  CHECK(status_of({"travel"}) == kUsage);
  CHECK(status_of({"verify"}) == kUsage);
  CHECK(status_of({"diff", kMissing}) == kUsage);
  CHECK(status_of({"verify", kMissing, "--no-such-option"}) == kUsage);
}

TEST_CASE("options that make no sense are usage errors before any file is touched") {
  CHECK(status_of({"verify", kMissing, "--jobs", "0"}) == kUsage);
  CHECK(status_of({"verify", kMissing, "--jobs", "many"}) == kUsage);
  CHECK(status_of({"verify", kMissing, "--jobs", "257"}) == kUsage);
  CHECK(status_of({"verify", kMissing, "--to", "x"}) == kUsage);
  CHECK(status_of({"verify", kMissing, "--from", "9", "--to", "8"}) == kUsage);
  CHECK(status_of({"record", "-o", kMissing}) == kUsage);
  CHECK(status_of({"record", "-o", kMissing, "--flat", "a", "--kernel", "b"}) == kUsage);
}

TEST_CASE("one of some words is taken in any case of letters, and no other word is") {
  CLI::App app;
  Command root(app);
  enum class Colour { none, red, green };
  Colour colour = Colour::none;
  root.add_choice<Colour>("--colour", colour, {{"red", Colour::red}, {"green", Colour::green}}, "");
  app.parse("--colour GREEN");
  CHECK(colour == Colour::green);
  CHECK_THROWS_WITH(app.parse("--colour blue"), "--colour: blue not in {red,green}");
}

TEST_CASE("a recording that is not there cannot be used") {
  CHECK(status_of({"verify", kMissing}) == kBadInput);
  CHECK(status_of({"replay", kMissing}) == kBadInput);
  CHECK(status_of({"diff", kMissing, kMissing}) == kBadInput);
}
