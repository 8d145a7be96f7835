#include "api/profile.h"

#include <algorithm>
#include <map>
#include <optional>

#include "api/context.h"
#include "api/value.h"
#include "recorder/format/input_log.h"
#include "recorder/format/start_condition.h"
#include "session/address_space.h"
#include "session/delivery_walk.h"

namespace chronovisor::api {
namespace {

constexpr std::size_t kMostFrames = 64;

/// The function's name without what tells places in it apart.
std::string frame_name(const SymbolTable& symbols, std::uint64_t pc) {
  const auto place = symbols.at(pc);
  std::string name = place ? place->symbol->name : "[unknown]";
  // What stands between frames, and between lines.
  std::replace(name.begin(), name.end(), ';', ':');
  std::replace_if(
      name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '?');
  return name;
}

// The tracks.
enum Track : std::uint64_t { kMode = 1, kFunction, kConsole, kInput, kBookmark };

/// Writes events one after the other.
class TraceWriter {
 public:
  explicit TraceWriter(const ProfileSink& out) : out_(out) {
    out_("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    track(kMode, "mode");
    track(kFunction, "function");
    track(kConsole, "console");
    track(kInput, "input");
    track(kBookmark, "bookmarks");
  }

  void slice(Track track, std::uint64_t from_ns, std::uint64_t to_ns, const std::string& name,
             Position position) {
    add({{"ph", "X"},
         {"name", name},
         {"pid", 1},
         {"tid", std::uint64_t{track}},
         {"ts", micros(from_ns)},
         {"dur", micros(to_ns - from_ns)},
         {"args", Value::Object{{"position", position.steps}}}});
  }
  void instant(Track track, std::uint64_t at_ns, const std::string& name, Position position) {
    add({{"ph", "i"},
         {"s", "t"},
         {"name", name},
         {"pid", 1},
         {"tid", std::uint64_t{track}},
         {"ts", micros(at_ns)},
         {"args", Value::Object{{"position", position.steps}}}});
  }
  void finish() { out_("\n]}\n"); }

 private:
  static Value micros(std::uint64_t ns) { return static_cast<double>(ns) / 1000.0; }
  void track(Track number, const char* name) {
    add({{"ph", "M"},
         {"name", "thread_name"},
         {"pid", 1},
         {"tid", std::uint64_t{number}},
         {"args", Value::Object{{"name", name}}}});
  }
  void add(Value::Object event) {
    if (!first_) out_(",\n");
    first_ = false;
    out_(Value(std::move(event)).json());
  }

  const ProfileSink& out_;
  bool first_ = true;
};

/// A stretch in which the samples say the same.
struct Stretch {
  std::string name;
  std::uint64_t from_ns = 0;
  Position from;
};

/// Ends `stretch` where it has another name now, and begins the next one.
void follow(std::optional<Stretch>& stretch, const std::string& name, const Sample& sample,
            Track track, TraceWriter& writer) {
  if (stretch && stretch->name == name) return;
  if (stretch) {
    writer.slice(track, stretch->from_ns, sample.virtual_ns, stretch->name, stretch->from);
  }
  stretch = Stretch{name, sample.virtual_ns, sample.position};
}

void export_outputs(const RecordingReader& reader, const SampleOptions& options,
                    TraceWriter& writer) {
  const std::uint64_t ns_per_step = start_of(reader).machine.ns_per_step;
  const auto inside = [&](Position position) {
    return position >= options.from && position < options.to;
  };
  reader.for_each_console([&](const ConsoleView& view) {
    if (!inside(view.position)) return;
    writer.instant(kConsole, view.position.steps * ns_per_step + view.idle_ns,
                   std::string(view.bytes.begin(), view.bytes.end()), view.position);
  });
  for (InputCursor inputs(reader, options.from); const InputEvent* event = inputs.peek();
       inputs.pop()) {
    if (!inside(event->position)) break;
    writer.instant(kInput, event->position.steps * ns_per_step + event->idle_ns,
                   input_kind_name(event->kind), event->position);
  }
}

}  // namespace

std::string root_name(const Sample& sample) {
  return sample.user ? "user " + hex(sample.address_space) : "kernel";
}

Marks::Marks(const RecordingReader& reader, Position from)
    : marks_(reader.bookmarks()), from_(from) {
  std::stable_sort(marks_.begin(), marks_.end(),
                   [](const Bookmark& a, const Bookmark& b) { return a.position < b.position; });
}

void Marks::pass(const Sample& sample, const std::function<void(const Bookmark&)>& visit) {
  for (; next_ < marks_.size() && marks_[next_].position <= sample.position; ++next_) {
    if (marks_[next_].position >= from_) visit(marks_[next_]);
  }
}

SampleOptions part_of(const SampleOptions& all, const Shard& shard) {
  const std::uint64_t steps = all.to.steps - all.from.steps;
  const std::uint64_t samples = steps / all.every + (steps % all.every != 0 ? 1 : 0);
  // The first sample of a shard's, without an overflow.
  const auto first = [&](std::uint64_t number) {
    return samples / shard.of * number + samples % shard.of * number / shard.of;
  };
  SampleOptions part = all;
  part.from.steps = all.from.steps + first(shard.number - 1) * all.every;
  const std::uint64_t behind = first(shard.number);
  if (behind < samples) part.to.steps = all.from.steps + behind * all.every;
  part.from = std::min(part.from, part.to);
  return part;
}

void sample_stacks(Timeline& timeline, session::GuestNames& names, const SampleOptions& options,
                   CancelToken cancel, const std::function<void(const Sample&)>& visit,
                   const std::function<void(const DeliveredHere&)>& deliver) {
  const SymbolTable& symbols = names.symbols(cancel);
  const linux_guest::Unwinder& unwinder = names.unwinder(cancel);
  const auto interrupted = [&] {
    if (cancel.requested()) throw Error(ErrorCode::host, "interrupted");
  };
  const Timeline::Excursion back(timeline);
  session::DeliveryWalk deliveries(timeline);
  const auto run_to = [&](Position to) {
    if (!deliver) {
      timeline.run_forward({}, cancel, to);
      return interrupted();
    }
    deliveries.learn_gates();
    deliveries.learn_call_entries();
    while (const auto handler = deliveries.next(to, cancel)) {
      interrupted();
      DeliveredHere here{timeline.now(), timeline.machine().now().ns};
      if (const auto made = deliveries.system_call()) {
        here.call = names.call_name(*made, cancel).value_or(std::to_string(made->number));
      } else {
        here.vector = deliveries.vectors_of(*handler).front();
      }
      deliver(here);
    }
    interrupted();
  };
  if (deliver) {
    // The guest's table as it is at the end, and then at each sample.
    timeline.seek({options.to, 0}, cancel);
    interrupted();
    deliveries.learn_gates();
  }
  timeline.seek({options.from, 0}, cancel);
  interrupted();
  for (std::uint64_t at = options.from.steps; at < options.to.steps;) {
    Machine& machine = timeline.machine();
    Sample sample;
    sample.position = timeline.now().position;
    sample.virtual_ns = machine.now().ns;
    sample.user = machine.cpu().cpl() == 3;
    sample.halted = machine.cpu().state.halted;
    sample.address_space = session::address_space(machine.cpu().state.cr3);
    for (const linux_guest::StackFrame& frame : unwinder.stack(machine, kMostFrames).frames) {
      sample.frames.push_back(frame_name(symbols, frame.pc));
    }
    std::reverse(sample.frames.begin(), sample.frames.end());
    visit(sample);
    if (options.to.steps - at <= options.every) break;
    at += options.every;
    run_to({at});
  }
}

void export_folded(Timeline& timeline, session::GuestNames& names, const SampleOptions& options,
                   CancelToken cancel, const ProfileSink& out) {
  std::map<std::string, std::uint64_t> stacks;
  sample_stacks(timeline, names, options, cancel, [&](const Sample& sample) {
    std::string stack = root_name(sample);
    for (const std::string& frame : sample.frames) stack += ";" + frame;
    ++stacks[stack];
  });
  for (const auto& [stack, count] : stacks) out(stack + " " + std::to_string(count) + "\n");
}

void export_chrome_trace(Timeline& timeline, session::GuestNames& names,
                         const SampleOptions& options, CancelToken cancel, const ProfileSink& out) {
  TraceWriter writer(out);
  Marks marks(timeline.reader(), options.from);
  std::optional<Stretch> mode, function;
  Sample last;
  sample_stacks(timeline, names, options, cancel, [&](const Sample& sample) {
    marks.pass(sample, [&](const Bookmark& mark) {
      writer.instant(kBookmark, sample.virtual_ns, mark.name, mark.position);
    });
    follow(mode, sample.halted ? "halted" : root_name(sample), sample, kMode, writer);
    follow(function, sample.frames.empty() ? "[unknown]" : sample.frames.back(), sample, kFunction,
           writer);
    last = sample;
  });
  follow(mode, {}, last, kMode, writer);
  follow(function, {}, last, kFunction, writer);
  export_outputs(timeline.reader(), options, writer);
  writer.finish();
}

}  // namespace chronovisor::api
