// Owns a live run from the command line: the options that every command that
// runs a guest has, the terminal, and the recording that is made meanwhile.
// Knows not where the machine came from. Main thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/live_display.h"
#include "cli/replication.h"
#include "host/input_script.h"
#include "host/network/network_options.h"
#include "recorder/format/recording_writer.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/flight_recorder.h"
#include "recorder/live/parted_recorder.h"
#include "recorder/live/run_recorder.h"
#include "vmm/engine/kvm/kvm_device.h"
#include "vmm/machine/machine.h"

namespace chronovisor::cli {

class Command;

struct RunOptions {
  std::string output;
  std::string engine = "soft";
  std::string kvm_device = kvm::kDevicePath;
  std::string idle;
  std::string serial = "stdio";
  std::string debugcon = "none";
  std::string console = "none";
  std::string parallel = "none";
  DisplayOptions display;
  std::string keys;
  std::string script;
  std::string limit;
  std::string checkpoint_every;
  double seek_seconds = 0;  ///< 0: not said
  double checkpoint_budget = 4;
  std::string keep;
  std::string part_size;
  std::string sync = "none";
  std::string stuck_after;
  ReplicationOptions replication;
  bool stop_when_stuck = false;
  bool is_kept = true;  ///< the recording is there after the run
  bool force = false;
  bool no_checkpoints = false;
  bool no_index = false;
  bool json = false;
};
void add_run_options(Command& command, RunOptions& options);

/// The options as understood.
struct RunPlan {
  WriterOptions writer;
  RecorderOptions recorder;
  std::optional<KeepPolicy> keep;
  std::optional<PartPlan> parts;
  std::string idle;  ///< warp or wait
  Position limit{kNever};
  bool terminal = false;  ///< input is typed, raw
  std::vector<ScriptStep> script;
  std::vector<NetworkOptions> networks;  ///< of the machine's cards, in their order
};
/// `inputs` are the files that the run is made from. Throws Error{usage}; also when the
/// output is one of them, or is there and is no recording.
[[nodiscard]] RunPlan plan_run(const RunOptions& options, const std::vector<std::string>& inputs,
                               std::vector<NetworkOptions> networks = {});

/// Puts what the machine was loaded from into a recording that begins.
using ImageEmbedder = std::function<void(RecordingWriter&)>;

/// Runs `machine` from where it stands, with input from outside, and records it;
/// then reports. `start` goes into the metadata. Throws Error{host}, Error{usage}.
/// @return the exit status
int run_live(const RunOptions& options, const RunPlan& plan, const StartCondition& start,
             Machine& machine, const ImageEmbedder& embed);

}  // namespace chronovisor::cli
