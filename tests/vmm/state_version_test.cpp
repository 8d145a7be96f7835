// The layout of the saved state, pinned for each section: whoever changes one must
// raise its version, or recordings made before would be read wrongly.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "vmm/devices/core/byte_port_device.h"
#include "vmm/machine/machine.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

/// "steps 8 rax 8 ...": the fields of a section and their sizes.
std::string layout_of(const Section& section) {
  std::string text;
  for (ByteReader in(section.bytes, section.name); !in.at_end();) {
    const std::string field = in.sized_text(256);
    const std::size_t size = in.sized_bytes(1U << 20).size();
    text += (text.empty() ? "" : " ") + field + " " + std::to_string(size);
  }
  return text;
}

/// Of a new machine: a pc-1 as it always was, another model with every kind of drive and card.
std::vector<Section> sections_of_new_machine(const Model& model) {
  MachineConfig config;
  config.memory_bytes = 1U << 20;
  config.model = model.name;
  if (config.model != kFirstModel) {
    using Interface = DriveConfig::Interface;
    constexpr std::uint64_t kDriveBytes = 1U << 20;
    config.drives = {{Interface::ide, DriveConfig::Kind::disk, false, kDriveBytes},
                     {Interface::ide, DriveConfig::Kind::cdrom, true, kDriveBytes},
                     {Interface::ahci, DriveConfig::Kind::disk, false, kDriveBytes},
                     {Interface::virtio, DriveConfig::Kind::disk, false, kDriveBytes}};
    config.cards = {{CardConfig::Model::e1000, {0x52, 0x54, 0, 0x12, 0x34, 0x56}},
                    {CardConfig::Model::virtio, {0x52, 0x54, 0, 0x12, 0x34, 0x57}}};
  }
  return Machine(config).save_sections();
}

/// Those of what a machine has when it is asked for: a floppy drive, and other devices.
std::vector<Section> sections_of_extras() {
  MachineConfig config;
  config.memory_bytes = 1U << 20;
  config.model = "pc-2";
  config.drives = {{DriveConfig::Interface::floppy, DriveConfig::Kind::disk, false, 1440 * 1024}};
  std::vector<std::string> names{"floppy"};
  for (const ExtraDevice device : kExtraDevices) {
    config.extras.add(device);
    names.emplace_back(extra_device_name(device));
  }
  std::vector<Section> sections = Machine(config).save_sections();
  std::erase_if(sections, [&](const Section& section) {
    const std::string name = section.name.substr(0, section.name.find('@'));
    return std::ranges::find(names, name) == names.end();
  });
  CHECK(sections.size() == names.size());
  return sections;
}

