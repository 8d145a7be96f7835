#include "session/interrupt_stepping.h"

#include <algorithm>
#include <array>
#include <utility>

#include "timetravel/linear_memory.h"

namespace chronovisor::session {
namespace {

/// How far a handler is followed before it counts as one that does not return.
constexpr std::uint64_t kLongestHandlerSteps = 1ULL << 31;
/// How far before a return from interrupt its interrupt is looked for, nearest first.
constexpr std::array<std::uint64_t, 3> kLookBackSteps{1ULL << 16, 1ULL << 21, 1ULL << 26};
constexpr std::uint8_t kFirstExternalVector = 32;
/// At most so many positions are looked at for deliveries at once.
constexpr std::uint64_t kMostPositionsLookedAt = 512;

std::uint64_t integer_at(ByteView bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t n = 0; n < size; ++n) value |= std::uint64_t{bytes[at + n]} << (8 * n);
  return value;
}

/// The base of the code segment that a protected-mode gate leads to.
std::uint64_t segment_base(Machine& machine, std::uint16_t selector) {
  const CpuState& s = machine.cpu().state;
  const std::uint64_t table = (selector & 4) != 0 ? s.ldtr.base : s.gdtr.base;
  std::array<std::uint8_t, 8> descriptor{};
  if (read_linear_memory(machine, table + (selector & ~7U), descriptor) < descriptor.size())
    return 0;
  return integer_at(descriptor, 2, 3) | integer_at(descriptor, 7, 1) << 24;
}

/// Whether a delivery through `vector` is one that stepping passes over.
bool passed_over(const Machine& machine, std::uint8_t vector, bool from_user) {
  if (vector >= kFirstExternalVector || vector == kNmi) return true;
  if (vector == kPageFault) return from_user;
  // The BIOS's place for the first interrupt controller.
  return !machine.cpu().protected_mode() && vector >= 8 && vector < 16;
}

/// Whether the next instruction is an IRET.
bool is_return(Machine& machine) {
  constexpr std::uint8_t kIret = 0xcf;
  std::array<std::uint8_t, 2> code{};
  read_linear_memory(machine, machine.cpu().linear_rip(), code);
  const bool prefixed = (code[0] & 0xf8) == 0x48 || code[0] == 0x66;
  return code[0] == kIret || (prefixed && code[1] == kIret);
}

/// How far before the place of interest a scan begins, to know the handlers that
/// are at work there.
constexpr std::uint64_t kLeadSteps = 1ULL << 16;

StopSet at_deliveries(Machine& machine) {
  StopSet stops;
  for (const InterruptGate& gate : interrupt_gates(machine)) {
    stops.breakpoints.push_back(
        {gate.address, [](Machine& there) { return there.moment().deliveries > 0; }});
  }
  return stops;
}

}  // namespace

std::vector<InterruptGate> interrupt_gates(Machine& machine) {
  const Cpu& cpu = machine.cpu();
  const DescriptorTableRegister& idtr = cpu.state.idtr;
  const bool real = !cpu.protected_mode();
  const std::size_t size = real ? 4 : cpu.long_mode_active() ? 16 : 8;
  const std::size_t length = std::min<std::size_t>(std::size_t{idtr.limit} + 1, 256 * size);
  std::vector<std::uint8_t> table(length);
  table.resize(read_linear_memory(machine, idtr.base, table));
  std::vector<InterruptGate> gates;
  for (std::size_t n = 0; (n + 1) * size <= table.size(); ++n) {
    const ByteView gate = ByteView(table).subspan(n * size, size);
    const auto vector = static_cast<std::uint8_t>(n);
    if (real) {
      const std::uint64_t address = integer_at(gate, 0, 2) + (integer_at(gate, 2, 2) << 4);
      if (address != 0) gates.push_back({address, vector});
      continue;
    }
    const unsigned type = gate[5] & 0x1fU;
    const bool present = (gate[5] & 0x80U) != 0;
    const bool wide = type == 0xe || type == 0xf;
    if (!present || (!wide && type != 6 && type != 7)) continue;
    std::uint64_t offset = integer_at(gate, 0, 2);
    if (wide) offset |= integer_at(gate, 6, 2) << 16;
    if (size == 16) {
      offset |= integer_at(gate, 8, 4) << 32;
      gates.push_back({offset, vector});
    } else {
      const auto selector = static_cast<std::uint16_t>(integer_at(gate, 2, 2));
      gates.push_back(
          {static_cast<std::uint32_t>(offset + segment_base(machine, selector)), vector});
    }
  }
  return gates;
}

