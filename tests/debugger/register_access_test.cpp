// What a debugger's write of a register has to reach.
#include "debugger/register_access.h"

#include <doctest/doctest.h>

#include <array>
#include <memory>

#include "vmm/engine/soft/soft_engine.h"
#include "vmm/machine/machine.h"

namespace chronovisor {
namespace {

/// The soft processor, counting how often it was told that its state is another.
class ToldEngine final : public CpuEngine {
 public:
  ToldEngine(Cpu& cpu, int& times) : soft_(cpu), times_(times) {}
  [[nodiscard]] std::string_view name() const override { return "told"; }
  [[nodiscard]] bool tells_observers() const override { return true; }
  CpuStop run(Position until, std::uint32_t deliveries) override {
    return soft_.run(until, deliveries);
  }
  void collect_dirty_pages() override {}
  void state_replaced() override { ++times_; }

 private:
  SoftEngine soft_;
  int& times_;
};

}  // namespace

TEST_CASE("the engine is told of every change of state from outside") {
  MachineConfig config;
  config.memory_bytes = 2 << 20;
  Machine machine(config);
  CHECK(machine.engine().name() == "soft");
  int times = 0;
  machine.set_engine([&](Cpu& cpu) { return std::make_unique<ToldEngine>(cpu, times); });

  const std::array<std::uint8_t, 8> value{0x34, 0x12};
  debugger::write_register(machine, static_cast<std::size_t>(gdb::X86Register::rax), value);
  CHECK(machine.cpu().gpr(kRax) == 0x1234);
  CHECK(times == 1);
  CHECK_THROWS_AS(machine.change_cpu([](Cpu&) { throw Error(ErrorCode::usage, "no"); }), Error);
  CHECK(times == 2);
  machine.load_sections(machine.save_sections());
  CHECK(times == 3);
  Bytes code(512, 0xf4);
  BootRequest request;
  request.kind = BootKind::flat;
  request.kernel = code;
  machine.boot(request);
  CHECK(times == 4);
}

TEST_CASE("a written control register is in force at once") {
  MachineConfig config;
  config.memory_bytes = 2 << 20;
  Machine machine(config);
  const std::array<std::uint8_t, 8> value{0x11, 0, 0, 0x60};  // CR0: PE, ET, CD, NW
  CHECK(machine.cpu().mode() == CpuMode::real);
  debugger::write_register(machine, static_cast<std::size_t>(gdb::X86Register::cr0), value);
  CHECK(machine.cpu().mode() == CpuMode::protected_mode);
}

}  // namespace chronovisor
