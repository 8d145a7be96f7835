// Owns the making of tiny real-mode guests for tests: a few instructions'
// assembler with labels, and random programs that mix timer interrupts, faults,
// REP strings, self-modifying code, HLT and serial input. Knows no machine
// internals. One thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "vmm/machine/machine.h"

namespace chronovisor::test {

/// 16-bit code at 0x7c00. Labels may be used before they are placed.
class Assembler {
 public:
  static constexpr std::uint16_t kOrigin = 0x7c00;

  [[nodiscard]] std::uint16_t here() const {
    return static_cast<std::uint16_t>(kOrigin + code_.size());
  }
  void bytes(std::initializer_list<unsigned> values) {
    for (const unsigned value : values) code_.push_back(static_cast<std::uint8_t>(value));
  }
  void word(unsigned value) { bytes({value & 0xff, (value >> 8) & 0xff}); }
  void label(const std::string& name) { labels_[name] = here(); }
  [[nodiscard]] std::uint16_t address_of(const std::string& name) const { return labels_.at(name); }
  /// A 16-bit address of a label, as an immediate or displacement.
  void address(const std::string& name) {
    fixups_.push_back({code_.size(), name, false});
    word(0);
  }
  /// A 16-bit jump distance to a label.
  void distance(const std::string& name) {
    fixups_.push_back({code_.size(), name, true});
    word(0);
  }
  void call(const std::string& name) {
    bytes({0xe8});
    distance(name);
  }
  void jump(const std::string& name) {
    bytes({0xe9});
    distance(name);
  }
  void jump_if_not_zero(const std::string& name) {
    bytes({0x0f, 0x85});
    distance(name);
  }
  void mov_ax(unsigned value) {
    bytes({0xb8});
    word(value);
  }
  void out_byte(unsigned port, unsigned value) { bytes({0xb0, value, 0xe6, port}); }
  /// MOV WORD [address], label
  void store_label(unsigned at, const std::string& name) {
    bytes({0xc7, 0x06});
    word(at);
    address(name);
  }
  /// MOV WORD [address], value
  void store_word(unsigned at, unsigned value) {
    bytes({0xc7, 0x06});
    word(at);
    word(value);
  }
  void increment_word(unsigned at) {
    bytes({0xff, 0x06});
    word(at);
  }

  [[nodiscard]] Bytes finish() {
    for (const Fixup& fixup : fixups_) {
      unsigned value = labels_.at(fixup.name);
      if (fixup.relative) value -= static_cast<unsigned>(kOrigin + fixup.at + 2);
      code_[fixup.at] = static_cast<std::uint8_t>(value);
      code_[fixup.at + 1] = static_cast<std::uint8_t>(value >> 8);
    }
    return code_;
  }

