// Owns the one way of telling what takes long that nobody wants it any more: it is
// handed a token, and looks at it. Nothing keeps a token beyond the call, or the
// options, that it came with. Any thread.
#pragma once

#include <atomic>

namespace chronovisor {

class CancelToken {
 public:
  /// Nobody will ask.
  constexpr CancelToken() = default;
  /// Watches a flag of somebody else's, which must outlive the work.
  CancelToken(const std::atomic<bool>& flag) : flag_(&flag) {}
  CancelToken(std::atomic<bool>&&) = delete;
  CancelToken(const std::atomic<bool>&&) = delete;

  [[nodiscard]] bool requested() const {
    return flag_ != nullptr && flag_->load(std::memory_order_relaxed);
  }

 private:
  const std::atomic<bool>* flag_ = nullptr;
};

}  // namespace chronovisor