/// What tells an interrupted piece of code from any other: where it is, on
/// which stack, in which address space.
struct InterruptStepping::Context {
  std::uint64_t rip = 0;
  std::uint64_t rsp = 0;
  std::uint64_t address_space = 0;
  std::uint16_t cs = 0;
  bool operator==(const Context&) const = default;
};

/// Where an interrupt was delivered, or a nearer stop of the user's.
struct InterruptStepping::Entry {
  Moment moment;
  std::optional<TravelResult> stop;
};

namespace {
// Without the process-context number in the low bits.
std::uint64_t address_space_of(const CpuState& state) { return state.cr3 & 0x000ffffffffff000ULL; }
}  // namespace

InterruptStepping::Context InterruptStepping::context_of(Machine& machine) {
  const CpuState& s = machine.cpu().state;
  return {s.gpr[kGprRip], s.gpr[kRsp], address_space_of(s), s.segment[kCs].selector};
}

/// At a handler's first instruction: the context in the frame on its stack.
std::optional<InterruptStepping::Context> InterruptStepping::interrupted_context(Machine& machine,
                                                                                 bool error_code) {
  const Cpu& cpu = machine.cpu();
  const CpuState& s = cpu.state;
  const bool long_mode = cpu.long_mode_active();
  const std::size_t width = long_mode ? 8 : cpu.protected_mode() ? 4 : 2;
  const std::uint64_t mask = cpu.stack_width() == 2   ? 0xffff
                             : cpu.stack_width() == 4 ? 0xffffffff
                                                      : ~0ULL;
  std::uint64_t at = s.gpr[kRsp] & mask;
  if (error_code) at += width;
  const std::uint64_t base = long_mode ? 0 : s.segment[kSs].base;
  std::array<std::uint8_t, 40> frame{};
  const std::size_t fields = long_mode ? 5 : 3;
  if (read_linear_memory(machine, base + at, std::span(frame).first(fields * width)) <
      fields * width) {
    return std::nullopt;
  }
  Context out;
  out.rip = integer_at(frame, 0, width);
  out.cs = static_cast<std::uint16_t>(integer_at(frame, width, 2));
  out.address_space = address_space_of(s);
  out.rsp = (s.gpr[kRsp] & ~mask) | ((at + 3 * width) & mask);
  const bool stack_saved = long_mode || (cpu.protected_mode() && (out.cs & 3U) != cpu.cpl());
  if (stack_saved) {
    std::array<std::uint8_t, 8> saved{};
    if (read_linear_memory(machine, base + at + 3 * width, std::span(saved).first(width)) < width) {
      return std::nullopt;
    }
    out.rsp = integer_at(saved, 0, width);
  }
  return out;
}

/// The least that can happen: a delivery at this position, or the step.
TravelResult InterruptStepping::one_delivery_or_step(CancelToken cancel) {
  const Moment here = timeline_.now();
  const Moment next{here.position, here.deliveries + 1};
  if (timeline_.on_branch()) return timeline_.run_branch_to(next, cancel);
  if (here.position >= timeline_.end()) return timeline_.step_forward();
  return {timeline_.seek(next), 0, {}, false};
}

/// Stops where the interrupted code goes on, beside those of `user`.
/// @param address where that is, linear
StopSet InterruptStepping::return_to(Machine& machine, const Context& context, const StopSet& user,
                                     std::uint64_t& address) {
  const std::uint64_t base =
      machine.cpu().long_mode_active() ? 0 : machine.cpu().state.segment[kCs].base;
  StopSet stops = user;
  // The base is that of the handler's segment; the interrupted code's own is
  // only known where it differs: in modes with segments.
  address = context.rip;
  if (!machine.cpu().protected_mode()) {
    address = static_cast<std::uint32_t>(context.rip + (std::uint64_t{context.cs} << 4));
  } else if (!machine.cpu().long_mode_active()) {
    address = static_cast<std::uint32_t>(context.rip + base);
  }
  std::erase_if(stops.breakpoints, [&](const TravelBreakpoint& b) { return b.address == address; });
  stops.breakpoints.push_back(
      {address, [context](Machine& there) { return context_of(there) == context; }});
  return stops;
}

