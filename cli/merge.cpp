// merge: what one run would have given, from what the shards of it gave.
#include "cli/merge.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/exit_status.h"
#include "cli/folded_shard.h"
#include "cli/parser.h"
#include "host/host.h"
#include "recorder/edit/index_edit.h"
#include "recorder/edit/index_part.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/records.h"
#include "timetravel/shard.h"

namespace chronovisor::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMostFileBytes = 4ULL << 30;

struct MergeOptions {
  std::vector<std::string> files;
  std::string into;
  bool json = false;
};

/// A file and what is in it.
struct Given {
  std::string name;
  std::string text;
};

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::bad_input, why); }

Given read(const std::string& path) {
  const Bytes bytes = read_whole_file(path, kMostFileBytes);
  if (bytes.empty()) refuse(path + ": is empty, as the output of a job that failed is");
  return {path, std::string(bytes.begin(), bytes.end())};
}

Json parsed(const Given& given) {
  try {
    Json json = Json::parse(given.text);
    if (json.is_object()) return json;
  } catch (const nlohmann::json::exception&) {
    // Refused below.
  }
  refuse(given.name + ": is no JSON document of a shard's, or is cut off");
}

/// What `use` gives of it; a document that lacks what it takes is refused.
template <typename Use>
auto taken(const Given& given, Use use) {
  try {
    return use();
  } catch (const nlohmann::json::exception&) {
    refuse(given.name + ": is nothing that shards give");
  }
}

std::vector<Given> read_all(const std::vector<std::string>& files) {
  std::vector<Given> all;
  for (const std::string& file : files) all.push_back(read(file));
  return all;
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw Error(ErrorCode::host, "the answer cannot be written");
  }
}

/// Of each shard of `of` exactly one.
void require_all(const std::vector<std::pair<std::uint32_t, std::string>>& numbers,
                 std::uint32_t of) {
  std::map<std::uint32_t, std::string> there;
  for (const auto& [number, name] : numbers) {
    if (number < 1 || number > of) {
      refuse(name + ": there is no shard " + std::to_string(number) + " of " + std::to_string(of));
    }
    const auto [other, fresh] = there.emplace(number, name);
    if (!fresh) {
      refuse("shard " + std::to_string(number) + " of " + std::to_string(of) +
             " is given twice: " + other->second + " and " + name);
    }
  }
  for (std::uint32_t number = 1; number <= of; ++number) {
    if (there.contains(number)) continue;
    refuse("shard " + std::to_string(number) + " of " + std::to_string(of) + " is missing; " +
           std::to_string(numbers.size()) + " were given");
  }
}

int merge_queries(const std::vector<Given>& given, bool json) {
  std::vector<session::QueryDocument> shards;
  std::vector<std::string> names;
  for (const Given& one : given) {
    shards.push_back(session::parse_answer(one.text, one.name));
    names.push_back(one.name);
  }
  print_answer(session::merge_shards(std::move(shards), names), json);
  return kDone;
}

/// Documents of shards in their order; all of one recording, and of one question where there
/// is one.
std::vector<Json> shards_in_order(const std::vector<Given>& given) {
  std::vector<Json> all;
  std::vector<std::pair<std::uint32_t, std::string>> numbers;
  std::uint32_t of = 0;
  for (const Given& one : given) {
    Json json = parsed(one);
    if (!json.contains("shard")) refuse(one.name + ": is no shard's");
    const Shard shard = taken(one, [&] {
      return Shard{json.at("shard").at("number").get<std::uint32_t>(),
                   json.at("shard").at("of").get<std::uint32_t>()};
    });
    if (of == 0) of = shard.of;
    if (shard.of != of) refuse(one.name + ": is one of another number of shards");
    if (!all.empty() &&
        (json.value("recording", Json()) != all.front().value("recording", Json()) ||
         json.value("query", Json()) != all.front().value("query", Json()))) {
      refuse(one.name + ": is about something else than " + given.front().name);
    }
    numbers.emplace_back(shard.number, one.name);
    all.push_back(std::move(json));
  }
  require_all(numbers, of);
  std::sort(all.begin(), all.end(), [](const Json& a, const Json& b) {
    return a.at("shard").at("number") < b.at("shard").at("number");
  });
  return all;
}

