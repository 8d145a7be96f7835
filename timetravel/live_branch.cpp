#include "timetravel/live_branch.h"

#include <exception>
#include <utility>

#include "base/error.h"

namespace chronovisor {

LiveBranch::LiveBranch(Machine& machine, LiveRun run)
    : machine_(machine),
      run_(std::move(run)),
      recorder_(machine, *run_.writer, *run_.input, run_.output.get(), run_.clock_ns,
                run_.recorder) {
  CHECK_THAT(machine.at_arrival(), "a recording begins on arrival at a position");
  if (run_.media) machine_.media().set_source(run_.media);
  recorder_.begin();
  flush();
}

void LiveBranch::stopped(MachineStop stop) {
  last_stop_ = stop;
  recorder_.stopped();
}

void LiveBranch::end() noexcept {
  RunOutcome outcome;
  std::string trouble;
  try {
    outcome = recorder_.end(last_stop_);
    run_.writer->finish(run_.summary(outcome));
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  if (run_.media) machine_.media().set_source(run_.media_after);
  run_.ended(outcome, trouble);
}

}  // namespace chronovisor