/// By the section's name with its version; "regions", "net0" and "net1" are those of the machine
/// above. A line is added when a section or a version comes, and none is ever changed.
const std::map<std::string, std::string> kPins{
    {"cpu", "1d8c502b66c2302aa391f1daeab65030"},
    {"machine", "0972aa3b8341ce8f17a6ead11df64b33"},
    {"pic", "cbe4fbad20f3199aa10d8f75661be46c"},
    {"io_apic", "75424adc8c9f6a51d5f0db4ecd0658bc"},
    {"local_apic", "5d5ee7553f900b3b2620c5cf6f079044"},
    {"pit", "45dbaad4e2879e441e20ed43d42b5f61"},
    {"rtc_cmos", "e2378f03407155096a1d4151ce6441a2"},
    {"acpi_pm", "a804dc795c8f2e31e15812c20199600f"},
    {"uart0", "367dbf746be06deb5b34f9aabe821e78"},
    {"i8042", "37043565c48ccdc2181dbc4bce034406"},
    {"pci_host", "bd9763fc67c9bdb9d072949f7aaf1e27"},
    {"system_control", "21fd7b6d0fb0504fd5a80ec4f53be0d0"},
    {"post_port", "97b7c199c74be0dbfb15926fff7e39df"},
    {"debug_console", "99aa06d3014798d86001c324468d497f"},
    {"debug_exit", "99aa06d3014798d86001c324468d497f"},
    {"uart1", "367dbf746be06deb5b34f9aabe821e78"},
    {"ps2", "219c5456e3e842755089e33528c3d190"},
    {"piix3", "ffcdf3283ae6d35b6fa5425763c3a77f"},
    {"piix4_pm", "3b43c1d8a62f6bcf6ebd2ad7ff263e06"},
    {"vga", "5609aee28697503e4652a841eb691d6b"},
    {"rom", "99aa06d3014798d86001c324468d497f"},
    {"fw_cfg", "86df226beadc9dce63c865622f885f09"},
    {"firmware_console", "99aa06d3014798d86001c324468d497f"},
    {"isa_debug_exit", "99aa06d3014798d86001c324468d497f"},
    {"ide", "b7e389eb082b05698fa438d7ca64cfb6"},
    {"ahci", "a0c8a3afd115b423be055677ac0a3134"},
    {"virtio_disk3", "a362db7f6d0206dab61f93639d7ebc74"},
    {"net0", "7d9278497069b5ce63970c4eb0cff9e0"},
    {"net1", "4a4c334f533dae3e40c92a0c0baccd8c"},
    {"virtio_disk3@2", "a362db7f6d0206dab61f93639d7ebc74"},
    {"net1@2", "4a4c334f533dae3e40c92a0c0baccd8c"},
    {"rom@2", "15f612b3f04a08c7b68c8a3ddb78cac8"},
    {"floppy", "a5b151ffce85b0fff9e43567868cb9da"},
    {"floppy@2", "a5b151ffce85b0fff9e43567868cb9da"},
    {"tablet", "c23eb2ac2c4f40ac82cd604240cbb568"},
    {"rng", "3cee9960cfccd6f453a7a091bf4521e2"},
    {"console", "b0e67961ab63306e16adde590ff219e2"},
    {"tablet@2", "c23eb2ac2c4f40ac82cd604240cbb568"},
    {"rng@2", "3cee9960cfccd6f453a7a091bf4521e2"},
    {"console@2", "b0e67961ab63306e16adde590ff219e2"},
    {"hpet", "4edee269143b57c4deea06e64fea706d"},
    {"parallel", "881ed00f64afd87a651ea18a4cb35921"},
    {"ps2@2", "7362d13eaa0ce934c717f4a1f44d3300"},
    {"vga@2", "5609aee28697503e4652a841eb691d6b"},
    {"vga@3", "5609aee28697503e4652a841eb691d6b"},
    {"ahci@2", "a0c8a3afd115b423be055677ac0a3134"},
    {"regions", "dc450a040ae52fac5ec6ee1cf5b4f8b9"},
};

}  // namespace

TEST_CASE("the layout of each state section is that of its version") {
  std::vector<Section> sections;
  for (const Model* model : all_models()) {
    for (Section& section : sections_of_new_machine(*model)) sections.push_back(std::move(section));
  }
  for (Section& section : sections_of_extras()) sections.push_back(std::move(section));
  for (const Section& section : sections) {
    const std::string layout = layout_of(section);
    const std::string hash = hash128(as_bytes(layout)).hex();
    INFO("The layout of section " << section.name << " is now " << hash << ":\n" << layout);
    INFO(
        "If it has changed: raise `newest` in the device's state_versions() and add a pin for the");
    INFO("new version here. visit_state() goes on showing, for an older state_version(), the");
    INFO(
        "fields of that version; or `oldest` is raised too, and recordings of before are refused.");
    INFO("If the section is new: add a pin. docs/FORMATS.md, Versions, says what that means.");
    const auto pin = kPins.find(section.name);
    CHECK(pin != kPins.end());
    if (pin != kPins.end()) CHECK(pin->second == hash);
  }
}

namespace {

/// A device whose section has grown twice; it no longer knows version 1.
class Grown final : public Device, public BytePortDevice {
 public:
  [[nodiscard]] std::string_view name() const override { return "grown"; }
  [[nodiscard]] StateVersions state_versions() const override { return {2, 3}; }
  void declare(Declaration& declaration) override { declaration.ports(0x2f0, 1, *this); }
  void visit_state(StateVisitor& visitor) override {
    visitor.field("level", level_);
    if (state_version() >= 3) visitor.field("mode", mode_);
  }
  void reset() override { level_ = mode_ = 7; }

