// A guest for recordings that nobody ran (tests/recorder/large_recording.h): it does
// nothing, for ever, but in one interval it counts once. Time does not pass for it, so its
// state is known at any position.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "recorder/format/start_condition.h"
#include "tests/recorder/large_recording.h"

namespace chronovisor::testing {

class LargeGuest {
 public:
  static constexpr std::uint64_t kHotCode = 0x7c10;   ///< executed all the time
  static constexpr std::uint64_t kRareCode = 0x7d00;  ///< executed once, in a line of its own
  static constexpr std::uint64_t kRareData = 0x1000;  ///< written there

  /// It counts behind checkpoint `rare`.
  LargeGuest(std::uint64_t memory_bytes, std::uint32_t rare) {
    start_.kind = BootKind::flat;
    start_.kernel_name = "guest";
    start_.machine.memory_bytes = memory_bytes;
    start_.machine.ns_per_step = 0;
    start_.machine.cards = {{CardConfig::Model::e1000, usual_mac_address(0)}};
    guest_.image = code();
    machine_ = make_machine(start_, [this](const std::string&) { return guest_.image; });
    machine_->run({{2}, 0});
    (void)machine_->close_epoch();
    machine_->pages().for_each_page([&](std::uint64_t page) {
      const ByteView bytes = machine_->pages().bytes(page);
      if (hash128(bytes) == zero_page_hash()) return;
      guest_.pages[static_cast<std::uint32_t>(page)] = Bytes(bytes.begin(), bytes.end());
    });
    guest_.first_page = kFirstPage;
    guest_.sections = [this, rare](std::uint32_t checkpoint, Position position) {
      machine_->change_cpu([&](Cpu& cpu) {
        cpu.state.gpr[kGprRip] = checkpoint == rare ? kRareCode : kHotCode;
        cpu.set_position(position);
      });
      return machine_->save_sections();
    };
    guest_.accesses = [rare](std::uint32_t checkpoint, IntervalAccesses& accesses) {
      accesses.code.push_back({kHotCode, kHotCode + 1});
      if (checkpoint != rare) return;
      accesses.code.push_back({kRareCode, kRareCode + 7});
      accesses.pages.push_back({kRareData / kPageSize, true, false, 1});
    };
  }
  LargeGuest(const LargeGuest&) = delete;
  LargeGuest& operator=(const LargeGuest&) = delete;
  [[nodiscard]] const LargeRecording::Guest& guest() const { return guest_; }
  [[nodiscard]] std::string metadata() const { return start_.to_json(); }

 private:
  static constexpr std::uint32_t kFirstPage = 256;  ///< the first MiB stays as it is

  static Bytes code() {
    Bytes code(0x110, 0xf4);
    const auto put = [&](std::size_t at, std::initializer_list<std::uint8_t> bytes) {
      std::copy(bytes.begin(), bytes.end(), code.begin() + static_cast<std::ptrdiff_t>(at));
    };
    put(0x00, {0xfa, 0xeb, 0x0d});  // cli; jmp 0x7c10
    put(0x10, {0xeb, 0xfe});        // jmp to itself
    // inc dword [0x1000]; jmp 0x7c10
    put(0x100, {0x66, 0xff, 0x06, 0x00, 0x10, 0xe9, 0x08, 0xff});
    return code;
  }
  StartCondition start_;
  LargeRecording::Guest guest_;
  std::unique_ptr<Machine> machine_;
};

}  // namespace chronovisor::testing
