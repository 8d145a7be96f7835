#include <doctest/doctest.h>

#include <string>

#include "base/error.h"
#include "vmm/engine/kvm/kvm_device.h"
#include "vmm/engine/kvm/kvm_engine.h"
#include "vmm/engine/kvm/self_test.h"

namespace {

using namespace chronovisor;

std::string refusal(const kvm::Capabilities& capabilities) {
  Ram ram(1 << 20);
  struct NoDevices final : CpuEnvironment {
    std::uint32_t port_read(std::uint16_t /*port*/, unsigned /*width*/) override { return 0; }
    void port_write(std::uint16_t /*port*/, unsigned /*w*/, std::uint32_t /*value*/) override {}
    std::uint64_t mmio_read(GuestPhysical /*address*/, unsigned /*width*/) override { return 0; }
    void mmio_write(GuestPhysical /*a*/, unsigned /*width*/, std::uint64_t /*value*/) override {}
    [[nodiscard]] VirtualTime now() const override { return {}; }
    std::uint8_t acknowledge_interrupt() override { return 0; }
    [[nodiscard]] std::uint8_t task_priority() const override { return 0; }
    void set_task_priority(std::uint8_t /*cr8*/) override {}
    bool read_apic_msr(std::uint32_t /*index*/, std::uint64_t& /*value*/) override { return false; }
    bool write_apic_msr(std::uint32_t /*index*/, std::uint64_t /*value*/) override { return false; }
    [[nodiscard]] bool apic_enabled() const override { return false; }
    [[nodiscard]] std::uint32_t apic_id() const override { return 0; }
    void tsc_offset_changed(std::uint64_t /*offset*/) override {}
    [[nodiscard]] std::uint64_t entropy(std::uint64_t /*index*/) const override { return 0; }
  } none;
  Cpu cpu(ram, none);
  try {
    const kvm::KvmEngine engine(cpu, ram, capabilities);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::host);
    return error.what();
  }
  return {};
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

/// As after a self-test that found everything; no such device is ever opened.
kvm::Capabilities able() {
  kvm::Capabilities c;
  c.device = "/nonexistent/kvm";
  c.usable = c.step_ring0 = c.faults_shut_down = c.dirty_log = true;
  return c;
}

}  // namespace

TEST_CASE("a device that is missing, or no KVM, is told apart, each with what to do") {
  const kvm::Availability missing = kvm::availability("/nonexistent/kvm");
  CHECK_FALSE(missing.present);
  CHECK_FALSE(missing.usable);
  CHECK(contains(missing.remedy, "modprobe"));
  const kvm::Availability other = kvm::availability("/dev/null");
  CHECK(other.present);
  CHECK_FALSE(other.usable);
  CHECK(contains(other.problem, "not a KVM device"));
  CHECK_FALSE(kvm::self_test("/dev/null").engine_possible());
}

TEST_CASE("a KVM that fails its self-test is refused with the reason and the way out") {
  kvm::Capabilities c = able();
  CHECK(c.why_not().empty());
  c.step_ring0 = false;
  CHECK(contains(c.why_not(), "single-step"));
  CHECK(contains(refusal(c), "--engine soft"));
  c = able();
  c.faults_shut_down = false;
  CHECK(contains(c.why_not(), "fault"));
  CHECK(contains(refusal(c), "chronovisor doctor"));
  c = able();
  c.dirty_log = false;
  CHECK(contains(c.why_not(), "pages"));
  CHECK_FALSE(refusal(c).empty());
}

TEST_CASE("an engine of another name is a usage error") {
  CHECK_THROWS_AS((void)kvm::engine_selector("tcg"), Error);
}