int merge_packets(const std::vector<Given>& given) {
  std::vector<Json> shards = shards_in_order(given);
  const Json query = shards.front().at("query");
  const std::uint64_t limit = query.at("limit").get<std::uint64_t>();
  std::uint64_t count = 0;
  bool complete = true;
  Json packets = Json::array();
  for (const Json& shard : shards) {
    count += shard.at("count").get<std::uint64_t>();
    complete = complete && shard.at("complete").get<bool>();
    if (!shard.contains("packets")) continue;
    for (const Json& packet : shard.at("packets")) {
      if (packets.size() < limit) packets.push_back(packet);
    }
  }
  Json whole;
  whole["count"] = std::min(count, limit);
  whole["complete"] = complete && count <= limit;
  if (!query.at("count").get<bool>()) whole["packets"] = std::move(packets);
  print(whole.dump(2) + "\n");
  return kDone;
}

/// The report of the whole, and the status with which its run would have ended.
int merge_verifications(const std::vector<Given>& given, bool as_json) {
  const std::vector<Json> shards = shards_in_order(given);
  const auto first_with = [&](const std::string& result) {
    return std::find_if(shards.begin(), shards.end(), [&](const Json& shard) {
      return shard.at("result").get<std::string>() == result;
    });
  };
  // What a difference leads to is not looked at: the earliest counts.
  auto worst = first_with("damaged");
  if (worst == shards.end()) {
    for (auto shard = shards.begin(); shard != shards.end(); ++shard) {
      if (shard->at("result").get<std::string>() != "diverged") continue;
      if (worst == shards.end() ||
          shard->at("position").get<std::uint64_t>() < worst->at("position").get<std::uint64_t>()) {
        worst = shard;
      }
    }
  }
  if (worst == shards.end()) worst = first_with("interrupted");
  Json whole = worst == shards.end() ? shards.front() : *worst;
  whole.erase("shard");
  whole.erase("recording");
  whole["bytes"] = shards.front().at("bytes");
  whole["damage"] = shards.front().at("damage");
  const std::string result = whole.at("result").get<std::string>();
  if (worst == shards.end()) {
    for (const char* sum : {"digests_checked", "checkpoints_checked", "stretches"}) {
      std::uint64_t all = 0;
      for (const Json& shard : shards) all += shard.at(sum).get<std::uint64_t>();
      whole[sum] = all;
    }
    double seconds = 0;
    std::uint64_t position = 0;
    for (const Json& shard : shards) {
      seconds += shard.at("seconds").get<double>();
      position = std::max(position, shard.at("position").get<std::uint64_t>());
      if (shard.contains("digest")) whole["digest"] = shard.at("digest");
    }
    whole["seconds"] = seconds;
    whole["position"] = position;
    if (!whole.contains("digest")) refuse("no shard has checked the end");
    // As verify has its members in order.
    whole.erase("result");
    whole["result"] = result;
  }
  if (as_json) {
    print(whole.dump(2) + "\n");
  } else if (worst == shards.end()) {
    print(whole.at("file").get<std::string>() + ": " + result + " in " +
          std::to_string(shards.size()) + " shards; " +
          grouped(whole.at("digests_checked").get<std::uint64_t>()) + " digests and " +
          grouped(whole.at("checkpoints_checked").get<std::uint64_t>()) +
          " checkpoints equal to position " + grouped(whole.at("position").get<std::uint64_t>()) +
          "\n");
  } else {
    print(whole.at("file").get<std::string>() + ": " + result + "\n" +
          whole.value("message", std::string()) + "\n");
  }
  if (result == "diverged") return static_cast<int>(ErrorCode::divergence);
  if (result == "interrupted") return static_cast<int>(ErrorCode::host);
  return result == "identical" ? kDone : static_cast<int>(ErrorCode::bad_input);
}

/// Adds up what each stack was met.
int merge_folded(const std::vector<Given>& given) {
  std::map<std::string, std::uint64_t> stacks;
  std::vector<std::pair<std::uint32_t, std::string>> numbers;
  std::optional<FoldedShard> first;
  for (const Given& one : given) {
    FoldedShard part = parse_folded_shard(one.text, one.name);
    if (!first) first = part;
    if (part.question != first->question) {
      refuse(one.name + ": is about something else than " + given.front().name);
    }
    if (part.shard.of != first->shard.of) refuse(one.name + ": is one of another number of shards");
    numbers.emplace_back(part.shard.number, one.name);
    for (const auto& [stack, count] : part.stacks) {
      std::uint64_t& met = stacks[stack];
      if (count > ~met) refuse(one.name + ": counts more than 64 bits can hold");
      met += count;
    }
  }
  require_all(numbers, first->shard.of);
  std::string text;
  for (const auto& [stack, count] : stacks) text += stack + " " + std::to_string(count) + "\n";
  print(text);
  return kDone;
}

