#include "vmm/devices/core/deadline_queue.h"

#include <algorithm>

#include "vmm/devices/core/device.h"

namespace chronovisor {

unsigned DeadlineQueue::add(Device& device) {
  const auto place = static_cast<unsigned>(entries_.size());
  entries_.push_back({&device});
  changed(place);
  return place;
}

void DeadlineQueue::all_changed() {
  for (unsigned place = 0; place < entries_.size(); ++place) changed(place);
}

void DeadlineQueue::refresh() {
  for (const unsigned place : stale_) {
    Entry& entry = entries_[place];
    entry.deadline_ns = entry.device->next_deadline_ns();
    entry.stale = false;
  }
  stale_.clear();
  // A handful of numbers in a row: quicker than keeping them sorted.
  next_ns_ = kNever;
  for (const Entry& entry : entries_) next_ns_ = std::min(next_ns_, entry.deadline_ns);
}

void DeadlineQueue::advance(VirtualTime now) {
  if (next_ns() > now.ns) return;
  for (unsigned place = 0; place < entries_.size(); ++place) {
    if (!stale_.empty()) refresh();  // one that advanced may have changed those after it
    if (entries_[place].deadline_ns > now.ns) continue;
    entries_[place].device->advance(now);
    changed(place);
  }
}

}  // namespace chronovisor
