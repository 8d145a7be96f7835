#include "recorder/format/start_condition.h"

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "recorder/format/file.h"
#include "recorder/format/recorded_media.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

const char* kind_name(BootKind kind) {
  switch (kind) {
    case BootKind::linux_kernel:
      return "linux";
    case BootKind::multiboot:
      return "multiboot";
    case BootKind::flat:
      return "flat";
    case BootKind::firmware:
      return "firmware";
  }
  return "unknown";
}

BootKind kind_of(const std::string& name) {
  for (const BootKind kind :
       {BootKind::linux_kernel, BootKind::multiboot, BootKind::flat, BootKind::firmware}) {
    if (name == kind_name(kind)) return kind;
  }
  throw Error(ErrorCode::bad_input, "unknown boot protocol \"" + name + "\"");
}

/// Recordings made before the versions were written down have these.
constexpr std::uint32_t kUnwrittenStateVersion = 1;
constexpr std::uint32_t kUnwrittenBehaviourVersion = 1;

/// The versions other than 1 of the state sections of a machine of this shape. One of
/// an unknown model has what it says.
std::map<std::string, std::uint32_t> written_section_versions(const MachineConfig& config) {
  if (config.section_versions) return *config.section_versions;
  MachineConfig small = config;
  small.memory_bytes = 1ULL << 20;
  return *Machine(small).config().section_versions;
}

/// Recordings made before the layout was written down have the old one up to here.
constexpr std::uint32_t kLastVersionFromPage1 = 2;

BootLayout layout_of(const nlohmann::json& boot, std::uint32_t behaviour_version) {
  const BootLayout implied = behaviour_version <= kLastVersionFromPage1 ? BootLayout::from_page_1
                                                                        : BootLayout::conventional;
  const auto number = boot.value("layout", static_cast<unsigned>(implied));
  if (number > static_cast<unsigned>(BootLayout::conventional)) {
    throw Error(ErrorCode::bad_input, "unknown boot layout " + std::to_string(number));
  }
  return static_cast<BootLayout>(number);
}

constexpr std::size_t kMostDrives = 32;

nlohmann::ordered_json drives_json(const StartCondition& start) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::size_t n = 0; n < start.machine.drives.size(); ++n) {
    const DriveConfig& drive = start.machine.drives[n];
    const StartImage image = n < start.drive_images.size() ? start.drive_images[n] : StartImage{};
    list.push_back({{"interface", drive_interface_name(drive.interface)},
                    {"kind", drive.kind == DriveConfig::Kind::cdrom ? "cdrom" : "disk"},
                    {"read_only", drive.read_only},
                    {"size_bytes", drive.size_bytes},
                    {"file", image.file},
                    {"format", image.format}});
  }
  return list;
}

void take_drives(const nlohmann::json& list, StartCondition& start) {
  if (list.size() > kMostDrives) throw Error(ErrorCode::bad_input, "more drives than the limit");
  for (const nlohmann::json& json : list) {
    DriveConfig drive;
    const auto interface = json.at("interface").get<std::string>();
    bool known = false;
    for (const auto candidate : {DriveConfig::Interface::ide, DriveConfig::Interface::ahci,
                                 DriveConfig::Interface::virtio, DriveConfig::Interface::floppy}) {
      if (interface != drive_interface_name(candidate)) continue;
      drive.interface = candidate;
      known = true;
    }
    const auto kind = json.at("kind").get<std::string>();
    if (!known || (kind != "disk" && kind != "cdrom")) {
      throw Error(ErrorCode::bad_input, "unknown drive \"" + interface + "\", \"" + kind + "\"");
    }
    drive.kind = kind == "cdrom" ? DriveConfig::Kind::cdrom : DriveConfig::Kind::disk;
    drive.read_only = json.at("read_only").get<bool>();
    drive.size_bytes = json.at("size_bytes").get<std::uint64_t>();
    start.machine.drives.push_back(drive);
    start.drive_images.push_back({json.value("file", ""), json.value("format", "")});
  }
}

