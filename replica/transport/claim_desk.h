// Owns the thread that asks an arbiter, so that nothing else waits for it. Handed claims and
// asked for verdicts by one thread at a time.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "replica/transport/arbiter.h"

namespace chronovisor::replica {

class ClaimDesk {
 public:
  /// @param arbiter may be null: there never is a verdict
  explicit ClaimDesk(std::shared_ptr<Arbiter> arbiter);
  ~ClaimDesk();
  ClaimDesk(const ClaimDesk&) = delete;
  ClaimDesk& operator=(const ClaimDesk&) = delete;

  [[nodiscard]] bool has_arbiter() const { return arbiter_ != nullptr; }
  void ask(const Claim& claim);
  /// What has been decided since the last time.
  [[nodiscard]] std::optional<Verdict> take_verdict();

 private:
  void loop();

  std::shared_ptr<Arbiter> arbiter_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Claim> asked_;
  std::optional<Verdict> decided_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace chronovisor::replica
