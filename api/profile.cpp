#include "api/profile.h"

#include <algorithm>
#include <map>
#include <optional>

#include "api/context.h"
#include "api/value.h"
#include "recorder/format/input_log.h"
#include "recorder/format/start_condition.h"
#include "session/address_space.h"

namespace chronovisor::api {
namespace {

constexpr std::size_t kMostFrames = 64;

/// The function's name without what tells places in it apart.
std::string frame_name(const SymbolTable& symbols, std::uint64_t pc) {
  const auto place = symbols.at(pc);
  std::string name = place ? place->symbol->name : "[unknown]";
  std::replace(name.begin(), name.end(), ';', ':');
  return name;
}

std::string root_name(const Sample& sample) {
  return sample.user ? "user " + hex(sample.address_space) : "kernel";
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

void sample_stacks(Timeline& timeline, GuestNames& names, const SampleOptions& options,
                   CancelToken cancel, const std::function<void(const Sample&)>& visit) {
  const SymbolTable& symbols = names.symbols(cancel);
  const linux_guest::Unwinder& unwinder = names.unwinder(cancel);
  const auto interrupted = [&] {
    if (cancel.requested()) throw Error(ErrorCode::host, "interrupted");
  };
  const Timeline::Excursion back(timeline);
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
    for (const linux_guest::StackFrame& frame : unwinder.frames(machine, kMostFrames)) {
      sample.frames.push_back(frame_name(symbols, frame.pc));
    }
    std::reverse(sample.frames.begin(), sample.frames.end());
    visit(sample);
    if (options.to.steps - at <= options.every) break;
    at += options.every;
    timeline.run_forward({}, cancel, {at});
    interrupted();
  }
}

void export_folded(Timeline& timeline, GuestNames& names, const SampleOptions& options,
                   CancelToken cancel, const ProfileSink& out) {
  std::map<std::string, std::uint64_t> stacks;
  sample_stacks(timeline, names, options, cancel, [&](const Sample& sample) {
    std::string stack = root_name(sample);
    for (const std::string& frame : sample.frames) stack += ";" + frame;
    ++stacks[stack];
  });
  for (const auto& [stack, count] : stacks) out(stack + " " + std::to_string(count) + "\n");
}

void export_chrome_trace(Timeline& timeline, GuestNames& names, const SampleOptions& options,
                         CancelToken cancel, const ProfileSink& out) {
  TraceWriter writer(out);
  std::vector<Bookmark> marks = timeline.reader().bookmarks();
  std::stable_sort(marks.begin(), marks.end(),
                   [](const Bookmark& a, const Bookmark& b) { return a.position < b.position; });
  std::size_t next_mark = 0;
  std::optional<Stretch> mode, function;
  Sample last;
  sample_stacks(timeline, names, options, cancel, [&](const Sample& sample) {
    // At the first sample behind it: the time between is not known without going there.
    for (; next_mark < marks.size() && marks[next_mark].position <= sample.position; ++next_mark) {
      if (marks[next_mark].position < options.from) continue;
      writer.instant(kBookmark, sample.virtual_ns, marks[next_mark].name,
                     marks[next_mark].position);
    }
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
