#include "replica/transport/claim_desk.h"

#include <utility>

namespace chronovisor::replica {

ClaimDesk::ClaimDesk(std::shared_ptr<Arbiter> arbiter)
    : arbiter_(std::move(arbiter)), thread_([this] { loop(); }) {}

ClaimDesk::~ClaimDesk() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ClaimDesk::ask(const Claim& claim) {
  {
    const std::lock_guard lock(mutex_);
    asked_ = claim;
  }
  changed_.notify_all();
}

std::optional<Verdict> ClaimDesk::take_verdict() {
  const std::lock_guard lock(mutex_);
  return std::exchange(decided_, std::nullopt);
}

void ClaimDesk::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || asked_; });
    if (stop_) return;
    const Claim claim = *std::exchange(asked_, std::nullopt);
    lock.unlock();
    const std::optional<Verdict> verdict = arbiter_ ? arbiter_->claim(claim) : std::nullopt;
    lock.lock();
    if (verdict) decided_ = verdict;
  }
}

}  // namespace chronovisor::replica
