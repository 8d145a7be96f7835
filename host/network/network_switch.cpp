#include "host/network/network_switch.h"

#include <algorithm>
#include <utility>

namespace chronovisor {
namespace {

constexpr std::size_t kHeaderBytes = 14;
constexpr std::uint64_t kHoldNs = 10'000'000;
constexpr std::uint64_t kShares = 1'000'000'000;

bool is_group(const std::array<std::uint8_t, 6>& address) { return (address[0] & 1) != 0; }

}  // namespace

void NetworkSwitch::add_port(Port port) { ports_.push_back(port); }

void NetworkSwitch::remove_port(Port port) {
  std::erase(ports_, port);
  std::erase_if(learned_, [port](const auto& entry) { return entry.second.port == port; });
  std::erase_if(waiting_, [&](const auto& entry) {
    if (entry.second.port != port) return false;
    waiting_bytes_ -= entry.second.frame.size();
    return true;
  });
}

/// Draws once whatever the share, so that one fault's share changes no other's frames.
bool NetworkSwitch::happens(double share) {
  const std::uint64_t drawn = random_() % kShares;
  return static_cast<double>(drawn) < share * static_cast<double>(kShares);
}

void NetworkSwitch::learn(const Address& address, Port port) {
  if (is_group(address)) return;
  learned_[address] = {port, next_number_};
  if (learned_.size() <= kMostAddresses) return;
  learned_.erase(std::min_element(
      learned_.begin(), learned_.end(),
      [](const auto& a, const auto& b) { return a.second.number < b.second.number; }));
}

void NetworkSwitch::receive(Port port, Bytes frame, std::uint64_t now_ns) {
  ++counts_.received;
  if (frame.size() < kHeaderBytes) {
    ++counts_.malformed;
    return;
  }
  const bool drop = happens(faults_.drop);
  const bool duplicate = happens(faults_.duplicate);
  const bool reorder = happens(faults_.reorder);
  const bool corrupt = happens(faults_.corrupt);
  const std::uint64_t bit = random_();
  const std::uint64_t late = random_();
  Address source{};
  std::copy_n(frame.begin() + 6, source.size(), source.begin());
  learn(source, port);
  if (drop) {
    ++counts_.dropped;
    return;
  }
  if (corrupt) {
    ++counts_.corrupted;
    frame[bit / 8 % frame.size()] ^= static_cast<std::uint8_t>(1U << (bit % 8));
  }
  const std::uint64_t due_ns =
      now_ns + faults_.delay_ns + (faults_.jitter_ns == 0 ? 0 : late % (faults_.jitter_ns + 1));
  if (reorder && !held_back_) {
    ++counts_.reordered;
    held_back_ = {port, std::move(frame)};
    held_until_ns_ = due_ns + kHoldNs;
    return;
  }
  forward(port, frame, due_ns);
  if (duplicate) {
    ++counts_.duplicated;
    forward(port, frame, due_ns);
  }
  if (held_back_) {
    const auto [held_port, held] = std::move(*held_back_);
    held_back_.reset();
    forward(held_port, held, due_ns);
  }
}

void NetworkSwitch::forward(Port from, const Bytes& frame, std::uint64_t due_ns) {
  Address target{};
  std::copy_n(frame.begin(), target.size(), target.begin());
  const auto known = is_group(target) ? learned_.end() : learned_.find(target);
  for (const Port port : ports_) {
    if (port == from || (known != learned_.end() && known->second.port != port)) continue;
    if (waiting_.size() >= kMostWaiting || waiting_bytes_ + frame.size() > kMostWaitingBytes) {
      ++counts_.overflowed;
      continue;
    }
    waiting_bytes_ += frame.size();
    waiting_.emplace(std::pair(due_ns, next_number_++), Departure{port, frame});
  }
}

std::vector<NetworkSwitch::Departure> NetworkSwitch::take(std::uint64_t now_ns) {
  if (held_back_ && held_until_ns_ <= now_ns) {
    const auto [port, frame] = std::move(*held_back_);
    held_back_.reset();
    forward(port, frame, held_until_ns_);
  }
  std::vector<Departure> leaving;
  while (!waiting_.empty() && waiting_.begin()->first.first <= now_ns) {
    waiting_bytes_ -= waiting_.begin()->second.frame.size();
    leaving.push_back(std::move(waiting_.begin()->second));
    waiting_.erase(waiting_.begin());
    ++counts_.sent;
  }
  return leaving;
}

std::optional<std::uint64_t> NetworkSwitch::next_ns() const {
  std::optional<std::uint64_t> next;
  if (!waiting_.empty()) next = waiting_.begin()->first.first;
  if (held_back_) next = std::min(next.value_or(held_until_ns_), held_until_ns_);
  return next;
}

}  // namespace chronovisor
