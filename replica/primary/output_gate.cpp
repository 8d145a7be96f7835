#include "replica/primary/output_gate.h"

#include <algorithm>

#include "host/host.h"

namespace chronovisor::replica {
namespace {

/// How many of the latest waits the median is of.
constexpr std::size_t kLatestWaits = 4096;

}  // namespace

void OutputGate::output(Position position, const Output& output) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t number = made_++;
  if (number < released_) return;  // it has left elsewhere
  if (number < limit_ && held_.empty()) {
    released_ = made_;
    outside_.put(position, output);
    return;
  }
  held_.push_back({position, output.kind, output.device,
                   Bytes(output.payload.begin(), output.payload.end()), monotonic_ns()});
  held_bytes_ += output.payload.size();
}

void OutputGate::allow(std::uint64_t limit) {
  const std::lock_guard lock(mutex_);
  // What a backup's gate holds waits for a failure, not for a log.
  const bool measures = limit_ != 0;
  limit_ = limit;
  if (held_.empty()) return;
  const std::uint64_t now_ns = monotonic_ns();
  while (!held_.empty() && made_ - held_.size() < limit_) {
    const Held next = std::move(held_.front());
    held_.pop_front();
    held_bytes_ -= next.payload.size();
    released_ = made_ - held_.size();
    if (measures) note_held(now_ns - next.since_ns);
    outside_.put(next.position, {next.kind, next.device, next.payload});
  }
}

void OutputGate::drop_before(std::uint64_t number) {
  while (!held_.empty() && made_ - held_.size() < number) {
    held_bytes_ -= held_.front().payload.size();
    held_.pop_front();
  }
}

void OutputGate::forget(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  drop_before(number);
  released_ = std::max(released_, number);
}

void OutputGate::begin_at(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  drop_before(kNever);
  made_ = number;
  released_ = std::max(released_, number);
}

void OutputGate::note_held(std::uint64_t ns) {
  longest_held_ns_ = std::max(longest_held_ns_, ns);
  if (held_ns_.size() < kLatestWaits) {
    held_ns_.push_back(ns);
    return;
  }
  held_ns_[next_held_ns_++ % kLatestWaits] = ns;
}

std::uint64_t OutputGate::made() const {
  const std::lock_guard lock(mutex_);
  return made_;
}

std::uint64_t OutputGate::released() const {
  const std::lock_guard lock(mutex_);
  return released_;
}

OutputCounts OutputGate::counts() const {
  const std::lock_guard lock(mutex_);
  OutputCounts counts{made_, released_, held_.size(), held_bytes_, 0, longest_held_ns_};
  std::vector<std::uint64_t> waits = held_ns_;
  if (waits.empty()) return counts;
  const auto middle = waits.begin() + static_cast<std::ptrdiff_t>(waits.size() / 2);
  std::nth_element(waits.begin(), middle, waits.end());
  counts.median_held_ns = *middle;
  return counts;
}

}  // namespace chronovisor::replica
