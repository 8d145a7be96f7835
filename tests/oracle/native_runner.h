// Owns the child process that executes cases on the host's CPU. Every case
// starts by returning from a signal handler into its state and ends in the
// next signal, whose context is the result; no instruction of ours runs
// between. A child that dies is replaced. Knows no engine. One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "tests/oracle/case.h"

namespace chronovisor::oracle {

class NativeRunner {
 public:
  static constexpr std::size_t kBatch = 128;

  /// @param pool kPoolBytes for the window's contents; must outlive the runner
  /// Throws Error{host} when the addresses or processes cannot be had.
  explicit NativeRunner(std::span<const std::uint8_t> pool);
  ~NativeRunner();
  NativeRunner(const NativeRunner&) = delete;
  NativeRunner& operator=(const NativeRunner&) = delete;

  [[nodiscard]] std::span<Case> cases() const;
  [[nodiscard]] std::span<const Outcome> outcomes() const;
  /// Starts cases [0, count). The caller may run its own side meanwhile.
  void start(std::size_t count);
  /// Waits for the batch. Outcomes with `done` false killed or hung the child.
  void finish();
  /// The FS base of the child: the one of this process.
  [[nodiscard]] std::uint64_t fs_base() const { return fs_base_; }
  /// Whether 32-bit code runs here (the kernel may lack its segments).
  [[nodiscard]] bool has_compatibility_mode() const { return has_compatibility_mode_; }

 private:
  struct Shared;
  void map_memory();
  void fork_child();
  void end_child();
  void go(std::size_t first);
  [[nodiscard]] bool wait_done() const;
  [[nodiscard]] bool probe_compatibility_mode();
  [[noreturn]] void child_main();

  std::span<const std::uint8_t> pool_;
  Shared* shared_ = nullptr;
  pid_t child_ = -1;
  int go_fd_ = -1;
  int done_fd_ = -1;
  std::size_t count_ = 0;
  std::uint64_t fs_base_ = 0;
  bool has_compatibility_mode_ = false;
};

}  // namespace chronovisor::oracle