constexpr std::size_t kMostCards = 32;

nlohmann::ordered_json cards_json(const std::vector<CardConfig>& cards) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const CardConfig& card : cards) {
    list.push_back({{"model", card_model_name(card.model)}, {"address", mac_text(card.address)}});
  }
  return list;
}

void take_cards(const nlohmann::json& list, std::vector<CardConfig>& cards) {
  if (list.size() > kMostCards) throw Error(ErrorCode::bad_input, "more cards than the limit");
  for (const nlohmann::json& json : list) {
    CardConfig card;
    const auto model = json.at("model").get<std::string>();
    if (model == card_model_name(CardConfig::Model::virtio)) {
      card.model = CardConfig::Model::virtio;
    } else if (model != card_model_name(CardConfig::Model::e1000)) {
      throw Error(ErrorCode::bad_input, "unknown network card \"" + model + "\"");
    }
    const auto address = parse_mac(json.at("address").get<std::string>());
    if (!address) throw Error(ErrorCode::bad_input, "a network card's address is none");
    card.address = *address;
    cards.push_back(card);
  }
}

void take_extras(const nlohmann::json& list, ExtraDevices& extras) {
  for (const nlohmann::json& json : list) {
    const auto name = json.get<std::string>();
    const auto device = find_extra_device(name);
    if (!device) throw Error(ErrorCode::bad_input, "unknown device \"" + name + "\"");
    extras.add(*device);
  }
}

/// Throws Error{bad_input} for what does not fit into the ROM.
FlashConfig flash_of(const nlohmann::json& json) {
  const FlashConfig flash{json.at("size_bytes").get<std::uint64_t>(),
                          json.at("below_4g_bytes").get<std::uint64_t>()};
  if (flash.size_bytes % kPageSize != 0 || flash.below_4g_bytes % kPageSize != 0 ||
      flash.below_4g_bytes > kFirmwareRomBytes ||
      flash.size_bytes > kFirmwareRomBytes - flash.below_4g_bytes) {
    throw Error(ErrorCode::bad_input, "flash memory that does not fit into the ROM");
  }
  return flash;
}

ParentRecording parent_of(const nlohmann::json& json) {
  ParentRecording parent;
  parent.file_id = json.at("file_id").get<std::string>();
  parent.name = json.at("name").get<std::string>();
  parent.position = {json.at("position").get<std::uint64_t>()};
  parent.deliveries = json.at("deliveries").get<std::uint32_t>();
  parent.digest = json.at("digest").get<std::string>();
  parent.changed_by_hand = json.at("changed_by_hand").get<bool>();
  return parent;
}

}  // namespace

const char* drive_interface_name(DriveConfig::Interface interface) {
  switch (interface) {
    case DriveConfig::Interface::ide:
      return "ide";
    case DriveConfig::Interface::ahci:
      return "ahci";
    case DriveConfig::Interface::virtio:
      return "virtio";
    case DriveConfig::Interface::floppy:
      return "floppy";
  }
  return "unknown";
}

const char* card_model_name(CardConfig::Model model) {
  return model == CardConfig::Model::virtio ? "virtio" : "e1000";
}