 private:
  struct Fixup {
    std::size_t at;
    std::string name;
    bool relative;
  };
  Bytes code_;
  std::map<std::string, std::uint16_t> labels_;
  std::vector<Fixup> fixups_;
};

/// A guest's image, and the places in it that tests aim at.
struct TinyGuest {
  Bytes image;
  std::vector<std::uint16_t> code;  ///< instructions worth a breakpoint
  std::vector<std::uint16_t> data;  ///< bytes worth a watchpoint
  std::map<std::string, std::uint16_t> labels;
};

inline constexpr std::uint16_t kVariables = 0x2000;  ///< 16 words
inline constexpr std::uint16_t kCounter = 0x2040;    ///< loop count
inline constexpr std::uint16_t kTimerCount = 0x2042;
inline constexpr std::uint16_t kSerialCount = 0x2044;
inline constexpr std::uint16_t kFaultCount = 0x2046;
inline constexpr std::uint16_t kSerialByte = 0x2048;
inline constexpr std::uint16_t kBuffers = 0x2f80;  ///< across a page boundary

/// Interrupt vectors, PIC, PIT and UART set up; interrupts on.
inline void emit_prologue(Assembler& a, unsigned pit_divisor) {
  a.bytes({0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x70, 0xfc});
  const auto vector = [&](unsigned number, const char* handler) {
    a.store_label(4 * number, handler);
    a.store_word(4 * number + 2, 0);
  };
  vector(0, "fault");
  vector(6, "fault");
  vector(0x20, "timer");
  vector(0x24, "serial");
  vector(0x30, "service");
  for (const auto& [port, value] :
       std::initializer_list<std::pair<unsigned, unsigned>>{{0x20, 0x11},
                                                            {0x21, 0x20},
                                                            {0x21, 4},
                                                            {0x21, 1},
                                                            {0xa0, 0x11},
                                                            {0xa1, 0x28},
                                                            {0xa1, 2},
                                                            {0xa1, 1},
                                                            {0x21, 0xee},
                                                            {0xa1, 0xff},
                                                            {0x43, 0x34},
                                                            {0x40, pit_divisor & 0xff},
                                                            {0x40, pit_divisor >> 8}}) {
    a.out_byte(port, value);
  }
  a.bytes({0xba, 0xf9, 0x03, 0xb0, 0x01, 0xee});  // IER: received data
  a.bytes({0xba, 0xfc, 0x03, 0xb0, 0x08, 0xee});  // MCR: OUT2
  a.bytes({0xfb});
}

inline void emit_handlers(Assembler& a) {
  a.label("fault");  // skips the two bytes of the instruction
  a.bytes({0x55, 0x89, 0xe5, 0x83, 0x46, 0x02, 0x02, 0x5d});
  a.increment_word(kFaultCount);
  a.bytes({0xcf});
  a.label("timer");
  a.bytes({0x50});
  a.increment_word(kTimerCount);
  a.out_byte(0x20, 0x20);
  a.bytes({0x58, 0xcf});
  a.label("serial");
  a.bytes({0x50, 0x52, 0xba, 0xf8, 0x03, 0xec, 0xa2});
  a.word(kSerialByte);
  a.increment_word(kSerialCount);
  a.out_byte(0x20, 0x20);
  a.bytes({0x5a, 0x58, 0xcf});
  a.label("service");
  a.increment_word(kVariables);
  a.bytes({0xcf});
}

/// One random thing for the loop's body to do.
inline void emit_random_operation(Assembler& a, std::mt19937_64& random, TinyGuest& guest,
                                  unsigned number) {
  const unsigned variable = kVariables + 2 * static_cast<unsigned>(random() % 16);
  const unsigned buffer = kBuffers + static_cast<unsigned>(random() % 128);
  guest.code.push_back(a.here());
  guest.data.push_back(static_cast<std::uint16_t>(variable));
  switch (random() % 14) {
    case 0:
      a.increment_word(variable);
      break;
    case 1:
      a.bytes({0xa1});
      a.word(variable);
      a.bytes({0x05});
      a.word(7);
      a.bytes({0xa3});
      a.word(kVariables + 8);
      break;
    case 2:
      a.call("subroutine");
      break;
    case 3:  // REP STOSB
    case 4:  // REP MOVSW
      guest.data.push_back(static_cast<std::uint16_t>(buffer + random() % 8));
      a.bytes({0xb9});
      a.word(static_cast<unsigned>(1 + random() % 60));
      a.bytes({0xbf});
      a.word(buffer);
      a.bytes({0xbe});
      a.word(kVariables);
      guest.code.push_back(a.here());
      if (random() % 2 != 0)
        a.bytes({0xf3, 0xaa});
      else
        a.bytes({0xf3, 0xa5});
      break;
    case 5: {  // changes the next instruction but one
      const std::string name = "smc" + std::to_string(number);
      a.bytes({0xfe, 0x06});
      a.address(name);
      a.bytes({0x90, 0xb0});
      a.label(name);
      a.bytes({0x00, 0xa2});
      a.word(kVariables + 12);
      break;
    }
    case 6:
      a.bytes({0x30, 0xc9});
      guest.code.push_back(a.here());
      a.bytes({0xf6, 0xf1});
      break;  // #DE
    case 7:
      a.bytes({0x0f, 0x0b});
      break;  // #UD
    case 8:
      a.bytes({0xcd, 0x30});
      break;
    case 9:
      if (random() % 3 == 0)
        a.bytes({0xf4});
      else
        a.bytes({0x90});
      break;  // HLT
    case 10:
      a.bytes({0xba, 0xf8, 0x03, 0xb0, 0x2e, 0xee});
      break;  // console
    case 11:  // a delay: LOOP to itself
      a.bytes({0xb9});
      a.word(static_cast<unsigned>(5 + random() % 200));
      guest.code.push_back(a.here());
      a.bytes({0xe2, 0xfe});
      break;
    case 12:  // REPNE SCASB, which ends early at times
      a.bytes({0xb9});
      a.word(40);
      a.bytes({0xbf});
      a.word(buffer);
      a.bytes({0xf2, 0xae});
      break;
    case 13:  // with interrupts off for a while
      a.bytes({0xfa});
      a.increment_word(variable);
      a.bytes({0xfb, 0x90});
      break;
  }
}

/// A program that runs `loops` times through random operations, then ends by
/// debug-exit with code 0.
inline TinyGuest random_guest(std::uint64_t seed, unsigned loops) {
  std::mt19937_64 random(seed);
  TinyGuest guest;
  Assembler a;
  emit_prologue(a, static_cast<unsigned>(2 + random() % 12));
  a.store_word(kCounter, loops);
  guest.code.push_back(a.here());
  a.label("loop");
  const unsigned operations = static_cast<unsigned>(4 + random() % 10);
  for (unsigned n = 0; n < operations; ++n) emit_random_operation(a, random, guest, n);
  a.bytes({0xff, 0x0e});
  a.word(kCounter);
  a.jump_if_not_zero("loop");
  a.label("end");
  guest.code.push_back(a.here());
  a.out_byte(0xf4, 0);
  a.bytes({0xf4});
  a.label("subroutine");
  guest.code.push_back(a.here());
  a.increment_word(kVariables + 2);
  a.bytes({0xc3});
  emit_handlers(a);
  guest.image = a.finish();
  for (const char* name : {"loop", "end", "subroutine", "fault", "timer", "serial", "service"}) {
    guest.labels[name] = a.address_of(name);
  }
  for (const char* name : {"fault", "timer", "serial", "service"}) {
    guest.code.push_back(guest.labels[name]);
  }
  guest.data.insert(guest.data.end(), {kTimerCount, kSerialCount, kFaultCount, kSerialByte, 0x6ffe,
                                       kBuffers + 0x7f, kBuffers + 0x80, kCounter});
  return guest;
}

/// Inputs as a pure function of where the machine is: bytes at exact
/// positions, and idle waits that end early when a hash says so, with a byte.
class ScriptedInput final : public InputSource {
 public:
  ScriptedInput(std::vector<std::uint64_t> positions, std::uint64_t seed)
      : positions_(std::move(positions)), seed_(seed) {}

