// Owns the way of inputs from host threads to the machine's: whoever has something
// for the guest pushes it, and an eventfd wakes the machine when it waits. Knows no
// guest and no device. Each function says which thread may call it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "vmm/machine/input.h"

namespace chronovisor {

class Inbox {
 public:
  /// Throws Error{host} when the host gives no eventfd.
  Inbox();
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  /// One who has inputs of a kind for a device: a line, a network card's other end.
  /// While there is an open one, more may come. Must not outlive the inbox.
  class Source {
   public:
    /// From the machine's thread, or before it runs.
    Source(Inbox& inbox, InputKind kind, std::uint16_t device);
    ~Source();
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    /// Any thread.
    void push(Bytes payload);
    /// Pushes unless so many bytes of this one wait for the guest already. Any thread.
    /// @return false when it has not
    [[nodiscard]] bool offer(const Bytes& payload, std::size_t most_bytes);
    /// Nothing more comes of this one. Any thread.
    void close();

   private:
    friend class Inbox;
    Inbox& inbox_;
    InputKind kind_;
    std::uint16_t device_;
    std::atomic<bool> open_{true};
    std::atomic<std::size_t> waiting_bytes_{0};
  };

  /// Readable when something was pushed or a source was closed, until the next
  /// take_all(). Any thread.
  [[nodiscard]] int wait_fd() const { return event_; }
  /// Some source may still push. Any thread.
  [[nodiscard]] bool open() const { return open_sources_.load() > 0; }
  /// What was pushed since the last time, in that order. The machine's thread.
  [[nodiscard]] std::vector<Input> take_all();
  /// Whether take_all() would have something, without a look at the host. Any thread.
  [[nodiscard]] bool fresh() const { return fresh_; }
  /// The guest got an input: it does not wait any more. The machine's thread.
  void delivered(const Input& input);

 private:
  void wake() const;
  void refresh();

  int event_ = -1;
  std::atomic<int> open_sources_{0};
  std::atomic<bool> fresh_{false};  ///< there may be something to take
  std::mutex mutex_;
  std::vector<Input> pushed_;
  std::vector<Source*> sources_;
};

}  // namespace chronovisor
