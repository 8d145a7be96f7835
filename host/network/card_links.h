// Owns what the network cards of a live run are plugged into: a backend for each, the way
// of its frames into the inbox and of the guest's frames out, captures that are played,
// and the counts of what was lost on the way. Knows no card and no recording. The
// machine's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "host/inbox.h"
#include "host/network/backend.h"
#include "host/network/capture_input.h"
#include "vmm/bus/output_router.h"

namespace chronovisor {

class CardLinks final : private OutputObserver {
 public:
  /// Network n is that of card n. The inbox must outlive this. Throws Error{host},
  /// Error{usage}, Error{bad_input} for a capture that is none.
  CardLinks(const std::vector<NetworkOptions>& networks, Inbox& inbox);
  ~CardLinks() override;
  CardLinks(const CardLinks&) = delete;
  CardLinks& operator=(const CardLinks&) = delete;

  /// What the guest sends goes out from here on, after those who listened before have
  /// been told. Outputs must outlive this.
  void connect(OutputRouter& outputs);
  /// `beside` with the captures in front of it, if there are any.
  [[nodiscard]] InputSource& with_captures(InputSource& beside, std::uint64_t ns_per_step);

  /// Of each card: what its network took and gave.
  [[nodiscard]] std::vector<NetworkCounts> counts() const;

 private:
  struct Link;
  void output(Position position, const Output& output) override;

  std::vector<std::unique_ptr<Link>> links_;
  OutputRouter* outputs_ = nullptr;
};

/// Whether something may come from outside at any time.
[[nodiscard]] bool is_live(const NetworkOptions& network);

}  // namespace chronovisor