std::string mac_text(const MacAddress& address) {
  std::string text;
  for (const std::uint8_t byte : address) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    if (!text.empty()) text += ':';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<MacAddress> parse_mac(std::string_view text) {
  constexpr std::size_t kCharacters = 17;
  MacAddress address{};
  if (text.size() != kCharacters) return std::nullopt;
  for (std::size_t n = 0; n < kCharacters; ++n) {
    if (n % 3 == 2) {
      if (text[n] != ':') return std::nullopt;
      continue;
    }
    const char digit = text[n];
    const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                      : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                      : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                     : -1;
    if (value < 0) return std::nullopt;
    address[n / 3] = static_cast<std::uint8_t>(address[n / 3] << 4 | value);
  }
  return address;
}

std::string module_role(std::size_t index) { return "module" + std::to_string(index); }

std::string StartCondition::to_json() const {
  nlohmann::ordered_json json;
  json["chronovisor"] = "recording";
  json["engine"] = engine;
  json["idle"] = idle;
  json["host"] = host;
  json["created_utc"] = created_utc;
  json["machine"] = {{"memory_bytes", machine.memory_bytes},
                     {"rtc_start_unix_seconds", machine.rtc_start_unix_seconds},
                     {"entropy_seed", machine.entropy_seed},
                     {"ns_per_step", machine.ns_per_step},
                     {"state_version", state_version},
                     {"behaviour_version", machine.behaviour_version},
                     {"model", machine.model}};
  if (const auto versions = written_section_versions(machine); !versions.empty()) {
    json["machine"]["section_versions"] = versions;
  }
  if (!machine.drives.empty()) json["machine"]["drives"] = drives_json(*this);
  if (!machine.cards.empty()) json["machine"]["cards"] = cards_json(machine.cards);
  if (!machine.extras.none()) {
    nlohmann::ordered_json devices = nlohmann::ordered_json::array();
    for (const ExtraDevice device : kExtraDevices) {
      if (machine.extras.has(device)) devices.push_back(extra_device_name(device));
    }
    json["machine"]["devices"] = devices;
  }
  if (machine.power_base != kBiosPowerBase) json["machine"]["power_base"] = machine.power_base;
  if (machine.restarts) json["machine"]["restarts"] = true;
  if (machine.flash.size_bytes != 0) {
    json["machine"]["flash"] = {{"size_bytes", machine.flash.size_bytes},
                                {"below_4g_bytes", machine.flash.below_4g_bytes}};
  }
  json["boot"] = {{"kind", kind_name(kind)},      {"kernel", kernel_name},
                  {"initrd", initrd_name},        {"command_line", command_line},
                  {"flat_address", flat_address}, {"layout", static_cast<unsigned>(layout)}};
  if (kind == BootKind::firmware) {
    json["boot"]["firmware"] = firmware_name;
    if (!variables_name.empty()) json["boot"]["variables"] = variables_name;
    json["boot"]["order"] = boot_order;
  }
  if (!video_bios_name.empty()) json["boot"]["video_bios"] = video_bios_name;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const StartModule& module : modules) {
    list.push_back({{"name", module.name}, {"arguments", module.arguments}});
  }
  json["boot"]["modules"] = list;
  if (parent) {
    json["parent"] = {
        {"file_id", parent->file_id},         {"name", parent->name},
        {"position", parent->position.steps}, {"deliveries", parent->deliveries},
        {"digest", parent->digest},           {"changed_by_hand", parent->changed_by_hand}};
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

namespace {

/// Refuses values that would become others where they are taken: numbers are whole, not
/// negative but for a time, and fit; texts end where they end.
void require_plain(const nlohmann::json& value, const std::string& name, bool narrow = false) {
  const auto refuse = [&](const char* why) { throw Error(ErrorCode::bad_input, name + why); };
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      const bool is_narrow = name == "section_versions" || key == "state_version" ||
                             key == "behaviour_version" || key == "deliveries";
      require_plain(member, key, is_narrow);
    }
  } else if (value.is_array()) {
    for (const nlohmann::json& member : value) require_plain(member, name);
  } else if (value.is_number_float()) {
    refuse(" is no whole number, or too large a one");
  } else if (value.is_number_unsigned()) {
    if (narrow && value.get<std::uint64_t>() > ~std::uint32_t{0}) refuse(" is too large a number");
  } else if (value.is_number()) {
    if (name != "rtc_start_unix_seconds" && value.get<std::int64_t>() < 0) refuse(" is negative");
  } else if (value.is_string()) {
    if (value.get_ref<const std::string&>().find('\0') != std::string::npos) {
      refuse(" has a NUL in its text");
    }
  }
}

}  // namespace

