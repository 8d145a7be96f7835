#include <doctest/doctest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/error.h"
#include "cli/commands.h"

using namespace chronovisor;
using namespace chronovisor::cli;

namespace {

/// Runs a command line through the parser and the command, as main does.
/// @return the exit status an Error or a parse error stands for; 0 when neither
int status_of(std::vector<std::string> words) {
  CLI::App app;
  app.require_subcommand(1);
  Action action;
  add_record(app, action);
  add_replay(app, action);
  add_verify(app, action);
  add_diff(app, action);
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

TEST_CASE("a recording that is not there cannot be used") {
  CHECK(status_of({"verify", kMissing}) == kBadInput);
  CHECK(status_of({"replay", kMissing}) == kBadInput);
  CHECK(status_of({"diff", kMissing, kMissing}) == kBadInput);
}
