#include "timetravel/traveller.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace chronovisor {

Traveller::Traveller(std::unique_ptr<Machine> machine, const CheckpointStore& store)
    : machine_(std::move(machine)),
      store_(store),
      input_(store.reader()),
      current_(machine_->pages().page_count(), Machine::zero_page_hash(), store.account()) {
  machine_->set_input(&input_);
  machine_->ram().set_source(*this);
}

void Traveller::sync_map() {
  for (const std::uint32_t page : machine_->close_epoch()) {
    const Hash128& content = machine_->page_hash(page);
    if (current_.content(page) == content) continue;
    current_.set(page, content);
    unsaved_.push_back(page);
  }
}

void Traveller::look_at_all_pages() {
  (void)machine_->close_epoch();
  PageMap there(current_.page_count(), Machine::zero_page_hash());
  machine_->pages().for_each_page(
      [&](std::uint64_t page) { there.set(page, machine_->page_hash(page)); });
  std::vector<std::uint32_t> changed;
  current_.for_each_difference(
      there, [&](std::uint64_t page) { changed.push_back(static_cast<std::uint32_t>(page)); });
  for (const std::uint32_t page : changed) {
    current_.set(page, there.content(page));
    unsaved_.push_back(page);
  }
}

void Traveller::read_deferred_page(std::uint64_t page, std::span<std::uint8_t, kPageSize> out) {
  store_.read_page(current_, page, out);
}

/// Those of RAM are deferred; a screen's and a disk's are few.
void Traveller::replace_pages(const PageMap& target) {
  std::array<std::uint8_t, kPageSize> bytes{};
  const std::uint64_t ram_pages = machine_->ram().page_count();
  std::vector<std::uint64_t> deferred;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> elsewhere;  // place in the file, page
  current_.for_each_difference(target, [&](std::uint64_t page) {
    if (page < ram_pages) {
      deferred.push_back(page);
    } else if (target.bytes(page) || target.content(page) == Machine::zero_page_hash()) {
      store_.read_page(target, page, bytes);
      machine_->replace_page(page, bytes, target.content(page));
    } else {
      const auto known = target.place(page);
      elsewhere.emplace_back(known ? *known : store_.reader().page_place(target.content(page)),
                             static_cast<std::uint32_t>(page));
    }
  });
  std::sort(elsewhere.begin(), elsewhere.end());  // each batch is decompressed once
  for (const auto& [place, page] : elsewhere) {
    store_.read_page(target, page, bytes);
    machine_->replace_page(page, bytes, target.content(page));
  }
  // Nothing fails any more, so that what is deferred is what `current_` says.
  for (const std::uint64_t page : deferred) machine_->defer_page(page, target.content(page));
  current_.become(target);
  unsaved_.clear();
}

void Traveller::restore(const Base& base) {
  sync_map();
  lost_ = true;
  try {
    replace_pages(store_.map_of(base));
  } catch (const Error&) {
    look_at_all_pages();  // some were replaced
    throw;
  }
  machine_->load_sections(base.snapshot ? base.snapshot->sections : store_.sections_of(base));
  machine_->set_input(&input_);
  input_.rewind_to(machine_->position());
  lost_ = false;
}

Snapshot Traveller::take_snapshot(PagePool& pool) {
  CHECK_THAT(machine_->at_arrival(), "a checkpoint in the middle of a position");
  sync_map();
  for (const std::uint32_t page : std::exchange(unsaved_, {})) {
    const Hash128 content = current_.content(page);
    if (content == Machine::zero_page_hash() || current_.bytes(page)) continue;
    current_.set(page, content, pool.keep(content, machine_->pages().bytes(page)));
  }
  return {machine_->save_sections(), current_};
}

void Traveller::use_recorded_input(bool recorded) {
  machine_->set_input(recorded ? static_cast<InputSource*>(&input_) : &no_input_);
}

void Traveller::arm(const StopSet& stops) {
  hooks_ = DebugHooks{};
  for (const TravelBreakpoint& b : stops.breakpoints) hooks_.breakpoints.insert(b.address);
  for (const TravelWatchpoint& w : stops.watchpoints) {
    if (std::find(hooks_.watchpoints.begin(), hooks_.watchpoints.end(), w.watch) ==
        hooks_.watchpoints.end()) {
      hooks_.watchpoints.push_back(w.watch);
    }
  }
  for (const TravelPhysicalWatchpoint& w : stops.physical_watchpoints) {
    hooks_.physical_watchpoints.push_back(w.watch);
  }
  machine_->set_debug_hooks(&hooks_);
}

void Traveller::disarm() { machine_->set_debug_hooks(nullptr); }

MachineStop Traveller::run(Moment target, CancelToken cancel) {
  if (lost_) {
    throw Error(ErrorCode::bad_input, store_.reader().name() +
                                          ": the machine cannot run on after what failed here; "
                                          "another position can be gone to");
  }
  try {
    return machine_->run(target, cancel);
  } catch (...) {
    lost_ = true;
    throw;
  }
}

void Traveller::resume_here() {
  const Moment here = machine_->moment();
  hooks_.resumed_at_position = here.position.steps;
  hooks_.resumed_at_deliveries = here.deliveries;
  hooks_.resumed_at_address = machine_->cpu().linear_rip();
}

bool Traveller::accept_stop(MachineStop stop, const StopSet& stops, TravelResult& result) {
  if (stop == MachineStop::breakpoint) {
    const std::uint64_t address = machine_->cpu().linear_rip();
    resume_here();
    for (const TravelBreakpoint& b : stops.breakpoints) {
      if (b.address == address && (!b.condition || b.condition(*machine_))) {
        result = {TravelStop::breakpoint, address, {}, false};
        return true;
      }
    }
    return false;
  }
  for (const WatchHit& hit : std::exchange(hooks_.hits, {})) {
    for (const TravelWatchpoint& w : stops.watchpoints) {
      if (w.watch == hit.watchpoint && (!w.condition || w.condition(*machine_))) {
        result = {TravelStop::watchpoint,
                  hit.address,
                  hit.watchpoint,
                  hit.write,
                  hit.device,
                  hit.request};
        hooks_.physical_hits.clear();
        return true;
      }
    }
  }
  for (const PhysicalWatchHit& hit : std::exchange(hooks_.physical_hits, {})) {
    for (const TravelPhysicalWatchpoint& w : stops.physical_watchpoints) {
      if (w.watch == hit.watchpoint && (!w.condition || w.condition(*machine_))) {
        const Watchpoint range{hit.watchpoint.address.value, hit.watchpoint.length, false, true};
        result = {TravelStop::watchpoint, hit.address.value, range, true, hit.device, hit.request};
        return true;
      }
    }
  }
  return false;
}

Traveller::Found Traveller::search(const Base& base, Moment to, const StopSet& stops, Which which,
                                   CancelToken cancel) {
  restore(base);
  const Armed armed(*this, stops);
  Found found;
  while (machine_->moment() < to) {
    forget_hits();
    const MachineStop stop = run(to, cancel);
    if (stop == MachineStop::interrupted) found.cancelled = true;
    if (stop != MachineStop::breakpoint && stop != MachineStop::watchpoint) break;
    const Moment moment =
        stop == MachineStop::watchpoint ? machine_->moment_before() : machine_->moment();
    TravelResult result;
    if (!accept_stop(stop, stops, result) || moment >= to) continue;
    found.hit = TravelHit{moment, result};
    if (which == Which::first) break;
  }
  return found;
}

}  // namespace chronovisor