/// @return what ended the run before the return, or nothing when it returned
std::optional<TravelResult> InterruptStepping::run_to_return(const Context& context,
                                                             const StopSet& user, Moment entry,
                                                             CancelToken cancel) {
  std::uint64_t address = 0;
  const StopSet stops = return_to(timeline_.machine(), context, user, address);
  const Position limit{entry.position.steps + kLongestHandlerSteps};
  const TravelResult result = timeline_.run_forward(stops, cancel, limit);
  if (result.stop == TravelStop::breakpoint && result.address == address) return std::nullopt;
  const bool lost = result.stop == TravelStop::arrived || result.stop == TravelStop::history_end;
  if (lost && !timeline_.on_branch()) {
    timeline_.seek(entry, cancel);
    return TravelResult{TravelStop::arrived, 0, {}, false};
  }
  return result;
}

TravelResult InterruptStepping::forward(const StopSet& user, bool skip, CancelToken cancel) {
  while (true) {
    Machine& machine = timeline_.machine();
    const Moment here = timeline_.now();
    const Context context = context_of(machine);
    const bool from_user = machine.cpu().cpl() == 3;
    const TravelResult result = one_delivery_or_step(cancel);
    const Moment entry = timeline_.now();
    if (result.stop != TravelStop::arrived || entry.position > here.position || !skip)
      return result;
    const std::uint64_t pc = machine.cpu().linear_rip();
    const std::vector<InterruptGate> gates = interrupt_gates(machine);
    const bool pass = std::any_of(gates.begin(), gates.end(), [&](const InterruptGate& gate) {
      return gate.address == pc && passed_over(machine, gate.vector, from_user);
    });
    if (!pass) return result;
    // Where a run begins it does not stop, but here the user wants to.
    for (const TravelBreakpoint& b : user.breakpoints) {
      if (b.address == pc && (!b.condition || b.condition(machine))) {
        return {TravelStop::breakpoint, pc, {}, false};
      }
    }
    if (const auto ended = run_to_return(context, user, entry, cancel)) return *ended;
    if (cancel.requested()) return {TravelStop::interrupted, 0, {}, false};
  }
}

/// How many deliveries there are at a position, by going through it. Of the positions
/// before it more and more are looked at, since who steps back will go on so.
std::optional<std::uint32_t> InterruptStepping::deliveries_at(Position at, CancelToken cancel) {
  if (at < looked_from_ || at >= looked_to_) {
    const std::uint64_t known = looked_to_.steps - looked_from_.steps;
    const bool onward = at.steps + 1 == looked_from_.steps;
    const std::uint64_t length = std::min({onward ? std::min(2 * known, kMostPositionsLookedAt) : 1,
                                           at.steps + 1 - timeline_.start().steps});
    Moment here{{at.steps + 1 - length}, 0};
    const Position from = here.position;
    if (timeline_.seek(here, cancel) == TravelStop::interrupted) return std::nullopt;
    std::vector<Moment> found;
    while (here.position <= at) {
      ++here.deliveries;
      if (timeline_.seek(here, cancel) == TravelStop::interrupted) return std::nullopt;
      if (timeline_.now() == here) continue;
      if (--here.deliveries > 0) found.push_back(here);
      here = {{here.position.steps + 1}, 0};
    }
    delivered_at_ = std::move(found);
    looked_from_ = from;
    looked_to_ = {at.steps + 1};
  }
  const auto found = std::ranges::find(delivered_at_, at, &Moment::position);
  return found == delivered_at_.end() ? 0 : found->deliveries;
}

