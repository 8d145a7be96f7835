#include "timetravel/recording_diff.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

/// What the guest may notice of a starting condition, by path.
std::map<std::string, std::string> facts_of(const RecordingReader& reader) {
  const StartCondition start = start_of(reader);
  nlohmann::json json = nlohmann::json::parse(start.to_json());
  for (const char* key : {"engine", "host", "created_utc", "idle", "chronovisor", "parent"})
    json.erase(key);
  // Where the files lay is no difference: contents count, and what a guest is shown of
  // a name is compared as memory.
  json["boot"].erase("kernel");
  json["boot"].erase("initrd");
  for (nlohmann::json& module : json["boot"]["modules"]) module.erase("name");
  std::map<std::string, std::string> facts;
  const nlohmann::json flat = json.flatten();
  for (const auto& [path, value] : flat.items()) {
    std::string name = path.substr(1);
    std::replace(name.begin(), name.end(), '/', '.');
    facts[name] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  for (const ImageInfo& image : reader.images()) {
    facts["image " + image.role] =
        std::to_string(image.size_bytes) + " bytes, hash " + image.hash.hex();
  }
  facts["start position"] = std::to_string(reader.start().steps);
  return facts;
}

std::vector<StartDifference> compare_starts(const RecordingReader& left,
                                            const RecordingReader& right) {
  const std::map<std::string, std::string> lefts = facts_of(left);
  const std::map<std::string, std::string> rights = facts_of(right);
  std::vector<StartDifference> differences;
  for (const auto& [what, value] : lefts) {
    const auto other = rights.find(what);
    if (other == rights.end()) {
      differences.push_back({what, value, ""});
    } else if (other->second != value) {
      differences.push_back({what, value, other->second});
    }
  }
  for (const auto& [what, value] : rights) {
    if (!lefts.contains(what)) differences.push_back({what, "", value});
  }
  return differences;
}

/// Walks both logs up to `end` for the first input that differs.
void compare_inputs(const RecordingReader& left, const RecordingReader& right, Position begin,
                    Position end, RecordingDifference& result) {
  InputCursor lefts(left, begin);
  InputCursor rights(right, begin);
  while (true) {
    const InputEvent* a = lefts.peek();
    const InputEvent* b = rights.peek();
    if (a != nullptr && a->position >= end) a = nullptr;
    if (b != nullptr && b->position >= end) b = nullptr;
    if (a == nullptr && b == nullptr) return;
    if (a == nullptr || b == nullptr || !(*a == *b)) {
      InputDifference difference;
      difference.index = result.equal_inputs;
      difference.position =
          std::min(a != nullptr ? a->position : end, b != nullptr ? b->position : end);
      if (a != nullptr) difference.left = *a;
      if (b != nullptr) difference.right = *b;
      result.input = std::move(difference);
      return;
    }
    ++result.equal_inputs;
    lefts.pop();
    rights.pop();
  }
}

/// @return the last position up to which recorded digests are known to be equal
Position compare_digests(const RecordingReader& left, const RecordingReader& right, Position end,
                         RecordingDifference& result) {
  const std::map<Position, Hash128> rights = recorded_digests(right);
  Position equal_to;
  for (const auto& [position, digest] : recorded_digests(left)) {
    if (position > end) break;
    const auto other = rights.find(position);
    if (other == rights.end()) continue;
    if (other->second != digest) {
      result.recorded_digest = position;
      break;
    }
    ++result.equal_digests;
    equal_to = position;
  }
  return equal_to;
}

std::optional<std::size_t> checkpoint_at(const RecordingReader& reader, Position position) {
  const std::optional<std::size_t> checkpoint = reader.checkpoint_before(position);
  if (checkpoint && reader.checkpoints()[*checkpoint].position == position) return checkpoint;
  return std::nullopt;
}

Divergence from_search(FirstDifference found) {
  Divergence state;
  state.noticed = state.first_different = state.compared_at = found.first_different;
  state.last_equal = found.last_equal;
  state.exact = !found.from_the_start;
  state.code = std::move(found.step);
  state.difference = std::move(found.difference);
  state.state_compared = true;
  const auto add = [&](const char* side, const std::string& trouble) {
    if (trouble.empty()) return;
    if (!state.explanation.empty()) state.explanation += "; ";
    state.explanation += std::string(side) + ": " + trouble;
  };
  add("left", found.left_trouble);
  add("right", found.right_trouble);
  return state;
}

/// The recorded states differ although both runs are the same when run again:
/// the recordings were made by programs that behave differently.
Divergence from_records(const RecordingReader& left, const RecordingReader& right,
                        Position last_equal, Position differs) {
  Divergence state;
  state.noticed = state.first_different = differs;
  state.last_equal = last_equal;
  state.explanation =
      "run again here both have the same states, and only the records differ: they were made by "
      "versions of the program that behave differently";
  const auto a = checkpoint_at(left, differs);
  const auto b = checkpoint_at(right, differs);
  if (a && b) {
    RecordedState lefts(left, *a);
    RecordedState rights(right, *b);
    state.difference = compare_states(lefts, rights);
    state.state_compared = true;
    state.compared_at = differs;
  }
  return state;
}

}  // namespace

RecordingDifference compare_recordings(const RecordingReader& left, const RecordingReader& right,
                                       const SearchControl& control) {
  RecordingDifference result;
  result.left_end = left.usable_to();
  result.right_end = right.usable_to();
  const Position begin = std::max(left.start(), right.start());
  const Position end = std::min(result.left_end, result.right_end);
  result.compared_to = end;
  result.start = compare_starts(left, right);
  compare_inputs(left, right, begin, end, result);
  const Position digests_equal_to = compare_digests(left, right, end, result);
  if (begin > end) return result;
  if (result.start.empty() && !result.input && !result.recorded_digest) return result;

  // With the same start nothing differs before the first differing input.
  Position from = begin;
  if (result.start.empty()) from = std::max(from, result.input ? result.input->position : begin);
  from = std::max(from, std::min(digests_equal_to, end));
  const bool causes_known = !result.start.empty() || result.input;
  Position to = end;
  if (result.recorded_digest && *result.recorded_digest >= from) to = *result.recorded_digest;
  const auto side = [&](const RecordingReader& reader) {
    ReplaySide replay{reader, std::nullopt, std::nullopt};
    if (reader.checkpoint_before(from)) replay.from = from;
    return replay;
  };
  auto found =
      find_first_difference(side(left), side(right), from, to,
                            causes_known ? SearchStride::growing : SearchStride::even, control);
  if (found) {
    result.state = from_search(std::move(*found));
  } else if (result.recorded_digest) {
    result.state = from_records(left, right, digests_equal_to, *result.recorded_digest);
  }
  return result;
}

}  // namespace chronovisor
