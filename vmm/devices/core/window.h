// Owns where a movable range of a device is: a PCI BAR, the local APIC's page.
// The device places it and takes it away; the bus that it was added to follows.
// Knows no bus. Where a window is follows from its device's state and is no
// state of its own. One thread a machine.
#pragma once

#include <cstdint>
#include <optional>

namespace chronovisor {

/// Told when a window moved.
class WindowHost {
 public:
  virtual ~WindowHost() = default;
  virtual void window_moved() = 0;
};

/// Who answers where ranges overlap: the lowest value; among equals the range
/// that was added first. RAM answers before all of them.
enum class Precedence : std::uint8_t {
  processor = 0,  ///< within the processor: the local APIC's page
  board = 1,      ///< fixed by the board
  bus = 2,        ///< placed by the guest: PCI BARs
};

class Window {
 public:
  /// @param size in ports or bytes, not 0
  explicit Window(std::uint64_t size) : size_(size) {}
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  /// Puts it at `first`, wherever it was. Any place is allowed; what lies beyond
  /// the end of the bus answers nobody.
  void place(std::uint64_t first) {
    if (first_ == first) return;
    first_ = first;
    if (host_ != nullptr) host_->window_moved();
  }
  void remove() {
    if (!first_) return;
    first_.reset();
    if (host_ != nullptr) host_->window_moved();
  }
  [[nodiscard]] const std::optional<std::uint64_t>& first() const { return first_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// For the bus that it is added to.
  void set_host(WindowHost& host) { host_ = &host; }

 private:
  const std::uint64_t size_;
  std::optional<std::uint64_t> first_;
  WindowHost* host_ = nullptr;
};

}  // namespace chronovisor
