// A machine with a history, small enough to be computed instead of run. At
// position n it is in phase n % 10 of round n / 10:
//
//   rip = 0x1000 + phase, rax = round, rbp = 0x3f00, rsp = 0x3ef0
//   phase 3 reads 4 bytes at 0x2010; phase 5 adds one to the 8 bytes at 0x2000
//
// Memory is 0x0 to 0x10000. Breakpoints, watchpoints and conditions work in
// both directions. What a client writes holds until the machine moves.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/error.h"
#include "gdbstub/target.h"
#include "gdbstub/x86_registers.h"

namespace chronovisor::gdb {

class FakeTarget final : public DebugTarget {
 public:
  static constexpr std::uint64_t kCode = 0x1000;
  static constexpr std::uint64_t kPhases = 10;
  static constexpr std::uint64_t kReadPhase = 3;
  static constexpr std::uint64_t kWritePhase = 5;
  static constexpr std::uint64_t kCounter = 0x2000;
  static constexpr std::uint64_t kInput = 0x2010;
  static constexpr std::uint64_t kMemoryBytes = 0x10000;

  explicit FakeTarget(std::uint64_t history = 100) : history_(history) {}

  std::uint64_t position = 0;
  bool reverse = true;
  bool spins = true;  // whether the monitor command "spin", which waits to be cancelled, exists
  std::vector<Breakpoint> breakpoints;
  std::map<std::uint64_t, std::uint8_t> written_memory;
  std::map<std::size_t, Bytes> written_registers;
  int register_writes = 0;
  std::atomic<int> clients = 0;
  std::atomic<int> clients_seen = 0;
  std::atomic<bool> running = false;
  std::vector<ResumeRequest> requests;
  std::optional<std::uint64_t> destination;
  std::optional<std::string> run_failure;
  std::optional<std::string> ends_with;  // instead of history_end

  [[nodiscard]] const TargetDescription& description() const override {
    return x86_target_description();
  }
  [[nodiscard]] bool supports_reverse() const override { return reverse; }

  bool read_register(std::size_t index, std::span<std::uint8_t> out) const override {
    if (const auto found = written_registers.find(index); found != written_registers.end()) {
      std::copy(found->second.begin(), found->second.end(), out.begin());
      return true;
    }
    return read_register_at(position, index, out);
  }

  void write_register(std::size_t index, ByteView value) override {
    if (index == static_cast<std::size_t>(X86Register::position)) {
      throw Error(ErrorCode::bad_input, "register position is read-only");
    }
    ++register_writes;
    written_registers[index] = Bytes(value.begin(), value.end());
  }

  std::size_t read_memory(std::uint64_t address, std::span<std::uint8_t> out) const override {
    const std::size_t got = read_memory_at(position, address, out);
    for (std::size_t i = 0; i < got; ++i) {
      const auto found = written_memory.find(address + i);
      if (found != written_memory.end()) out[i] = found->second;
    }
    return got;
  }

  std::size_t write_memory(std::uint64_t address, ByteView data) override {
    std::size_t done = 0;
    for (; done < data.size() && address + done < kMemoryBytes; ++done) {
      written_memory[address + done] = data[done];
    }
    return done;
  }

  void add_breakpoint(const Breakpoint& breakpoint) override {
    if (breakpoint.address == 0xbad) throw Error(ErrorCode::bad_input, "no breakpoint at 0xbad");
    breakpoints.push_back(breakpoint);
  }
  void remove_breakpoint(BreakpointKind kind, std::uint64_t address,
                         std::uint64_t length) override {
    std::erase_if(breakpoints, [&](const Breakpoint& one) {
      return one.kind == kind && one.address == address && one.length == length;
    });
  }

  StopReason run(const ResumeRequest& request, CancelToken cancel) override {
    requests.push_back(request);
    if (run_failure) throw Error(ErrorCode::host, *run_failure);
    running = true;
    const StopReason stop = travel(request, cancel);
    running = false;
    return stop;
  }

  void monitor(std::string_view command, const std::function<void(std::string_view)>& output,
               CancelToken cancel) override {
    if (command == "when") {
      output("position ");
      output(std::to_string(position) + "\n");
    } else if (command.starts_with("seek ")) {
      std::uint64_t wanted = 0;
      for (const char c : command.substr(5)) {
        if (c < '0' || c > '9') throw Error(ErrorCode::usage, "seek takes a number");
        wanted = wanted * 10 + static_cast<std::uint64_t>(c - '0');
      }
      destination = std::min(wanted, history_);
    } else if (command == "flood") {
      for (int i = 0; i < 100; ++i) output(std::string(1000, 'x'));
    } else if (spins && command == "spin") {
      running = true;
      while (!cancel.requested()) {
      }
      running = false;
      output("cancelled\n");
    } else {
      throw Error(ErrorCode::usage, "unknown command; try help");
    }
  }

  void client_attached() override {
    ++clients;
    ++clients_seen;
  }
  void client_detached() override { --clients; }

