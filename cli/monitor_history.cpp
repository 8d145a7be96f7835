// Monitor commands that search the recording from where it stands, and come
// back to where they began.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "cli/interrupt_stepping.h"
#include "cli/monitor.h"
#include "host/host.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kDefaultEventSpan = 1'000'000;
constexpr std::uint64_t kMostEventSpan = 10'000'000'000;
constexpr std::size_t kEventsEachSide = 12;
constexpr std::size_t kMostEvents = 100'000;
constexpr std::uint64_t kMostWatchedBytes = 1U << 20;
constexpr std::size_t kShownBytes = 16;
constexpr std::uint64_t kUserHalfEnd = 0x0000800000000000ULL;

std::string exception_name(std::uint8_t vector) {
  static constexpr std::array<std::string_view, 20> kNames{
      "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "",
      "#TS", "#NP", "#SS", "#GP", "#PF", "",    "#MF", "#AC", "#MC", "#XM"};
  if (vector < kNames.size() && !kNames[vector].empty()) return std::string(kNames[vector]);
  return fmt::format("interrupt {}", vector);
}

struct Happening {
  Moment moment;
  std::string text;
};

std::uint64_t address_space(const Machine& machine) {
  // Without the process-context number, and without the bit by which Linux
  // tells the two page tables of one process apart.
  return machine.cpu().state.cr3 & 0x000fffffffffe000ULL;
}

std::string value_text(Machine& machine, std::uint64_t address, std::uint64_t length) {
  if (length == 1 || length == 2 || length == 4 || length == 8) {
    const auto value = read_linear_value(machine, address, length);
    return value ? fmt::format("{:#x}", *value) : "(unreadable)";
  }
  Bytes bytes(std::min<std::uint64_t>(length, kShownBytes));
  bytes.resize(read_linear_memory(machine, address, bytes));
  if (bytes.empty()) return "(unreadable)";
  std::string out;
  for (const std::uint8_t byte : bytes)
    out += fmt::format("{}{:02x}", out.empty() ? "" : " ", byte);
  return length > kShownBytes ? out + " ..." : out;
}

}  // namespace

/// A store into watched memory; the machine stood on its instruction.
struct MonitorCommands::Store {
  Moment moment;
  std::uint64_t pc = 0;
  std::uint64_t first_byte = 0;
  std::string before;
  std::string after;
};

/// Goes back to the nearest earlier store. @return nothing when there is none
std::optional<MonitorCommands::Store> MonitorCommands::earlier_store(
    std::uint64_t address, std::uint64_t length, const gdb::CancelFlag& cancel) {
  StopSet stops;
  stops.watchpoints.push_back({{address, length, false, true}, {}});
  if (address < kUserHalfEnd && (timeline_.machine().cpu().state.cr0 & kCr0Pg) != 0) {
    // Other processes have other memory at the same address.
    stops.watchpoints[0].condition = [space = address_space(timeline_.machine())](Machine& there) {
      return address_space(there) == space;
    };
  }
  const TravelResult result = timeline_.run_backward(stops, &cancel);
  if (result.stop == TravelStop::interrupted) throw Error(ErrorCode::usage, "interrupted");
  if (result.stop != TravelStop::watchpoint) return std::nullopt;
  Store store;
  store.moment = timeline_.now();
  store.pc = timeline_.machine().cpu().linear_rip();
  store.first_byte = result.address;
  store.before = value_text(timeline_.machine(), address, length);
  timeline_.step_forward();
  store.after = value_text(timeline_.machine(), address, length);
  timeline_.seek(store.moment, &cancel);
  return store;
}

namespace {

struct WatchArguments {
  std::uint64_t address = 0;
  std::uint64_t length = 8;
  std::uint64_t count = 10;
};

WatchArguments watch_arguments(const MonitorCommands::Words& words, std::string_view usage,
                               std::size_t most) {
  if (words.empty() || words.size() > most) throw Error(ErrorCode::usage, std::string(usage));
  WatchArguments out;
  const std::string what(usage.substr(0, usage.find(' ')));
  out.address = parse_number(words[0], what);
  if (words.size() > 1) out.length = parse_number(words[1], what);
  if (words.size() > 2) out.count = std::min<std::uint64_t>(parse_number(words[2], what), 1000);
  if (out.length == 0 || out.length > kMostWatchedBytes ||
      out.address + (out.length - 1) < out.address) {
    throw Error(ErrorCode::usage, what + ": between 1 byte and 1 MiB can be watched");
  }
  return out;
}

}  // namespace