std::optional<InterruptStepping::Entry> InterruptStepping::find_entry(const Context& context,
                                                                      bool user_mode,
                                                                      const StopSet& user,
                                                                      Position before,
                                                                      CancelToken cancel) {
  Machine& machine = timeline_.machine();
  StopSet stops = user;
  const std::size_t first_gate = stops.breakpoints.size();
  for (const InterruptGate& gate : interrupt_gates(machine)) {
    if (!passed_over(machine, gate.vector, user_mode)) continue;
    const bool error_code = gate.vector == kPageFault;
    stops.breakpoints.push_back({gate.address, [context, error_code](Machine& there) {
                                   if (there.moment().deliveries == 0) return false;
                                   const auto found = interrupted_context(there, error_code);
                                   return found && *found == context;
                                 }});
  }
  const auto is_entry = [&](const TravelResult& result) {
    if (result.stop != TravelStop::breakpoint) return false;
    for (std::size_t n = first_gate; n < stops.breakpoints.size(); ++n) {
      const TravelBreakpoint& gate = stops.breakpoints[n];
      if (gate.address == result.address && gate.condition(timeline_.machine())) return true;
    }
    return false;
  };
  for (const std::uint64_t distance : kLookBackSteps) {
    const std::uint64_t first = timeline_.start().steps;
    const std::uint64_t from = before.steps - first > distance ? before.steps - distance : first;
    if (timeline_.seek({{from}, 0}, cancel) == TravelStop::interrupted) return std::nullopt;
    std::optional<Entry> entry;
    std::optional<Entry> nearer;  // a stop of the user's after the entry
    while (true) {
      const TravelResult result = timeline_.run_forward(stops, cancel, before);
      if (result.stop == TravelStop::interrupted) return std::nullopt;
      if (result.stop != TravelStop::breakpoint && result.stop != TravelStop::watchpoint) break;
      const bool watch = result.stop == TravelStop::watchpoint;
      const Moment moment = watch ? timeline_.machine().moment_before() : timeline_.now();
      if (is_entry(result)) {
        entry = Entry{moment, std::nullopt};
        nearer.reset();
      } else {
        nearer = Entry{moment, result};
      }
    }
    if (entry) {
      // One that came back here earlier, in another turn of a loop, is not the one.
      if (timeline_.seek(entry->moment, cancel) == TravelStop::interrupted) return std::nullopt;
      std::uint64_t address = 0;
      const StopSet back = return_to(machine, context, {}, address);
      const Position end{before.steps + 1};
      if (timeline_.run_forward(back, cancel, end).stop == TravelStop::breakpoint)
        return std::nullopt;
      return nearer ? nearer : entry;
    }
    if (from == first) break;
  }
  return std::nullopt;
}

TravelResult InterruptStepping::backward(const StopSet& user, bool skip, CancelToken cancel) {
  if (timeline_.on_branch()) return timeline_.step_backward(cancel);
  const Moment origin = timeline_.now();
  Machine& machine = timeline_.machine();
  const auto interrupted = [&] {
    timeline_.seek(origin);
    return TravelResult{TravelStop::interrupted, 0, {}, false};
  };
  while (true) {
    const Moment here = timeline_.now();
    if (here.deliveries > 0) {
      timeline_.seek({here.position, here.deliveries - 1}, cancel);
      return {TravelStop::arrived, 0, {}, false};
    }
    const Context context = context_of(machine);
    const bool user_mode = machine.cpu().cpl() == 3;
    if (here.position > timeline_.start()) {
      const Position before{here.position.steps - 1};
      const auto deliveries = deliveries_at(before, cancel);
      if (!deliveries) return interrupted();
      if (*deliveries > 0) {
        // The step was a handler's first.
        if (timeline_.seek({before, *deliveries}, cancel) == TravelStop::interrupted)
          return interrupted();
        if (!skip || !is_return(machine) || passed_over_here(machine) != context)
          return {TravelStop::arrived, 0, {}, false};
        // And its last: all of it is passed over.
        timeline_.seek({before, *deliveries - 1}, cancel);
        continue;
      }
    }
    const TravelResult result = timeline_.step_backward(cancel);
    if (result.stop == TravelStop::interrupted) return interrupted();
    if (result.stop != TravelStop::arrived || !skip || !is_return(machine)) return result;
    const Moment back = timeline_.now();
    const auto entry = find_entry(context, user_mode, user, back.position, cancel);
    if (cancel.requested()) return interrupted();
    if (!entry) {
      timeline_.seek(back);
      return result;
    }
    if (entry->stop) {
      timeline_.seek(entry->moment, cancel);
      return *entry->stop;
    }
    // To the place that was interrupted, which is where we came from as far as
    // the code at hand can tell; and one step back from there.
    timeline_.seek({entry->moment.position, entry->moment.deliveries - 1}, cancel);
  }
}

// ---- many steps as one travel ------------------------------------------------------------

/// At a handler's first instruction: what it interrupted, if stepping passes over it.
std::optional<InterruptStepping::Context> InterruptStepping::passed_over_here(Machine& machine) {
  const std::uint64_t pc = machine.cpu().linear_rip();
  for (const InterruptGate& gate : interrupt_gates(machine)) {
    if (gate.address != pc) continue;
    const auto context = interrupted_context(machine, gate.vector == kPageFault);
    const bool from_user = context && machine.cpu().protected_mode() && (context->cs & 3U) == 3U;
    if (context && passed_over(machine, gate.vector, from_user)) return context;
  }
  return std::nullopt;
}