  /// The machine was put at `position`, on arrival.
  void rewind_to(Position position) {
    next_ = 0;
    while (next_ < positions_.size() && positions_[next_] < position.steps) ++next_;
    woken_.reset();
  }
  [[nodiscard]] Position next_look(Position now) override {
    for (std::size_t n = next_; n < positions_.size(); ++n) {
      if (positions_[n] > now.steps) return {positions_[n]};
    }
    return {kNever};
  }
  std::optional<Input> take(InputStamp here, const InputRoom& /*room*/) override {
    while (next_ < positions_.size() && positions_[next_] < here.position.steps) ++next_;
    if (next_ < positions_.size() && positions_[next_] == here.position.steps) {
      ++next_;
      return Input{InputKind::serial_byte, 0, {static_cast<std::uint8_t>(here.position.steps)}};
    }
    if (woken_ == here) {
      woken_.reset();
      return Input{InputKind::serial_byte, 0, {static_cast<std::uint8_t>(here.idle_ns)}};
    }
    return std::nullopt;
  }
  IdleOutcome idle(InputStamp here, std::uint64_t deadline) override {
    if (deadline == kNever) return {IdleOutcome::Kind::forever, 0};
    const std::uint64_t mixed = (here.position.steps * 0x9e3779b97f4a7c15ULL) ^
                                (here.idle_ns * 0xc2b2ae3d27d4eb4fULL) ^ seed_;
    if ((mixed >> 20) % 3 != 0 || deadline <= here.idle_ns + 2) {
      return {IdleOutcome::Kind::deadline, deadline};
    }
    const std::uint64_t early = here.idle_ns + 1 + (mixed >> 32) % (deadline - here.idle_ns - 1);
    woken_ = InputStamp{here.position, early};
    return {IdleOutcome::Kind::early, early};
  }

 private:
  std::vector<std::uint64_t> positions_;
  std::uint64_t seed_;
  std::size_t next_ = 0;
  std::optional<InputStamp> woken_;
};

inline std::unique_ptr<Machine> boot_tiny(const Bytes& image,
                                          std::uint64_t memory_bytes = 2 << 20) {
  MachineConfig config;
  config.memory_bytes = memory_bytes;
  auto machine = std::make_unique<Machine>(config);
  BootRequest request;
  request.kind = BootKind::flat;
  request.kernel_name = "tiny";
  request.kernel = image;
  machine->boot(request);
  return machine;
}

}  // namespace chronovisor::test
