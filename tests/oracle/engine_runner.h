// Owns a small guest around the soft engine: page tables that map the oracle's
// addresses, a GDT, a TSS and an IDT whose handlers only halt, so that a fault
// shows by where the processor stands. Executes one case at a time in 64-bit or
// compatibility mode at CPL 3. Knows no host state. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "tests/oracle/case.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor::oracle {

class EngineRunner {
 public:
  /// @param pool kPoolBytes for the window's contents; must outlive the runner
  EngineRunner(std::span<const std::uint8_t> pool, std::uint64_t fs_base);
  ~EngineRunner();
  EngineRunner(const EngineRunner&) = delete;
  EngineRunner& operator=(const EngineRunner&) = delete;

  void run(const Case& c, Outcome& out);

 private:
  class Environment;
  void build_guest();
  void map_page(std::uint64_t linear, std::uint64_t physical, std::uint64_t bits);
  template <class T>
  void put(std::uint64_t physical, T value);
  void load_state(const Case& c);
  void execute(const Case& c);
  void read_outcome(const Case& c, Outcome& out);

  std::span<const std::uint8_t> pool_;
  Ram ram_;
  std::unique_ptr<Environment> environment_;
  Cpu cpu_;
  std::uint64_t fs_base_;
};

/// Between the engine's x87 and SSE registers and an FXSAVE64 image.
FpImage fp_image(const CpuState& state);
void load_fp_image(CpuState& state, const FpImage& image);

}  // namespace chronovisor::oracle