 protected:
  std::uint8_t read_byte(std::uint16_t /*offset*/) override { return level_; }
  void write_byte(std::uint16_t /*offset*/, std::uint8_t value) override { level_ = value; }

 private:
  std::uint8_t level_ = 7;
  std::uint8_t mode_ = 7;
};

Model pc_with_grown() {
  Model model = pc1();
  model.parts.push_back({[](PartContext& /*context*/) { return std::make_unique<Grown>(); }});
  return model;
}

MachineConfig with_versions(std::optional<std::map<std::string, std::uint32_t>> versions) {
  MachineConfig config;
  config.memory_bytes = 1U << 20;
  config.section_versions = std::move(versions);
  return config;
}

}  // namespace

TEST_CASE("a machine made for an older recording keeps its section versions, and its digests") {
  const Model model = pc_with_grown();
  Machine now(with_versions(std::nullopt), model);
  Machine older(with_versions({{{"grown", 2}}}), model);
  CHECK(now.save_sections().back().name == "grown@3");
  CHECK(now.config().section_versions->at("grown") == 3);
  const Section section = older.save_sections().back();
  CHECK(section.name == "grown@2");
  CHECK(layout_of(section) == "level 1");
  CHECK(layout_of(now.save_sections().back()) == "level 1 mode 1");

  // What it saves another such machine takes, with the same digest; a newer one refuses it.
  Machine again(with_versions({{{"grown", 2}}}), model);
  again.load_sections(older.save_sections());
  CHECK(again.digest() == older.digest());
  CHECK(older.digest() != now.digest());
  CHECK_THROWS_WITH_AS(now.load_sections(older.save_sections()),
                       "state section grown has version 2, this machine's has 3", Error);

  // A recording of before the oldest version is refused when its machine is made.
  CHECK_THROWS_WITH_AS(Machine(with_versions(std::map<std::string, std::uint32_t>{}), model),
                       "state section grown has version 1; this program has versions 2 to 3 of it",
                       Error);
}

TEST_CASE("a state is refused by the section that is missing, unknown or of another version") {
  MachineConfig config;
  config.memory_bytes = 1U << 20;
  Machine machine(config);
  const std::vector<Section> sound = machine.save_sections();
  CHECK_NOTHROW(machine.load_sections(sound));
  const auto refusal = [&](auto&& change) {
    std::vector<Section> sections = sound;
    change(sections);
    try {
      Machine(config).load_sections(sections);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::bad_input);
      return std::string(error.what());
    }
    return std::string("taken");
  };
  const auto pit = [](std::vector<Section>& sections) -> Section& {
    for (Section& section : sections) {
      if (section.name == "pit") return section;
    }
    return sections.front();
  };
  CHECK(refusal([&](auto& s) { s.erase(s.begin() + (&pit(s) - s.data())); }) ==
        "state section pit is missing: a machine of the model pc-1 has one");
  CHECK(refusal([&](auto& s) { pit(s).name = "pit@2"; }) ==
        "state section pit has version 2, this machine's has 1");
  CHECK(refusal([&](auto& s) {
          s.push_back({"sound_card", {}});
        }) == "state section sound_card is of no part of the machine model pc-1");
  CHECK(refusal([&](auto& s) { s.push_back(pit(s)); }) == "state section pit is there twice");
  for (const char* name :
       {"pit@", "pit@1", "pit@0", "pit@x", "pit@2x", "pit@02", "pit@99999999999"}) {
    CHECK(refusal([&](auto& s) { pit(s).name = name; }) ==
          "state section " + std::string(name) + ": not a version after the @");
  }
  CHECK(refusal([&](auto& s) {
          StateSaver saver;
          std::uint64_t idle_ns = kNever;
          saver.field("idle_ns", idle_ns);
          s[1] = {"machine", saver.take()};
        }) == "state section machine: field idle_ns has a value that no machine has");
  // The order does not matter: sections are matched by name.
  CHECK(refusal([&](auto& s) { std::reverse(s.begin(), s.end()); }) == "taken");
}

}  // namespace chronovisor