void MonitorCommands::last_write(const Words& arguments, const Output& output,
                                 const gdb::CancelFlag& cancel) {
  const WatchArguments watch = watch_arguments(arguments, "last-write ADDRESS [BYTES]", 2);
  need_timeline("last-write");
  const Moment origin = timeline_.now();
  const std::optional<Store> store = earlier_store(watch.address, watch.length, cancel);
  timeline_.seek(origin);
  if (!store) {
    throw Error(ErrorCode::usage, fmt::format("{:#x} was not written before position {}",
                                              watch.address, grouped(origin.position.steps)));
  }
  settings_.destination = store->moment;
  output(
      fmt::format("{:#x} was last written at position {} by the instruction at {:#x}: {} -> {}\n",
                  store->first_byte, grouped(store->moment.position.steps), store->pc,
                  store->before, store->after));
  output("continue, or reverse-continue, goes there\n");
}

void MonitorCommands::history(const Words& arguments, const Output& output,
                              const gdb::CancelFlag& cancel) {
  const WatchArguments watch = watch_arguments(arguments, "history ADDRESS [BYTES [COUNT]]", 3);
  need_timeline("history");
  const Moment origin = timeline_.now();
  std::uint64_t found = 0;
  try {
    for (; found < watch.count; ++found) {
      const std::optional<Store> store = earlier_store(watch.address, watch.length, cancel);
      if (!store) break;
      output(fmt::format("{:>20}  {:#018x}  {} -> {}\n", grouped(store->moment.position.steps),
                         store->pc, store->before, store->after));
    }
  } catch (const Error&) {
    timeline_.seek(origin);
    throw;
  }
  timeline_.seek(origin);
  if (found == 0) output(fmt::format("{:#x} was not written before\n", watch.address));
}

void MonitorCommands::events(const Words& arguments, const Output& output,
                             const gdb::CancelFlag& cancel) {
  if (arguments.size() > 1) throw Error(ErrorCode::usage, "events [STEPS]");
  need_timeline("events");
  std::uint64_t span = arguments.empty() ? kDefaultEventSpan : parse_number(arguments[0], "events");
  span = std::min(span, kMostEventSpan);
  const Moment origin = timeline_.now();
  const std::uint64_t here = origin.position.steps;
  const Position from{here - std::min(span, here - timeline_.start().steps)};
  const Position to{here + std::min(span, timeline_.end().steps - here)};
  std::vector<Happening> all;
  for (InputCursor cursor(timeline_.reader(), from); const InputEvent* event = cursor.peek();
       cursor.pop()) {
    if (event->position > to || all.size() >= kMostEvents) break;
    all.push_back({{event->position, 0}, fmt::format("input {}", input_kind_name(event->kind))});
  }
  const std::vector<InterruptGate> gates = interrupt_gates(timeline_.machine());
  StopSet stops;
  for (const InterruptGate& gate : gates) {
    stops.breakpoints.push_back(
        {gate.address, [](Machine& there) { return there.moment().deliveries > 0; }});
  }
  timeline_.seek({from, 0}, &cancel);
  while (all.size() < kMostEvents) {
    const TravelResult result = timeline_.run_forward(stops, &cancel, to);
    if (result.stop != TravelStop::breakpoint) break;
    std::string names;
    for (const InterruptGate& gate : gates) {
      if (gate.address != result.address) continue;
      if (names.size() > 40) {
        names += " or others";
        break;
      }
      names += (names.empty() ? "" : " or ") + exception_name(gate.vector);
    }
    all.push_back({timeline_.now(), fmt::format("{}, handler at {:#x}", names, result.address)});
  }
  timeline_.seek(origin);
  std::stable_sort(all.begin(), all.end(),
                   [](const Happening& a, const Happening& b) { return a.moment < b.moment; });
  const auto middle = std::partition_point(all.begin(), all.end(),
                                           [&](const Happening& h) { return h.moment < origin; });
  const auto before = static_cast<std::size_t>(middle - all.begin());
  const std::size_t first = before > kEventsEachSide ? before - kEventsEachSide : 0;
  const std::size_t last = std::min(all.size(), before + kEventsEachSide);
  if (first > 0) output(fmt::format("{} earlier ones\n", first));
  for (std::size_t n = first; n < last; ++n) {
    if (n == before) output(fmt::format("{:>20}  -- here --\n", grouped(here)));
    output(fmt::format("{:>20}  {}\n", grouped(all[n].moment.position.steps), all[n].text));
  }
  if (last == before) output(fmt::format("{:>20}  -- here --\n", grouped(here)));
  if (last < all.size()) output(fmt::format("{} later ones\n", all.size() - last));
}

}  // namespace chronovisor::cli