std::uint64_t InterruptStepping::forward_many(std::uint64_t count, bool skip, CancelToken cancel) {
  // By the interrupt tables at both ends: on the way the guest may get its first.
  const std::uint64_t start = timeline_.now().position.steps;
  StopSet gates = at_deliveries(timeline_.machine());
  const StopSet later = timeline_.excursion([&] {
    timeline_.seek({{start + std::min(count, kNever - start)}, 0}, cancel);
    return at_deliveries(timeline_.machine());
  });
  gates.breakpoints.insert(gates.breakpoints.end(), later.breakpoints.begin(),
                           later.breakpoints.end());
  std::uint64_t left = count;
  while (left > 0) {
    const Position here = timeline_.now().position;
    const Position limit{here.steps + std::min(left, kNever - here.steps)};
    const TravelResult result = timeline_.run_forward(gates, cancel, limit);
    const Moment entry = timeline_.now();
    left -= entry.position.steps - here.steps;
    if (result.stop != TravelStop::breakpoint) break;
    const auto context = skip ? passed_over_here(timeline_.machine()) : std::nullopt;
    if (!context) {
      // A delivery that is not passed over is a step: to the handler.
      if (left > 0) --left;
      continue;
    }
    const auto ended = run_to_return(*context, {}, entry, cancel);
    if (!ended) continue;
    if (ended->stop != TravelStop::arrived) break;
    if (left > 0) --left;  // it does not return: entered
  }
  return count - left;
}

/// A delivery of an interrupt or exception, and where its handler returned when
/// stepping passes over it.
struct InterruptStepping::Delivery {
  Moment entry;
  std::optional<Position> back;
};

/// From here on, to the arrival at `end`: those outside handlers that are passed over.
std::vector<InterruptStepping::Delivery> InterruptStepping::deliveries_until(const StopSet& gates,
                                                                             Position end,
                                                                             bool skip,
                                                                             CancelToken cancel) {
  std::vector<Delivery> all;
  while (timeline_.now().position < end) {
    if (timeline_.run_forward(gates, cancel, end).stop != TravelStop::breakpoint) break;
    Delivery& delivery = all.emplace_back();
    delivery.entry = timeline_.now();
    const auto context = skip ? passed_over_here(timeline_.machine()) : std::nullopt;
    if (!context) continue;
    std::uint64_t address = 0;
    const StopSet back = return_to(timeline_.machine(), *context, {}, address);
    if (timeline_.run_forward(back, cancel, end).stop == TravelStop::breakpoint) {
      delivery.back = timeline_.now().position;
    } else if (timeline_.seek(delivery.entry, cancel) == TravelStop::interrupted) {
      break;  // the end is inside the handler, whose steps count like others
    }
  }
  return all;
}

std::uint64_t InterruptStepping::backward_many(std::uint64_t count, bool skip, CancelToken cancel) {
  const Moment origin = timeline_.now();
  // As the table is here: earlier the guest may not have had one.
  const StopSet gates = at_deliveries(timeline_.machine());
  const std::uint64_t start = timeline_.start().steps;
  std::uint64_t reach = count;
  while (true) {
    const std::uint64_t from =
        origin.position.steps - std::min(reach, origin.position.steps - start);
    const std::uint64_t lead = from - std::min(kLeadSteps, from - start);
    if (timeline_.seek({{lead}, 0}, cancel) == TravelStop::interrupted) return 0;
    const std::vector<Delivery> deliveries = deliveries_until(gates, origin.position, skip, cancel);
    if (cancel.requested()) return 0;

    std::uint64_t left = count;
    Moment at = origin;
    // Within a position, from delivery to delivery.
    const auto within = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, at.deliveries));
    at.deliveries -= within;
    left -= within;
    for (auto delivery = deliveries.rbegin(); delivery != deliveries.rend() && left > 0;
         ++delivery) {
      const Position resumed = delivery->back.value_or(delivery->entry.position);
      const std::uint64_t own = at.position.steps - resumed.steps;
      if (own > left || (own == left && delivery->back)) break;
      left -= own;
      at = delivery->entry;
      if (delivery->back || left > 0) {
        --at.deliveries;
        if (!delivery->back) --left;
      }
    }
    const std::uint64_t further = std::min(left, at.position.steps - start);
    if (left > 0) at = {{at.position.steps - further}, 0};
    left -= further;
    if (at.position.steps < from && lead > start) {
      reach = origin.position.steps - at.position.steps + 1;
      continue;
    }
    timeline_.seek(at, cancel);
    return count - left;
  }
}

}  // namespace chronovisor::session
