// diff: where two recordings differ: in what they start from, in their inputs,
// and in the states of their machines, down to the step.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "cli/parser.h"
#include "host/host.h"
#include "inspect/disassembly.h"
#include "inspect/divergence_report.h"
#include "recorder/format/recording_reader.h"
#include "timetravel/recording_diff.h"

namespace chronovisor::cli {
namespace {

constexpr std::size_t kPayloadBytesShown = 32;

struct DiffOptions {
  std::string left;
  std::string right;
  bool json = false;
};

const SideNames kNames{"left", "right"};

std::string input_text(const std::optional<InputEvent>& event) {
  if (!event) return "no input";
  std::string text = std::string(input_kind_name(event->kind)) + " at position " +
                     grouped(event->position.steps) + ", idle " + grouped(event->idle_ns) + " ns";
  const ByteView payload(event->payload);
  if (!payload.empty()) {
    text += ": " + hex_bytes(payload.first(std::min(payload.size(), kPayloadBytesShown)));
  }
  return text;
}

nlohmann::ordered_json input_json(const std::optional<InputEvent>& event) {
  if (!event) return nullptr;
  return {{"position", event->position.steps},
          {"idle_ns", event->idle_ns},
          {"kind", input_kind_name(event->kind)},
          {"device", event->device},
          {"payload", hex_bytes(event->payload, "")}};
}

nlohmann::ordered_json json_of(const RecordingDifference& difference, const DiffOptions& options) {
  nlohmann::ordered_json json;
  json["left"] = {{"file", options.left}, {"end", difference.left_end.steps}};
  json["right"] = {{"file", options.right}, {"end", difference.right_end.steps}};
  json["same"] = difference.same();
  json["start"] = nlohmann::ordered_json::array();
  for (const StartDifference& start : difference.start) {
    json["start"].push_back({{"what", start.what}, {"left", start.left}, {"right", start.right}});
  }
  json["equal_inputs"] = difference.equal_inputs;
  json["equal_digests"] = difference.equal_digests;
  json["compared_to"] = difference.compared_to.steps;
  if (difference.input) {
    json["first_input"] = {{"index", difference.input->index},
                           {"position", difference.input->position.steps},
                           {"left", input_json(difference.input->left)},
                           {"right", input_json(difference.input->right)}};
  }
  if (difference.recorded_digest) json["recorded_digest"] = difference.recorded_digest->steps;
  if (difference.state) {
    json["state"] = nlohmann::ordered_json::parse(divergence_json(*difference.state, kNames));
  }
  return json;
}

void print_text(const RecordingDifference& difference, const DiffOptions& options) {
  std::printf("left:  %s, to position %s\nright: %s, to position %s\n", options.left.c_str(),
              grouped(difference.left_end.steps).c_str(), options.right.c_str(),
              grouped(difference.right_end.steps).c_str());
  if (difference.start.empty()) {
    std::printf("starting conditions: equal\n");
  } else {
    std::printf("starting conditions differ:\n");
    for (const StartDifference& start : difference.start) {
      std::printf("  %s\n    left:  %s\n    right: %s\n", start.what.c_str(),
                  start.left.empty() ? "(none)" : start.left.c_str(),
                  start.right.empty() ? "(none)" : start.right.c_str());
    }
  }
  if (!difference.input) {
    std::printf("inputs: %s, all equal up to position %s\n",
                grouped(difference.equal_inputs).c_str(),
                grouped(difference.compared_to.steps).c_str());
  } else {
    std::printf(
        "inputs: %s equal, then they differ at position %s:\n  left:  %s\n  right: %s\n",
        grouped(difference.equal_inputs).c_str(), grouped(difference.input->position.steps).c_str(),
        input_text(difference.input->left).c_str(), input_text(difference.input->right).c_str());
  }
  if (difference.recorded_digest) {
    std::printf("recorded digests: %s equal, different at position %s\n",
                grouped(difference.equal_digests).c_str(),
                grouped(difference.recorded_digest->steps).c_str());
  } else {
    std::printf("recorded digests: %s in common, all equal\n",
                grouped(difference.equal_digests).c_str());
  }
  if (difference.state) {
    std::printf("states differ:\n%s", divergence_text(*difference.state, kNames).c_str());
  } else {
    std::printf("states: no difference up to position %s\n",
                grouped(difference.compared_to.steps).c_str());
  }
}

int diff(const DiffOptions& options) {
  const auto opened_left = open_with_positions(options.left);
  const auto opened_right = open_with_positions(options.right);
  const RecordingReader& left = *opened_left;
  const RecordingReader& right = *opened_right;
  for (const RecordingReader* reader : {&left, &right}) {
    warn_of_damage(*reader);
  }
  watch_stop_signals();
  RecordingDifference difference;
  {
    Progress progress(true);
    SearchControl control;
    control.cancel = stop_signal();
    control.progress = [&](Position here) {
      progress.show("comparing: position " + grouped(here.steps));
    };
    difference = compare_recordings(left, right, control);
  }
  if (options.json) {
    const nlohmann::ordered_json json = json_of(difference, options);
    std::printf("%s\n",
                json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else {
    print_text(difference, options);
  }
  return difference.same() ? kDone : static_cast<int>(ErrorCode::divergence);
}

}  // namespace

void add_diff(Command& app, Action& action) {
  auto options = std::make_shared<DiffOptions>();
  Command command = app.add_subcommand(
      "diff", "Compare two recordings: their starts, their inputs, and the first differing step");
  command.add_option("left", options->left, "A recording").type_name("FILE").required();
  command.add_option("right", options->right, "Another recording").type_name("FILE").required();
  command.add_flag("--json", options->json, "Report as one JSON object on stdout");
  command.callback([options, &action] { action = [options] { return diff(*options); }; });
}

}  // namespace chronovisor::cli
