#include "cli/scripted_run.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "host/host.h"
#include "inspect/export/screen.h"
#include "recorder/format/file.h"
#include "recorder/format/input_log.h"

namespace chronovisor::cli {
namespace {

constexpr std::size_t kMostSaid = 1U << 16;
constexpr std::uint64_t kMostScriptBytes = 16 << 20;

/// A step that no device of the machine takes would be waited for without end.
std::vector<ScriptStep> taken_by(const Machine& machine, std::vector<ScriptStep> steps) {
  for (const ScriptStep& step : steps) {
    if (step.kind != ScriptStep::Kind::input ||
        machine.receives(step.input.kind, step.input.device)) {
      continue;
    }
    throw Error(ErrorCode::usage, std::string("the script has an input \"") +
                                      input_kind_name(step.input.kind) +
                                      "\", and a machine of the model " + machine.config().model +
                                      " has nothing that takes it");
  }
  return steps;
}

}  // namespace

std::vector<ScriptStep> script_of(const std::string& file, const std::string& keys) {
  std::vector<ScriptStep> steps;
  if (!file.empty()) {
    const Bytes bytes = read_whole_file(file, kMostScriptBytes);
    steps = parse_input_script(std::string(bytes.begin(), bytes.end()), file);
  }
  for (ScriptStep& step : steps_of_keys(keys)) steps.push_back(std::move(step));
  return steps;
}

ScriptedRun::ScriptedRun(std::vector<ScriptStep> steps, Machine& machine, InputSource& beside)
    : machine_(machine),
      input_(
          taken_by(machine, std::move(steps)), machine.config().ns_per_step, beside,
          [this](const ScriptStep& step) { return seen(step); }, [] { stop_signal() = true; }) {
  machine_.outputs().attach(OutputKind::serial, 0, *this);
}

ScriptedRun::~ScriptedRun() { machine_.outputs().detach(*this); }

void ScriptedRun::output(Position /*position*/, const Output& output) {
  said_.append(output.payload.begin(), output.payload.end());
  if (said_.size() > 2 * kMostSaid) said_.erase(0, said_.size() - kMostSaid);
}

bool ScriptedRun::seen(const ScriptStep& step) {
  if (step.kind == ScriptStep::Kind::serial) {
    const std::size_t at = said_.find(step.text);
    if (at == std::string::npos) return false;
    said_.erase(0, at + step.text.size());
    return true;
  }
  const auto lines = screen_text_of(machine_);
  if (!lines) {
    throw Error(ErrorCode::usage, "the script waits for a screen, and a machine of the model " +
                                      machine_.config().model + " has none");
  }
  return std::any_of(lines->begin(), lines->end(), [&](const std::string& line) {
    return line.find(step.text) != std::string::npos;
  });
}

}  // namespace chronovisor::cli