StartCondition StartCondition::from_json(const std::string& text, const std::string& what) {
  StartCondition start;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    if (!json.is_object()) throw Error(ErrorCode::bad_input, "is no JSON object");
    require_plain(json, "metadata");
    start.engine = json.value("engine", "");
    start.idle = json.value("idle", "");
    start.host = json.value("host", "");
    start.created_utc = json.value("created_utc", "");
    const nlohmann::json& machine = json.at("machine");
    start.machine.memory_bytes = machine.at("memory_bytes").get<std::uint64_t>();
    start.machine.rtc_start_unix_seconds = machine.at("rtc_start_unix_seconds").get<std::int64_t>();
    start.machine.entropy_seed = machine.at("entropy_seed").get<std::uint64_t>();
    start.machine.ns_per_step = machine.at("ns_per_step").get<std::uint64_t>();
    start.state_version = machine.value("state_version", kUnwrittenStateVersion);
    start.machine.behaviour_version =
        machine.value("behaviour_version", kUnwrittenBehaviourVersion);
    start.machine.model = machine.value("model", kFirstModel);
    start.machine.section_versions =
        machine.value("section_versions", std::map<std::string, std::uint32_t>{});
    if (machine.contains("drives")) take_drives(machine.at("drives"), start);
    if (machine.contains("cards")) take_cards(machine.at("cards"), start.machine.cards);
    if (machine.contains("devices")) take_extras(machine.at("devices"), start.machine.extras);
    start.machine.power_base = machine.value("power_base", kBiosPowerBase);
    start.machine.restarts = machine.value("restarts", false);
    if (machine.contains("flash")) start.machine.flash = flash_of(machine.at("flash"));
    const nlohmann::json& boot = json.at("boot");
    start.kind = kind_of(boot.at("kind").get<std::string>());
    start.kernel_name = boot.at("kernel").get<std::string>();
    start.initrd_name = boot.at("initrd").get<std::string>();
    start.command_line = boot.at("command_line").get<std::string>();
    start.flat_address = boot.at("flat_address").get<std::uint64_t>();
    start.firmware_name = boot.value("firmware", "");
    start.variables_name = boot.value("variables", "");
    start.video_bios_name = boot.value("video_bios", "");
    start.boot_order = boot.value("order", "");
    start.layout = layout_of(boot, start.machine.behaviour_version);
    for (const nlohmann::json& module : boot.at("modules")) {
      start.modules.push_back(
          {module.at("name").get<std::string>(), module.at("arguments").get<std::string>()});
    }
    if (json.contains("parent")) start.parent = parent_of(json.at("parent"));
  } catch (const nlohmann::json::exception& e) {
    // "[json.exception.out_of_range.403] key 'engine' not found"
    const std::string_view why = e.what();
    throw Error(ErrorCode::bad_input,
                what + ": metadata:" + std::string(why.substr(why.find(']') + 1)));
  } catch (const Error& e) {
    throw Error(ErrorCode::bad_input, what + ": metadata: " + e.what());
  }
  return start;
}

std::vector<std::string> image_roles(const StartCondition& start) {
  std::vector<std::string> roles;
  roles.emplace_back(start.kind == BootKind::firmware ? kFirmwareRole : kKernelRole);
  if (!start.variables_name.empty()) roles.emplace_back(kVariablesRole);
  if (!start.video_bios_name.empty()) roles.emplace_back(kVideoBiosRole);
  if (!start.initrd_name.empty()) roles.emplace_back(kInitrdRole);
  for (std::size_t n = 0; n < start.modules.size(); ++n) roles.push_back(module_role(n));
  return roles;
}