 private:
  bool read_register_at(std::uint64_t at, std::size_t index, std::span<std::uint8_t> out) const {
    if (index == static_cast<std::size_t>(X86Register::pat)) return false;
    std::uint64_t value = 0;
    switch (static_cast<X86Register>(index)) {
      case X86Register::rip:
        value = kCode + at % kPhases;
        break;
      case X86Register::rax:
        value = at / kPhases;
        break;
      case X86Register::rbp:
        value = 0x3f00;
        break;
      case X86Register::rsp:
        value = 0x3ef0;
        break;
      case X86Register::eflags:
        value = 0x202;
        break;
      case X86Register::cs:
        value = 0x10;
        break;
      case X86Register::position:
        value = at;
        break;
      default:
        break;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = i < 8 ? static_cast<std::uint8_t>(value >> (8 * i)) : std::uint8_t{0};
    }
    return true;
  }

  /// The word at kCounter is the number of additions so far; the rest of
  /// memory holds the low byte of its address.
  static std::size_t read_memory_at(std::uint64_t at, std::uint64_t address,
                                    std::span<std::uint8_t> out) {
    const std::uint64_t counter = at / kPhases + (at % kPhases > kWritePhase ? 1 : 0);
    std::size_t done = 0;
    for (; done < out.size() && address + done < kMemoryBytes; ++done) {
      const std::uint64_t byte = address + done;
      const bool in_counter = byte >= kCounter && byte < kCounter + 8;
      out[done] = static_cast<std::uint8_t>(in_counter ? counter >> (8 * (byte - kCounter)) : byte);
    }
    return done;
  }

  class Moment final : public RegisterMemoryReader {
   public:
    Moment(const FakeTarget& target, std::uint64_t at) : target_(target), at_(at) {}
    bool read_register(std::size_t index, std::span<std::uint8_t> out) const override {
      return target_.read_register_at(at_, index, out);
    }
    std::size_t read_memory(std::uint64_t address, std::span<std::uint8_t> out) const override {
      return read_memory_at(at_, address, out);
    }

   private:
    const FakeTarget& target_;
    std::uint64_t at_;
  };

  std::optional<StopReason> execution_hit(std::uint64_t at) const {
    for (const Breakpoint& one : breakpoints) {
      const bool executes =
          one.kind == BreakpointKind::software || one.kind == BreakpointKind::hardware;
      if (!executes || one.address != kCode + at % kPhases) continue;
      if (one.condition && !one.condition(Moment(*this, at))) continue;
      return StopReason{StopKind::breakpoint, one.kind, one.address, {}};
    }
    return std::nullopt;
  }

  /// The watchpoint that the step from `at` to `at + 1` touches.
  std::optional<StopReason> access_hit(std::uint64_t at) const {
    const std::uint64_t phase = at % kPhases;
    if (phase != kReadPhase && phase != kWritePhase) return std::nullopt;
    const std::uint64_t first = phase == kReadPhase ? kInput : kCounter;
    const std::uint64_t size = phase == kReadPhase ? 4 : 8;
    for (const Breakpoint& one : breakpoints) {
      const bool wanted =
          one.kind == BreakpointKind::access ||
          one.kind == (phase == kReadPhase ? BreakpointKind::read : BreakpointKind::write);
      if (!wanted || one.address >= first + size || first >= one.address + one.length) continue;
      return StopReason{StopKind::watchpoint, one.kind, std::max(first, one.address), {}};
    }
    return std::nullopt;
  }

  StopReason at_end() const {
    if (ends_with) return {StopKind::guest_ended, {}, 0, *ends_with};
    return {StopKind::history_end, {}, 0, {}};
  }

  StopReason travel(const ResumeRequest& request, CancelToken cancel) {
    written_memory.clear();
    written_registers.clear();
    if (destination) {
      position = *destination;
      destination.reset();
      return {StopKind::arrived, {}, 0, {}};
    }
    switch (request.kind) {
      case ResumeKind::restart:
        position = 0;
        return {StopKind::step_done, {}, 0, {}};
      case ResumeKind::step:
      case ResumeKind::range_step:
      case ResumeKind::forward:
        return forward(request, cancel);
      case ResumeKind::reverse_step:
      case ResumeKind::reverse_continue:
        break;
    }
    return backward(request, cancel);
  }

  StopReason forward(const ResumeRequest& request, CancelToken cancel) {
    bool leaving =
        request.kind != ResumeKind::forward || request.origin == OriginBreakpoint::ignore;
    for (;; leaving = false) {
      if (!leaving) {
        if (const auto hit = execution_hit(position)) return *hit;
      }
      if (position == history_) return at_end();
      if (cancel.requested()) return {StopKind::interrupted, {}, 0, {}};
      const auto accessed = access_hit(position);
      ++position;
      if (accessed) return *accessed;
      const std::uint64_t pc = kCode + position % kPhases;
      if (request.kind == ResumeKind::step ||
          (request.kind == ResumeKind::range_step &&
           (pc < request.range_start || pc >= request.range_end))) {
        return {StopKind::step_done, {}, 0, {}};
      }
    }
  }

  StopReason backward(const ResumeRequest& request, CancelToken cancel) {
    const std::uint64_t origin = position;
    while (position > 0) {
      if (cancel.requested()) {
        position = origin;
        return {StopKind::interrupted, {}, 0, {}};
      }
      --position;
      if (const auto accessed = access_hit(position)) return *accessed;
      if (request.kind == ResumeKind::reverse_step) return {StopKind::step_done, {}, 0, {}};
      if (const auto hit = execution_hit(position)) return *hit;
    }
    return {StopKind::history_begin, {}, 0, {}};
  }

  std::uint64_t history_;
};

}  // namespace chronovisor::gdb
