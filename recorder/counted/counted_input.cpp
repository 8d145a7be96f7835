#include "recorder/counted/counted_input.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"

namespace chronovisor {
namespace {

/// So many steps in which no trusted count moves on are the end of the search: a
/// loop that nothing ends. A REP instruction as long as this would take minutes.
constexpr std::uint64_t kMostStepsUncounted = 1ULL << 33;

std::string hexadecimal(std::uint64_t value) {
  std::array<char, 17> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  return "0x" + std::string(digits.data(), end);
}

std::string name_of(const CountedEvent& event) {
  return event.ends_run ? "the end of the run" : std::string("a ") + input_kind_name(event.kind);
}

}  // namespace

CountedInput::CountedInput(const RecordingReader& reader, Machine& machine, Found found)
    : reader_(reader),
      machine_(machine),
      found_(std::move(found)),
      last_(machine.position()),
      seen_at_(last_) {
  machine_.set_retired_counts(&counts_);
  aim();
}

CountedInput::~CountedInput() { machine_.set_retired_counts(nullptr); }

void CountedInput::load_chunk() {
  CountedChunk chunk = reader_.read_counted(chunk_++);
  if (chunk.first != number_ || (chunk_ > 1 && chunk.trust != trust_)) {
    throw Error(ErrorCode::bad_input, reader_.name() + ": the counted log does not go on after " +
                                          grouped(number_) + " events");
  }
  trust_ = chunk.trust;
  events_ = std::move(chunk.events);
  next_ = 0;
}

const CountedEvent* CountedInput::peek() {
  while (next_ == events_.size()) {
    if (chunk_ == reader_.counted_chunks()) return nullptr;
    load_chunk();
  }
  return &events_[next_];
}

/// The counts begin anew, and the processor is told where to become careful.
void CountedInput::aim() {
  counts_ = {};
  const CountedEvent* event = peek();
  counts_.careful_from_branches = 0;
  if (event == nullptr) return;
  if (trust_.branches_exact) counts_.careful_from_branches = event->place.branches;
  if (trust_.instructions_exact) {
    const std::uint64_t target = event->place.instructions;
    counts_.careful_from_instructions = target - std::min(target, RetiredCounts::kBlock);
  }
  seen_count_ = 0;
}

void CountedInput::found(const CountedEvent& event, InputStamp here) {
  found_({here.position, here.idle_ns, event.kind, event.device, event.payload});
  last_ = seen_at_ = here.position;
  ++next_;
  ++number_;
  aim();
}

void CountedInput::finish(Position here) {
  end_ = here;
  done_ = true;
}

bool CountedInput::is_here(const CountedEvent& event) const {
  if (trust_.branches_exact && counts_.branches != event.place.branches) return false;
  if (trust_.instructions_exact && counts_.instructions != event.place.instructions) return false;
  const Cpu& cpu = machine_.cpu();
  return cpu.state.gpr[kGprRip] == event.place.rip && cpu.state.gpr[kRcx] == event.place.rcx &&
         registers_hash(cpu) == event.place.registers;
}

Error CountedInput::lost(const std::string& reason) const {
  const CountedEvent& event = events_[next_];
  std::string counts;
  if (trust_.branches_exact) counts = grouped(event.place.branches) + " conditional branches";
  if (trust_.instructions_exact) {
    counts += (counts.empty() ? "" : ", ") + grouped(event.place.instructions) + " instructions";
  }
  return {ErrorCode::divergence,
          reader_.name() + ": event " + grouped(number_) + ", " + name_of(event) +
              ", was recorded " + counts + " after the event before it (position " +
              grouped(last_.steps) + "), at RIP " + hexadecimal(event.place.rip) +
              ", but the replay never is there: " + reason};
}

void CountedInput::require_reachable(const CountedEvent& event, Position here) {
  const bool past = (trust_.branches_exact && counts_.branches > event.place.branches) ||
                    (trust_.instructions_exact && counts_.instructions > event.place.instructions);
  if (past) {
    throw lost("at position " + grouped(here.steps) +
               " it is past these counts, and other registers were met");
  }
  const std::uint64_t count = trust_.instructions_exact ? counts_.instructions : counts_.branches;
  if (count != seen_count_) {
    seen_count_ = count;
    seen_at_ = here;
  } else if (here.steps - seen_at_.steps > kMostStepsUncounted) {
    throw lost("from position " + grouped(seen_at_.steps) + " on the counts stand still");
  }
}

void CountedInput::require_idle_time(const CountedEvent& event, InputStamp here) const {
  if (event.idle_ns == here.idle_ns) return;
  throw lost("there, at position " + grouped(here.position.steps) + ", " + grouped(here.idle_ns) +
             " ns have been spent idle instead of " + grouped(event.idle_ns));
}

Position CountedInput::next_look(Position /*now*/) { return {kNever}; }

std::optional<Input> CountedInput::take(InputStamp here, const InputRoom& /*room*/) {
  if (done_) return std::nullopt;
  const CountedEvent* event = peek();
  if (event == nullptr) {
    // The recorder was killed: the log ends with its last event.
    finish(last_);
    return std::nullopt;
  }
  require_reachable(*event, here.position);
  // Idle waits are asked for by the guest, and never begin within a delivery.
  const bool waits = !event->ends_run && event->kind == InputKind::wakeup;
  if (waits || machine_.cpu().deliveries() != 0 || !is_here(*event)) return std::nullopt;
  require_idle_time(*event, here);
  if (event->ends_run) {
    finish(here.position);
    return std::nullopt;
  }
  const InputEvent input{here.position, here.idle_ns, event->kind, event->device, event->payload};
  if (input.kind == InputKind::clock) (void)wakeup_idle_ns(input);
  found(*event, here);
  return Input{input.kind, input.device, input.payload};
}

IdleOutcome CountedInput::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  const CountedEvent* event = done_ ? nullptr : peek();
  if (event == nullptr) {
    // Whatever becomes of it, nothing of it is in the recording.
    return {deadline_idle_ns == kNever ? IdleOutcome::Kind::forever : IdleOutcome::Kind::stop, 0};
  }
  if (event->ends_run || event->kind != InputKind::wakeup || !is_here(*event)) {
    throw lost("at position " + grouped(here.position.steps) + " the guest waits idle instead");
  }
  require_idle_time(*event, here);
  const InputEvent wakeup{here.position, here.idle_ns, event->kind, event->device, event->payload};
  const std::uint64_t idle_ns = wakeup_idle_ns(wakeup);
  if (idle_ns > deadline_idle_ns) {
    throw lost("the idle wait at position " + grouped(here.position.steps) +
               " ended past a timer that is due before");
  }
  found(*event, here);
  return {IdleOutcome::Kind::early, idle_ns};
}

void CountedInput::guest_ended() {
  const CountedEvent* event = done_ ? nullptr : peek();
  const Position here = machine_.position();
  if (event == nullptr) {
    if (!end_) finish(last_);
    return;
  }
  if (!event->ends_run || !is_here(*event)) {
    throw lost("at position " + grouped(here.steps) + " the guest ended (" +
               std::string(end_reason_name(machine_.ending().reason)) + ")");
  }
  finish(here);
}

}  // namespace chronovisor