std::unique_ptr<Machine> make_machine(const StartCondition& start, const ImageProvider& image) {
  auto machine = std::make_unique<Machine>(start.machine);
  const bool firmware = start.kind == BootKind::firmware;
  const Bytes kernel = image(firmware ? kFirmwareRole : kKernelRole);
  const Bytes variables = start.variables_name.empty() ? Bytes{} : image(kVariablesRole);
  const Bytes video_bios = start.video_bios_name.empty() ? Bytes{} : image(kVideoBiosRole);
  const Bytes initrd = start.initrd_name.empty() ? Bytes{} : image(kInitrdRole);
  std::vector<Bytes> modules;
  for (std::size_t n = 0; n < start.modules.size(); ++n) modules.push_back(image(module_role(n)));

  BootRequest request;
  request.kind = start.kind;
  request.kernel_name = firmware ? start.firmware_name : start.kernel_name;
  request.kernel = kernel;
  request.initrd_name = start.initrd_name;
  request.initrd = initrd;
  request.variables = variables;
  request.video_bios = video_bios;
  request.boot_order = start.boot_order;
  for (std::size_t n = 0; n < modules.size(); ++n) {
    request.modules.push_back({start.modules[n].name, modules[n], start.modules[n].arguments});
  }
  request.command_line = start.command_line;
  request.flat_address = start.flat_address;
  request.layout = start.layout;
  ByteWriter seed;
  for (std::uint64_t n = 0; n < 4; ++n) {
    seed.integer(
        hash64(as_bytes(std::to_string(start.machine.entropy_seed) + ":" + std::to_string(n))));
  }
  request.rng_seed = seed.data();
  machine->boot(request);
  return machine;
}

ImageProvider images_of(const RecordingReader& reader) {
  return [&reader](const std::string& role) -> Bytes {
    for (std::size_t n = 0; n < reader.images().size(); ++n) {
      const ImageInfo& image = reader.images()[n];
      if (image.role != role) continue;
      if (image.storage == ImageStorage::embedded) return reader.read_image(n, kMostImageBytes);
      const PosixInputFile file(image.path);
      const std::string where = reader.name() + ": " + role + " is referenced as " + image.path;
      if (file.size() != image.size_bytes) {
        throw Error(ErrorCode::bad_input, where + ", which now has " + std::to_string(file.size()) +
                                              " bytes instead of " +
                                              std::to_string(image.size_bytes) +
                                              ": put the original file back");
      }
      Bytes content(file.size());
      file.read(0, content);
      if (hash128(content) != image.hash) {
        throw Error(ErrorCode::bad_input, where + ", whose content has changed since (hash " +
                                              hash128(content).hex() + ", expected " +
                                              image.hash.hex() + "): put the original file back");
      }
      return content;
    }
    throw Error(ErrorCode::bad_input, reader.name() + ": has no image for " + role);
  };
}

StartCondition start_of(const RecordingReader& reader) {
  return StartCondition::from_json(reader.metadata_json(), reader.name());
}

void require_positions(const RecordingReader& reader) {
  if (reader.counted_chunks() == 0) return;
  throw Error(
      ErrorCode::bad_input,
      reader.name() + ": its events have counted places, not positions yet: replay it once");
}

StartCondition runnable_start_of(const RecordingReader& reader) {
  require_positions(reader);
  return countable_start_of(reader);
}

StartCondition countable_start_of(const RecordingReader& reader) {
  StartCondition start = inspectable_start_of(reader);
  require_replayable(start.machine.behaviour_version, reader.name());
  return start;
}

StartCondition inspectable_start_of(const RecordingReader& reader) {
  StartCondition start = start_of(reader);
  if (start.state_version != kMachineStateVersion) {
    throw Error(ErrorCode::bad_input,
                reader.name() + ": its machine has state version " +
                    std::to_string(start.state_version) + ", this program's has " +
                    std::to_string(kMachineStateVersion) +
                    ": replay it with the version of chronovisor that recorded it");
  }
  if (find_model(start.machine.model) == nullptr) {
    std::string known;
    for (const Model* model : all_models()) known += (known.empty() ? "" : ", ") + model->name;
    throw Error(ErrorCode::bad_input, reader.name() + ": its machine is of the model \"" +
                                          start.machine.model + "\"; this program has " + known +
                                          ": replay it with a release that has that model");
  }
  if (!start.machine.drives.empty()) start.machine.media = std::make_shared<RecordedMedia>(reader);
  return start;
}

bool begins_at_power_on(const RecordingReader& reader) {
  return reader.start() == Position{0} && !start_of(reader).parent;
}

}  // namespace chronovisor
