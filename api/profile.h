// Owns where a recorded run spent its steps: call stacks at every Nth step, exact and of
// the whole machine, as folded stacks for flame graphs and as a trace for viewers. The
// thread that owns the timeline, which comes back to where it stood.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "session/guest_names.h"
#include "timetravel/shard.h"
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

/// The samples of one shard, one behind the other: travelling between them is what takes
/// long.
[[nodiscard]] SampleOptions part_of(const SampleOptions& all, const Shard& shard);

/// Receives pieces of the text, in order.
using ProfileSink = std::function<void(std::string_view)>;

/// An interrupt or exception that has been delivered, or a system call that was made.
struct DeliveredHere {
  Moment moment;
  std::uint64_t virtual_ns = 0;
  std::uint8_t vector = 0;
  std::optional<std::string> call{};  ///< its name, or number; nothing: a delivery
};

/// Shows a sample of each place that is a multiple of `every` from `from` on, before
/// `to`, and, where `deliver` is given, what is delivered and called between them. Throws
/// Error{host} when cancelled.
void sample_stacks(Timeline& timeline, session::GuestNames& names, const SampleOptions& options,
                   CancelToken cancel, const std::function<void(const Sample&)>& visit,
                   const std::function<void(const DeliveredHere&)>& deliver = {});

/// "user 0x1f3a000", "kernel"
[[nodiscard]] std::string root_name(const Sample& sample);

/// The bookmarks as samples pass them: the time of one is not known without going there.
class Marks {
 public:
  Marks(const RecordingReader& reader, Position from);
  /// Shows those up to the sample.
  void pass(const Sample& sample, const std::function<void(const Bookmark&)>& visit);

 private:
  std::vector<Bookmark> marks_;
  Position from_;
  std::size_t next_ = 0;
};

/// "kernel;main;work 12", a line for each stack and how often it was met, in the order of
/// the alphabet: what flame-graph tools read. `out` is given a line each time.
void export_folded(Timeline& timeline, session::GuestNames& names, const SampleOptions& options,
                   CancelToken cancel, const ProfileSink& out);

/// Trace events in JSON, as Perfetto and Chrome's tracing open them, by the guest's time:
/// who ran in which mode, which function, console output, inputs and bookmarks.
/// Source: "Trace Event Format", the JSON object format.
void export_chrome_trace(Timeline& timeline, session::GuestNames& names,
                         const SampleOptions& options, CancelToken cancel, const ProfileSink& out);

}  // namespace chronovisor::api
