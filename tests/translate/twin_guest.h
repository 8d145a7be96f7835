// Owns two processors that start alike, one with the interpreter alone and one
// with the translator, and says the first difference between them after they ran
// the same distance. A small guest in 64-bit, 32-bit or 16-bit code: a window of data, a page
// of device registers, code that can be written, handlers that halt. Knows no
// recording. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "tests/oracle/random.h"
#include "vmm/cpu/access_observer.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/debug_hooks.h"
#include "vmm/cpu/translate/settings.h"

namespace chronovisor::test {

enum class CodeKind : std::uint8_t { long64, flat32, real16 };

/// What an observer was told, in an order that does not matter. Whether it was told of a
/// single access of a page that it was told of as a whole does not matter either.
class ToldSet final : public AccessObserver {
 public:
  void executes(std::uint64_t address, std::uint64_t size) override {
    told_.insert({0, address, size});
  }
  void accessed(std::uint64_t address, std::uint64_t size, bool write) override {
    told_.insert({write ? 2U : 1U, address, size});
  }
  void reads_page(std::uint64_t page) override { told_.insert({3, page, 0}); }
  bool writes_page(std::uint64_t page) override {
    told_.insert({4, page, 0});
    return (page & 0x1000) == 0;
  }
  void device_wrote(std::string_view /*device*/, GuestPhysical address,
                    std::uint64_t size) override {
    told_.insert({5, address.value, size});
  }
  bool operator==(const ToldSet& other) const { return essence() == other.essence(); }

 private:
  [[nodiscard]] std::set<std::tuple<unsigned, std::uint64_t, std::uint64_t>> essence() const {
    auto all = told_;
    std::erase_if(all, [&](const auto& one) {
      const auto& [kind, address, size] = one;
      const std::uint64_t page = address & kPageMask;
      if (((address + size - 1) & kPageMask) != page) return false;
      if (kind == 1) return told_.contains({3, page, 0});
      return kind == 2 && (page & 0x1000) == 0 && told_.contains({4, page, 0});
    });
    return all;
  }
  std::set<std::tuple<unsigned, std::uint64_t, std::uint64_t>> told_;
};

/// One processor with its memory and devices that answer by position.
class GuestSide {
 public:
  explicit GuestSide(const translate::Settings& settings);
  ~GuestSide();
  GuestSide(const GuestSide&) = delete;
  GuestSide& operator=(const GuestSide&) = delete;

  class Environment;
  Ram ram;
  std::unique_ptr<Environment> environment;
  Cpu cpu;
  DebugHooks hooks;
  std::unique_ptr<ToldSet> told;
};

class TwinGuest {
 public:
  // Linear addresses of 64-bit and 32-bit code.
  static constexpr std::uint64_t kWindow = 0x20001000;  ///< two pages of data
  static constexpr std::uint64_t kWindowBytes = 0x2000;
  static constexpr std::uint64_t kDevice = 0x20008000;  ///< registers of a device
  static constexpr std::uint64_t kCode = 0x20010000;    ///< two pages, writable
  static constexpr std::uint64_t kAlias = 0x20014000;   ///< the same two pages again
  static constexpr std::uint64_t kCodeBytes = 0x2000;

  explicit TwinGuest(const translate::Settings& settings);

  /// Puts `code` at kCode + offset on both sides.
  void place(std::uint64_t offset, std::span<const std::uint8_t> code);
  /// The same registers on both, for user-mode code (or real mode).
  void start(CodeKind kind, std::uint64_t rip, oracle::Random& random);
  /// Runs both; nothing if they are alike afterwards, else what differs.
  std::optional<std::string> run(std::uint64_t steps);
  /// Also RAM and what observers were told.
  std::optional<std::string> compare_all();
  [[nodiscard]] bool halted() {
    return sides_[0]->cpu.state.halted || sides_[0]->cpu.state.shutdown;
  }
  [[nodiscard]] CpuStop last_stop() const { return stop_; }

  // Things that happen to both.
  void swap_window_pages();
  void write_code(std::uint64_t offset, std::uint8_t value);
  void observe(bool on);
  void set_hooks(bool on, oracle::Random& random);
  void drop_write_tags();

  [[nodiscard]] GuestSide& side(unsigned n) { return *sides_[n]; }

 private:
  std::unique_ptr<GuestSide> sides_[2];
  CpuStop stop_ = CpuStop::budget;
  bool swapped_ = false;
};

}  // namespace chronovisor::test
