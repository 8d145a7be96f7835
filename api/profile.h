// Owns where a recorded run spent its steps: call stacks at every Nth step, exact and of
// the whole machine, as folded stacks for flame graphs and as a trace for viewers. The
// thread that owns the timeline, which comes back to where it stood.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "api/guest_names.h"
#include "base/cancel.h"
#include "timetravel/timeline.h"

namespace chronovisor::api {

struct SampleOptions {
  Position from;
  Position to;
  std::uint64_t every = 1;  ///< steps between two samples
};

struct Sample {
  Position position;
  std::uint64_t virtual_ns = 0;
  bool user = false;                ///< a program's code; otherwise a kernel's
  bool halted = false;              ///< waiting for an interrupt
  std::uint64_t address_space = 0;  ///< as session/address_space.h has it
  std::vector<std::string> frames;  ///< names, the outermost first
};

/// Receives pieces of the text, in order.
using ProfileSink = std::function<void(std::string_view)>;

/// Shows a sample of each place that is a multiple of `every` from `from` on, before
/// `to`. Throws Error{host} when cancelled.
void sample_stacks(Timeline& timeline, GuestNames& names, const SampleOptions& options,
                   CancelToken cancel, const std::function<void(const Sample&)>& visit);

/// "kernel;main;work 12", a line for each stack and how often it was met, in the order of
/// the alphabet: what flame-graph tools read.
void export_folded(Timeline& timeline, GuestNames& names, const SampleOptions& options,
                   CancelToken cancel, const ProfileSink& out);

/// Trace events in JSON, as Perfetto and Chrome's tracing open them, by the guest's time:
/// who ran in which mode, which function, console output, inputs and bookmarks.
/// Source: "Trace Event Format", the JSON object format.
void export_chrome_trace(Timeline& timeline, GuestNames& names, const SampleOptions& options,
                         CancelToken cancel, const ProfileSink& out);

}  // namespace chronovisor::api