int merge_index(const std::vector<Given>& given, const std::string& into) {
  if (into.empty()) {
    throw Error(ErrorCode::usage, "these are parts of an index: --into RECORDING");
  }
  std::vector<NewInterval> intervals;
  std::vector<std::pair<std::uint32_t, std::string>> numbers;
  std::uint32_t of = 0;
  const FileId id = RecordingReader(into).id();
  for (const Given& one : given) {
    IndexPart part = decode_index_part(as_bytes(one.text), one.name);
    if (part.recording != id) refuse(one.name + ": belongs to another recording than " + into);
    if (of == 0) of = part.of;
    if (part.of != of) refuse(one.name + ": is one of another number of shards");
    numbers.emplace_back(part.number, one.name);
    std::move(part.intervals.begin(), part.intervals.end(), std::back_inserter(intervals));
  }
  require_all(numbers, of);
  std::stable_sort(intervals.begin(), intervals.end(),
                   [](const auto& a, const auto& b) { return a.from < b.from; });
  append_intervals(into, intervals);
  std::fprintf(stderr, "chronovisor: %s: %zu intervals added\n", into.c_str(), intervals.size());
  return kDone;
}

int merge(const MergeOptions& options) {
  const std::vector<Given> given = read_all(options.files);
  const Given& first = given.front();
  const auto no_json = [&](const char* what) {
    if (options.json) throw Error(ErrorCode::usage, std::string("--json: ") + what);
  };
  if (is_index_part(as_bytes(first.text))) {
    no_json("parts of an index go into a recording, and nothing is printed");
    return merge_index(given, options.into);
  }
  if (!options.into.empty()) {
    throw Error(ErrorCode::usage, "--into is for the parts of an index");
  }
  if (is_folded_shard(first.text)) {
    no_json("folded stacks are lines, which flame-graph tools read");
    return merge_folded(given);
  }
  if (first.text.front() != '{') {
    refuse(first.name +
           ": is nothing that shards give: JSON, parts of an index, or folded stacks with the "
           "line that says which shard they are");
  }
  const Json json = parsed(first);
  return taken(first, [&] {
    if (json.contains("digests_checked") || json.contains("damage")) {
      return merge_verifications(given, options.json);
    }
    if (json.contains("shard") && json.contains("complete")) return merge_packets(given);
    return merge_queries(given, options.json);
  });
}

}  // namespace

void print_answer(const session::QueryDocument& document, bool json) {
  print(json ? answer_json(document) : answer_text(document));
  const QueryAnswer& answer = document.answer;
  if (answer.entries.empty() && answer.query.select != QuerySelect::count) {
    std::fprintf(stderr, "chronovisor: nothing found\n");
  }
  if (answer.query.select == QuerySelect::all && answer.count > answer.entries.size()) {
    std::fprintf(stderr, "chronovisor: there are %s; the first %s are listed (--limit)\n",
                 grouped(answer.count).c_str(), grouped(answer.entries.size()).c_str());
  }
}

void add_merge(Command& app, Action& action) {
  auto options = std::make_shared<MergeOptions>();
  Command command =
      app.add_subcommand("merge", "Join what the shards of verify, query, index or export gave");
  command.add_option("files", options->files, "What they gave, all of it, in any order")
      .type_name("FILE")
      .required();
  command.add_option("--into", options->into, "Of an index: the recording that it is added to")
      .type_name("FILE");
  command.add_flag("--json", options->json,
                   "As one JSON object on stdout; not of an index or folded stacks");
  command.callback([options, &action] { action = [options] { return merge(*options); }; });
}

void add_query_merge(Command& query, Action& action) {
  auto options = std::make_shared<MergeOptions>();
  Command command = query.add_subcommand("merge", "Join the JSON answers of all shards of a query");
  command.add_option("files", options->files, "The answers, in any order")
      .type_name("FILE")
      .required();
  command.add_flag("--json", options->json, "As one JSON object on stdout");
  command.callback([options, &action] {
    action = [options] { return merge_queries(read_all(options->files), options->json); };
  });
}

}  // namespace chronovisor::cli
