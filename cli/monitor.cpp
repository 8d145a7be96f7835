#include "cli/monitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "base/error.h"
#include "host/host.h"
#include "recorder/format/start_condition.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kDefaultStripColumns = 64;
constexpr std::uint64_t kMostStripColumns = 1000;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

bool switched_on(const MonitorCommands::Words& arguments, std::string_view name) {
  if (arguments.size() != 1 || (arguments[0] != "on" && arguments[0] != "off")) {
    throw Error(ErrorCode::usage, fmt::format("{} on|off", name));
  }
  return arguments[0] == "on";
}

}  // namespace

std::string mode_name(const Cpu& cpu) {
  switch (cpu.mode()) {
    case CpuMode::real:
      return "real mode";
    case CpuMode::virtual8086:
      return "virtual-8086";
    case CpuMode::protected_mode:
      return cpu.code_width() == 4 ? "32-bit" : "16-bit protected";
    case CpuMode::compatibility:
      return cpu.code_width() == 4 ? "32-bit compatibility" : "16-bit compatibility";
    case CpuMode::long64:
      return "64-bit";
  }
  return "";
}

std::span<const MonitorCommands::Command> MonitorCommands::commands() {
  using M = MonitorCommands;
  static constexpr auto kCommands = std::to_array<Command>({
      {"when", "", "where we are: position, virtual time, CPU mode", &M::when},
      {"seek", "POSITION|+N|-N|start|end|BOOKMARK",
       "arms a destination; the next continue or reverse-continue goes there", &M::seek},
      {"info", "", "what was recorded", &M::info},
      {"timeline", "[COLUMNS]", "draws the recording as a strip", &M::draw_timeline},
      {"bookmark", "[NAME | --move NAME | --delete NAME]",
       "names this position, in the recording; without NAME lists them", &M::bookmark},
      {"events", "[STEPS]", "inputs, interrupts and exceptions within STEPS of here (1000000)",
       &M::events},
      {"last-write", "ADDRESS [BYTES]", "who wrote there last; arms the place as destination",
       &M::last_write},
      {"history", "ADDRESS [BYTES [COUNT]]", "the last COUNT (10) writes there", &M::history},
      {"branch", "", "leaves the timeline here, as a change of memory or registers does",
       &M::branch},
      {"go-live", "FILE [--serial none|pty|file:PATH] [--idle warp|wait] [--force]",
       "goes on with input from outside, recorded in FILE", &M::go_live},
      {"discard", "", "leaves a branch for the timeline; the next continue arrives there",
       &M::discard},
      {"skip-interrupts", "on|off", "stepping passes over handlers merely delivered (on)",
       &M::skip_interrupts},
      {"linear-pc", "on|off", "the program counter includes the base of CS (on)",
       &M::linear_program_counter},
      {"phys", "on|off", "memory commands use physical addresses (off)", &M::physical},
      {"translate", "ADDRESS", "linear to physical", &M::translate},
      {"walk", "ADDRESS", "the page-table entries on the way to a linear address", &M::walk},
      {"disassemble", "[ADDRESS [COUNT]]", "instructions, by the CPU's present mode",
       &M::disassemble},
      {"linux-kernel", "", "the guest kernel's version and where it is", &M::linux_kernel},
      {"linux-log", "", "the guest kernel's log buffer", &M::linux_log},
      {"linux-tasks", "", "the guest's processes", &M::linux_tasks},
      {"linux-modules", "", "the guest kernel's modules", &M::linux_modules},
      {"help", "", "this list", &M::help},
  });
  return kCommands;
}

void MonitorCommands::run(std::string_view command, const Output& output,
                          const gdb::CancelFlag& cancel) {
  std::istringstream stream{std::string(command)};
  std::string verb;
  stream >> verb;
  if (verb.empty()) verb = "help";
  Words arguments;
  for (std::string word; stream >> word;) arguments.push_back(word);
  for (const Command& row : commands()) {
    if (row.name == verb) return (this->*row.run)(arguments, output, cancel);
  }
  throw Error(ErrorCode::usage,
              "unknown monitor command \"" + verb + "\"; monitor help lists them");
}

void MonitorCommands::help(const Words&, const Output& output, const gdb::CancelFlag&) {
  for (const Command& row : commands()) {
    const std::string usage = fmt::format("{} {}", row.name, row.arguments);
    output(fmt::format("{:<36} {}\n", usage, row.help));
  }
}

Moment MonitorCommands::parse_moment(const std::string& text) const {
  if (text == "start") return {timeline_.start(), 0};
  if (text == "end") return {timeline_.end(), 0};
  for (const Bookmark& bookmark : all_bookmarks()) {
    if (bookmark.name == text) return {bookmark.position, 0};
  }
  const std::uint64_t here = timeline_.now().position.steps;
  Position target;
  if (text.starts_with("+")) {
    target = {here + parse_number(text.substr(1), "seek")};
    if (target.steps < here) target = timeline_.end();
  } else if (text.starts_with("-")) {
    const std::uint64_t back = parse_number(text.substr(1), "seek");
    target = {here > back ? here - back : 0};
  } else {
    target = {parse_number(text, "seek")};
  }
  return {std::clamp(target, timeline_.start(), timeline_.end()), 0};
}

