#include "cli/long_run.h"

#include <algorithm>

#include "host/host.h"

namespace chronovisor::cli {

std::string progress_text(const char* what, std::uint64_t done, std::uint64_t total) {
  const double part = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  return std::string(what) + ": " + std::to_string(static_cast<int>(100 * std::min(part, 1.0))) +
         "%, " + grouped(done) + " of " + grouped(total) + " steps";
}

Divergence explain_with_progress(const RecordingReader& reader, ReplayOptions how,
                                 const DivergenceError& error, CancelToken cancel) {
  Progress progress(true);
  SearchControl control;
  control.cancel = cancel;
  control.progress = [&](Position here) {
    progress.show("looking for the first difference: position " + grouped(here.steps));
  };
  how.from = error.from();
  return explain_divergence(reader, how, error.position(), control);
}

}  // namespace chronovisor::cli
