#include "cli/shard_option.h"

#include "base/error.h"
#include "cli/parser.h"
#include "host/host.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kMostShards = 1'000'000;

}  // namespace

void add_shard_option(Command& command, std::string& shard, const std::string& help) {
  command.add_option("--shard", shard, help).type_name("I/N");
}

Shard shard_of(const std::string& text) {
  if (text.empty()) return {};
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) {
    throw Error(ErrorCode::usage, "--shard: \"" + text + "\" is not like 2/8");
  }
  const std::uint64_t of = parse_number(text.substr(slash + 1), "--shard");
  const std::uint64_t number = parse_number(text.substr(0, slash), "--shard");
  if (of < 1 || of > kMostShards || number < 1 || number > of) {
    throw Error(ErrorCode::usage,
                "--shard: \"" + text + "\" is not I/N, with I from 1 to N and N to 1000000");
  }
  return {static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(of)};
}

}  // namespace chronovisor::cli