void MonitorCommands::when(const Words&, const Output& output, const gdb::CancelFlag&) {
  Machine& machine = timeline_.machine();
  const Moment now = timeline_.now();
  std::string text =
      fmt::format("position {} of {}", grouped(now.position.steps), grouped(timeline_.end().steps));
  if (now.deliveries != 0) text += fmt::format(" (after {} deliveries)", now.deliveries);
  const std::uint64_t ns = machine.now().ns;
  text += fmt::format("; virtual time {}.{:09} s; {}, CPL {}", ns / kNsPerSecond, ns % kNsPerSecond,
                      mode_name(machine.cpu()), machine.cpu().cpl());
  if (machine.cpu().state.halted) text += ", halted";
  if (timeline_.live() != nullptr) {
    text += "; live, recorded in " + live_file_ + " (discard ends it and goes back)";
  } else if (timeline_.on_branch()) {
    text += "; on a branch (discard goes back)";
  }
  output(text + "\n");
}

void MonitorCommands::seek(const Words& arguments, const Output& output, const gdb::CancelFlag&) {
  if (arguments.size() != 1) {
    throw Error(ErrorCode::usage, "seek POSITION|+N|-N|start|end|BOOKMARK");
  }
  settings_.destination = parse_moment(arguments[0]);
  output(fmt::format("position {} is next: continue, or reverse-continue, goes there\n",
                     grouped(settings_.destination->position.steps)));
}

void MonitorCommands::info(const Words&, const Output& output, const gdb::CancelFlag&) {
  const RecordingReader& reader = timeline_.reader();
  const StartCondition start = start_of(reader);
  output(fmt::format("recording    {} ({}), made {} on {}\n", reader.name(),
                     size_text(reader.file_bytes()), start.created_utc, start.host));
  output(fmt::format("guest        {}{}{}, {} of memory, engine {}\n", start.kernel_name,
                     start.command_line.empty() ? "" : " ", start.command_line,
                     size_text(start.machine.memory_bytes), start.engine));
  if (start.parent) {
    output(fmt::format("parent       {} at position {}{}\n", start.parent->name,
                       grouped(start.parent->position.steps),
                       start.parent->changed_by_hand ? ", changed by hand" : ""));
  }
  output(fmt::format("positions    {} to {}\n", grouped(reader.start().steps),
                     grouped(reader.usable_to().steps)));
  output(fmt::format("checkpoints  {} recorded, {} in memory here\n", reader.checkpoints().size(),
                     size_text(timeline_.cache_bytes_used())));
  std::uint64_t inputs = 0;
  for (std::size_t n = 0; n < reader.input_ranges().size(); ++n) {
    inputs += reader.read_inputs(n).events.size();
  }
  output(fmt::format("inputs       {}\n", grouped(inputs)));
  for (const Damage& damage : reader.damage()) output("damage       " + damage.message + "\n");
}

void MonitorCommands::draw_timeline(const Words& arguments, const Output& output,
                                    const gdb::CancelFlag&) {
  const std::uint64_t columns =
      arguments.empty() ? kDefaultStripColumns : parse_number(arguments[0], "timeline");
  if (columns < 8 || columns > kMostStripColumns) {
    throw Error(ErrorCode::usage, "timeline: between 8 and 1000 columns");
  }
  const std::uint64_t first = timeline_.start().steps;
  const std::uint64_t length = std::max<std::uint64_t>(timeline_.end().steps - first, 1);
  const auto column = [&](Position position) {
    const std::uint64_t steps = std::max(position.steps, first) - first;
    const auto share =
        static_cast<long double>(std::min(steps, length)) / static_cast<long double>(length);
    return static_cast<std::size_t>(share * static_cast<long double>(columns - 1));
  };
  std::string strip(columns, '-');
  std::string marks(columns, ' ');
  const RecordingReader& reader = timeline_.reader();
  for (const CheckpointInfo& checkpoint : reader.checkpoints())
    strip[column(checkpoint.position)] = '+';
  reader.for_each_console([&](const ConsoleView& view) {
    char& place = marks[column(view.position)];
    if (place == ' ') place = '.';
  });
  for (std::size_t n = 0; n < reader.input_ranges().size(); ++n) {
    for (const InputEvent& event : reader.read_inputs(n).events)
      marks[column(event.position)] = 'i';
  }
  for (const Bookmark& mark : all_bookmarks()) marks[column(mark.position)] = 'b';
  std::string pointer(columns, ' ');
  pointer[column(timeline_.now().position)] = '^';
  output(fmt::format("[{}]\n|{}|\n|{}| {}{}\n", strip, marks, pointer,
                     grouped(timeline_.now().position.steps),
                     timeline_.live() != nullptr ? " (live)"
                     : timeline_.on_branch()     ? " (a branch)"
                                                 : ""));
  output(fmt::format("{} to {}; + checkpoint, . console, i input, b bookmark, ^ here\n",
                     grouped(first), grouped(timeline_.end().steps)));
}

void MonitorCommands::need_timeline(std::string_view what) const {
  if (timeline_.on_branch()) {
    throw Error(ErrorCode::usage,
                fmt::format("{}: this is a branch, which has no history; discard it first", what));
  }
}

void MonitorCommands::skip_interrupts(const Words& arguments, const Output& output,
                                      const gdb::CancelFlag&) {
  settings_.skip_interrupts = switched_on(arguments, "skip-interrupts");
  output(settings_.skip_interrupts ? "steps pass over handlers that were merely delivered\n"
                                   : "steps enter the handlers of delivered interrupts\n");
}

void MonitorCommands::linear_program_counter(const Words& arguments, const Output& output,
                                             const gdb::CancelFlag&) {
  settings_.linear_pc = switched_on(arguments, "linear-pc");
  output(settings_.linear_pc ? "the program counter includes the base of CS\n"
                             : "the program counter is an offset in CS\n");
}

void MonitorCommands::physical(const Words& arguments, const Output& output,
                               const gdb::CancelFlag&) {
  settings_.physical_memory = switched_on(arguments, "phys");
  output(settings_.physical_memory ? "memory addresses are physical\n"
                                   : "memory addresses are linear\n");
}

}  // namespace chronovisor::cli
