// The trial of every kind of instruction, as far as it needs no KVM; and with one,
// that it found what this project knows of some of them.
#include <doctest/doctest.h>

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/code/instruction_table.h"
#include "vmm/engine/kvm/row_encoder.h"
#include "vmm/engine/kvm/self_test.h"
#include "vmm/engine/kvm/step_policy.h"
#include "vmm/engine/kvm/step_probe.h"
#include "vmm/engine/kvm/undo_log.h"

namespace chronovisor {
namespace {

using M = test::SystemMachine;

constexpr DecodeMode kLong{true, true, 4};
constexpr DecodeMode kProtected32{false, true, 4};
constexpr DecodeMode kReal{false, false, 2};

}  // namespace

TEST_CASE("every row that an engine may give to KVM has an instruction to try") {
  const kvm::StepPolicy policy{kvm::Capabilities{}};
  const kvm::EncodedOperands operands{0x9040, 0x08, 0xa000};
  std::set<std::string> missing;
  for (std::size_t row = 0; row < instruction_table().size(); ++row) {
    const auto number = static_cast<std::uint16_t>(row);
    if (policy.row_rule(number) == kvm::StepRule::soft) continue;
    bool found = false;
    for (const DecodeMode& mode : {kLong, kProtected32, kReal}) {
      for (const bool memory : {false, true}) {
        const auto bytes = kvm::encode_row(number, memory, 0, mode, operands);
        if (!bytes) continue;
        found = true;
        Instruction decoded;
        decoded.start_offset = 0;
        REQUIRE(decode(mode, *bytes, decoded) == DecodeStatus::ok);
        CHECK(decoded.row == number);
        CHECK(decoded.memory == (memory && decoded.memory));
      }
    }
    if (!found) missing.insert(std::string(instruction_table()[row].name));
  }
  for (const std::string& name : missing) MESSAGE("no encoding of " << name);
  CHECK(missing.empty());
}

TEST_CASE("a row that was not tried, or not stepped exactly, is the soft processor's") {
  kvm::Capabilities capabilities;
  const auto exact = std::make_shared<kvm::ExactSteps>();
  capabilities.exact_steps = exact;
  const Bytes code{0xf3, 0x0f, 0x1e, 0xfa};  // ENDBR64
  Instruction instruction;
  instruction.start_offset = 0;
  REQUIRE(decode(kLong, code, instruction) == DecodeStatus::ok);
  const kvm::StepPolicy policy(capabilities);
  CHECK(policy.rule(instruction, code, kvm::StepWorld::long64) == kvm::StepRule::soft);
  exact->set(kvm::StepWorld::long64, instruction.row, false, true);
  CHECK(policy.rule(instruction, code, kvm::StepWorld::long64) == kvm::StepRule::host);
  CHECK(policy.rule(instruction, code, kvm::StepWorld::long64_user) == kvm::StepRule::soft);
  CHECK(policy.rule(instruction, code, std::nullopt) == kvm::StepRule::soft);
}

TEST_CASE("a row is tried once, when it is first asked for, and all of a world for its count") {
  std::set<std::pair<int, bool>> tried;
  unsigned trials = 0;
  const kvm::ExactSteps exact(
      [&](kvm::StepWorld world, std::uint16_t row, bool memory) -> std::optional<bool> {
        ++trials;
        CHECK(tried.emplace(static_cast<int>(world) * 0x10000 + row, memory).second);
        if (row >= 3) return std::nullopt;
        return row == 1;
      });
  CHECK(trials == 0);
  CHECK(exact.exact(kvm::StepWorld::long64, 1, true));
  CHECK(exact.exact(kvm::StepWorld::long64, 1, true));
  CHECK(!exact.exact(kvm::StepWorld::long64, 2, false));
  CHECK(!exact.exact(kvm::StepWorld::long64, 3, false));
  CHECK(trials == 3);
  const kvm::ExactSteps::Count count = exact.count(kvm::StepWorld::long64);
  CHECK(count.tried == 6);
  CHECK(count.exact == 2);
  CHECK(trials == 2 * instruction_table().size());
}

TEST_CASE("what was remembered of memory is put back, the oldest last") {
  M m;
  m.long_mode(0);
  kvm::UndoLog log(m.cpu, m.ram);
  m.put<std::uint64_t>(0x10ffc, 0x1122334455667788);
  log.remember(0x10ffc, 8);  // across two pages
  m.put<std::uint64_t>(0x10ffc, 1);
  log.remember(0x11000, 4);  // part of it once more, changed
  m.put<std::uint64_t>(0x10ffc, 2);
  log.remember(0x7fff'0000'0000, 16);  // not mapped
  log.restore();
  CHECK(m.get<std::uint64_t>(0x10ffc) == 0x1122334455667788);
  m.put<std::uint64_t>(0x10ffc, 3);
  log.restore();  // nothing is left of it
  CHECK(m.get<std::uint64_t>(0x10ffc) == 3);
}

TEST_CASE("the self-test's trial of this host's KVM passes what everything steps") {
  const kvm::Capabilities found = kvm::self_test();
  if (!found.engine_possible()) {
    MESSAGE("no usable KVM here");
    return;
  }
  REQUIRE(found.exact_steps != nullptr);
  const kvm::ExactSteps::Count count = found.exact_steps->count(kvm::StepWorld::long64);
  MESSAGE("64-bit supervisor code: " << count.exact << " of " << count.tried);
  CHECK(count.tried > 200);
  CHECK(count.exact * 4 > count.tried);
  Instruction mov;
  mov.start_offset = 0;
  REQUIRE(decode(kLong, Bytes{0x48, 0x89, 0x06}, mov) == DecodeStatus::ok);
  CHECK(found.exact_steps->exact(kvm::StepWorld::long64, mov.row, true));
}

}  // namespace chronovisor
