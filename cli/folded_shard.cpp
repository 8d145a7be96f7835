#include "cli/folded_shard.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "base/error.h"

namespace chronovisor::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kHead = "# chronovisor folded ";
constexpr std::string_view kTail = "# end of ";

FoldedShard shard_in(const Json& json) {
  FoldedShard shard;
  shard.question.recording = json.at("recording").get<std::string>();
  const Json& query = json.at("query");
  shard.question.from = {query.at("from").get<std::uint64_t>()};
  shard.question.to = {query.at("to").get<std::uint64_t>()};
  shard.question.every = query.at("every").get<std::uint64_t>();
  shard.question.symbols = query.at("symbols").get<std::vector<std::string>>();
  shard.shard = {json.at("shard").at("number").get<std::uint32_t>(),
                 json.at("shard").at("of").get<std::uint32_t>()};
  return shard;
}

}  // namespace

std::string folded_head(const FoldedQuestion& question, const Shard& shard) {
  Json json;
  json["recording"] = question.recording;
  json["query"] = {{"from", question.from.steps},
                   {"to", question.to.steps},
                   {"every", question.every},
                   {"symbols", question.symbols}};
  json["shard"] = {{"number", shard.number}, {"of", shard.of}};
  return std::string(kHead) + json.dump() + "\n";
}

std::string folded_tail(std::uint64_t lines) {
  return std::string(kTail) + std::to_string(lines) + " lines\n";
}

bool is_folded_shard(const std::string& text) { return text.starts_with(kHead); }

FoldedShard parse_folded_shard(const std::string& text, const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::bad_input, name + ": " + why);
  };
  if (!is_folded_shard(text)) {
    refuse("is no shard's folded stacks (export --format folded --shard I/N)");
  }
  FoldedShard shard;
  std::uint64_t lines = 0;
  bool ended = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos || ended) refuse("has something behind its end, or is cut off");
    const std::string line = text.substr(at, end - at);
    const bool first = at == 0;
    at = end + 1;
    if (first) {
      try {
        shard = shard_in(Json::parse(line.substr(kHead.size())));
      } catch (const nlohmann::json::exception&) {
        refuse("its first line does not say which shard it is");
      }
      continue;
    }
    if (line.starts_with(kTail)) {
      if (line + "\n" != folded_tail(lines)) {
        refuse("has " + std::to_string(lines) + " lines, but says: " + line.substr(0, 60));
      }
      ended = true;
      continue;
    }
    const std::size_t space = line.rfind(' ');
    const bool counted = space != std::string::npos && space > 0 && space + 1 < line.size() &&
                         line.find_first_not_of("0123456789", space + 1) == std::string::npos;
    if (!counted) refuse("is no stack and how often it was met: " + line.substr(0, 60));
    std::uint64_t count = 0;
    const auto read = std::from_chars(line.data() + space + 1, line.data() + line.size(), count);
    std::uint64_t& met = shard.stacks[line.substr(0, space)];
    if (read.ec != std::errc() || count > ~met) refuse("counts more than 64 bits can hold");
    met += count;
    ++lines;
  }
  if (!ended) refuse("is cut off: its last line is not there");
  return shard;
}

}  // namespace chronovisor::cli
