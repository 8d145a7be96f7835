// Answers as JSON, for programs. docs/RSP.md has the shapes.
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "session/answer.h"

namespace chronovisor::session {
namespace {

using Json = nlohmann::ordered_json;

Json hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

Json hex(const std::optional<std::uint64_t>& value) { return value ? hex(*value) : Json(nullptr); }

/// A text, or null where there is none.
Json some(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

const char* name_of(Whereabouts whereabouts) {
  switch (whereabouts) {
    case Whereabouts::branch:
      return "branch";
    case Whereabouts::live:
      return "live";
    default:
      return "timeline";
  }
}

Json json(const HelpAnswer& answer) {
  Json rows = Json::array();
  for (const HelpAnswer::Row& row : answer.rows) {
    rows.push_back({{"usage", row.usage}, {"help", row.help}});
  }
  return {{"commands", rows}};
}

Json ending_json(const RecordedEnd& end) {
  Json out{{"reason", end.reason}, {"code", end.code}, {"port", nullptr}};
  if (end.port != 0) out["port"] = end.port;
  return out;
}

Json json(const WhenAnswer& answer) {
  Json out{{"position", answer.moment.position.steps},
           {"deliveries", answer.moment.deliveries},
           {"start", answer.start.steps},
           {"end", answer.end.steps},
           {"virtual_ns", answer.virtual_ns},
           {"mode", answer.mode},
           {"cpl", answer.cpl},
           {"halted", answer.halted},
           {"whereabouts", name_of(answer.whereabouts)},
           {"live_file", some(answer.live_file)},
           {"guest_ended", nullptr}};
  if (answer.ended) out["guest_ended"] = ending_json(*answer.ended);
  return out;
}

Json json(const InfoAnswer& answer) {
  Json out{{"file", answer.file},
           {"bytes", answer.file_bytes},
           {"created_utc", answer.created_utc},
           {"host", answer.host},
           {"kernel", answer.kernel},
           {"command_line", answer.command_line},
           {"memory_bytes", answer.memory_bytes},
           {"engine", answer.engine},
           {"parent", nullptr},
           {"start", answer.start.steps},
           {"end", answer.end.steps},
           {"checkpoints", answer.checkpoints},
           {"cache_bytes", answer.cache_bytes},
           {"inputs", answer.inputs},
           {"ended", nullptr},
           {"damage", answer.damage}};
  if (answer.parent) {
    out["parent"] = {{"name", answer.parent->name},
                     {"position", answer.parent->position.steps},
                     {"changed_by_hand", answer.parent->changed_by_hand}};
  }
  if (answer.ended) {
    out["ended"] = ending_json(*answer.ended);
    out["ended"]["by_guest"] = answer.ended->by_guest;
  }
  return out;
}

Json json(const StripAnswer& answer) {
  return {{"strip", answer.strip},
          {"marks", answer.marks},
          {"column", answer.column},
          {"position", answer.here.steps},
          {"start", answer.start.steps},
          {"end", answer.end.steps},
          {"whereabouts", name_of(answer.whereabouts)}};
}

Json json(const ArmedAnswer& answer) { return {{"destination", answer.position.steps}}; }

Json json(const Bookmark& mark) { return {{"name", mark.name}, {"position", mark.position.steps}}; }

Json json(const BookmarksAnswer& answer) {
  Json marks = Json::array();
  for (const Bookmark& mark : answer.bookmarks) marks.push_back(json(mark));
  return marks;
}

Json json(const BookmarkSetAnswer& answer) {
  Json out = json(answer.bookmark);
  out["file"] = some(answer.file);
  out["live"] = answer.live;
  out["trouble"] = some(answer.trouble);
  return out;
}

Json json(const BookmarkDeletedAnswer& answer) {
  return {{"name", answer.name}, {"trouble", some(answer.trouble)}};
}

Json json(const PacketAnswer& answer) {
  const bool received = answer.place.direction == PacketPlace::Direction::received;
  std::string bytes;
  for (const std::uint8_t byte : answer.bytes) bytes += fmt::format("{:02x}", byte);
  return {{"packet", answer.place.number},
          {"direction", received ? "received" : "sent"},
          {"card", answer.place.card},
          {"destination", answer.place.position.steps},
          {"length", answer.place.length_bytes},
          {"text", some(answer.text)},
          {"bytes", some(bytes)}};
}

Json json(const EventsAnswer& answer) {
  const auto list = [](const std::vector<EventsAnswer::Event>& events) {
    Json out = Json::array();
    for (const EventsAnswer::Event& event : events) {
      out.push_back({{"position", event.moment.position.steps},
                     {"deliveries", event.moment.deliveries},
                     {"text", event.text}});
    }
    return out;
  };
  return {{"position", answer.here.steps},
          {"before", list(answer.before)},
          {"after", list(answer.after)},
          {"earlier", answer.earlier},
          {"later", answer.later}};
}

Json json(const Store& store) {
  Json json = {{"position", store.moment.position.steps},
               {"deliveries", store.moment.deliveries},
               {"pc", hex(store.pc)},
               {"address", hex(store.first_byte)},
               {"before", store.before},
               {"after", store.after}};
  if (store.device.empty()) return json;
  json["device"] = store.device;
  json["request"] = store.request.text;
  if (store.request.started_steps != kNever) json["started"] = store.request.started_steps;
  if (store.packet) json["packet"] = *store.packet;
  return json;
}

Json json(const LastWriteAnswer& answer) {
  return {{"address", hex(answer.address)},
          {"searched_before", answer.before.steps},
          {"write", json(answer.store)},
          {"destination", answer.store.moment.position.steps}};
}

Json json(const HistoryAnswer& answer) {
  Json stores = Json::array();
  for (const Store& store : answer.stores) stores.push_back(json(store));
  return {{"address", hex(answer.address)},
          {"searched_before", answer.before.steps},
          {"writes", stores},
          {"complete", answer.complete}};
}

Json json(const FoundAnswer& answer) {
  return {{"destination", answer.moment.position.steps},
          {"deliveries", answer.moment.deliveries},
          {"pc", hex(answer.pc)},
          {"address", hex(answer.address)}};
}

Json json(const QueryDocument& document) { return Json::parse(answer_json(document)); }

Json json(const StepAnswer& answer) {
  return {{"destination", answer.moment.position.steps},
          {"deliveries", answer.moment.deliveries},
          {"asked", answer.asked},
          {"taken", answer.taken}};
}

Json json(const AddressSpaceAnswer& answer) {
  return {{"chosen", hex(answer.chosen)}, {"here", hex(answer.here)}};
}

Json json(const AddressAnswer& answer) {
  static constexpr std::array<const char*, 3> kKinds{"memory", "device", "none"};
  Json out{{"address", hex(answer.request.address)},
           {"physical", nullptr},
           {"kind", kKinds[static_cast<std::size_t>(answer.kind)]}};
  if (answer.physical) out["physical"] = hex(*answer.physical);
  return out;
}

Json json(const ExamineAnswer& answer) {
  Json values = Json::array();
  for (const std::uint64_t value : answer.values) values.push_back(hex(value));
  return {{"address", hex(answer.request.address)},
          {"physical", answer.request.physical},
          {"size", answer.request.size},
          {"values", values},
          {"unreadable", hex(answer.unreadable)}};
}

Json json(const SegmentRegister& segment) {
  return {{"selector", hex(segment.selector)},
          {"base", hex(segment.base)},
          {"limit", hex(std::uint64_t{segment.limit})},
          {"attributes", hex(std::uint64_t{segment.attributes})}};
}

Json json(const CpuDump& dump) {
  static constexpr std::array<const char*, 16> kGeneral{"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                        "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                        "r12", "r13", "r14", "r15"};
  static constexpr std::array<const char*, 6> kSegments{"es", "cs", "ss", "ds", "fs", "gs"};
  const CpuState& s = dump.state;
  Json out;
  for (std::size_t n = 0; n < kGeneral.size(); ++n) out[kGeneral[n]] = hex(s.gpr[n]);
  out["rip"] = hex(s.gpr[kGprRip]);
  out["rflags"] = hex(std::uint64_t{dump.rflags});
  out["cpl"] = dump.cpl;
  out["halted"] = s.halted;
  out["long_mode"] = dump.long_mode;
  for (std::size_t n = 0; n < kSegments.size(); ++n) out[kSegments[n]] = json(s.segment[n]);
  out["ldt"] = json(s.ldtr);
  out["tr"] = json(s.tr);
  out["gdt"] = {{"base", hex(s.gdtr.base)}, {"limit", hex(std::uint64_t{s.gdtr.limit})}};
  out["idt"] = {{"base", hex(s.idtr.base)}, {"limit", hex(std::uint64_t{s.idtr.limit})}};
  out["cr0"] = hex(s.cr0);
  out["cr2"] = hex(s.cr2);
  out["cr3"] = hex(s.cr3);
  out["cr4"] = hex(s.cr4);
  out["efer"] = hex(s.msr.efer);
  for (std::size_t n = 0; n < s.dr.size(); ++n) out["dr" + std::to_string(n)] = hex(s.dr[n]);
  out["dr6"] = hex(s.dr6);
  out["dr7"] = hex(s.dr7);
  return out;
}

Json json(const std::vector<MappedRange>& ranges) {
  Json out = Json::array();
  for (const MappedRange& range : ranges) {
    out.push_back({{"address", hex(range.first)},
                   {"bytes", range.size},
                   {"user", range.user},
                   {"writable", range.writable}});
  }
  return out;
}

Json json(const std::vector<MappedPage>& pages) {
  Json out = Json::array();
  for (const MappedPage& page : pages) {
    out.push_back({{"address", hex(page.linear)},
                   {"physical", hex(page.physical)},
                   {"bytes", page.size},
                   {"entry", hex(page.entry)}});
  }
  return out;
}

Json json(const LapicDump& dump) {
  Json registers = Json::array();
  for (const std::uint32_t value : dump.registers) registers.push_back(hex(std::uint64_t{value}));
  return {{"enabled", dump.enabled}, {"x2apic", dump.x2apic}, {"registers", registers}};
}

Json json(const PicDump& dump) {
  Json out = Json::array();
  for (const PicDump::Chip& chip : dump.chips) {
    out.push_back({{"irr", chip.irr},
                   {"imr", chip.imr},
                   {"isr", chip.isr},
                   {"vector_base", chip.vector_base},
                   {"elcr", chip.elcr}});
  }
  return out;
}

Json json(const VersionAnswer& answer) {
  return {{"program", "chronovisor"}, {"version", answer.version}};
}

Json json(const BranchAnswer& answer) {
  return {{"position", answer.position.steps}, {"already", answer.already}};
}

Json json(const DiscardAnswer& answer) {
  return {{"destination", answer.position.steps}, {"live_report", some(answer.live_report)}};
}

Json json(const MediumAnswer& answer) {
  return {{"drive", answer.drive},
          {"file", answer.file.empty() ? Json(nullptr) : Json(answer.file)}};
}

Json json(const LiveAnswer& answer) {
  return {{"position", answer.position.steps},
          {"file", answer.file},
          {"terminal", some(answer.terminal)}};
}

Json json(const SettingAnswer& answer) {
  return {{"setting", answer.name}, {"on", answer.on}, {"meaning", answer.meaning}};
}

Json json(const TranslateAnswer& answer) {
  return {{"address", hex(answer.address)}, {"physical", hex(answer.physical)}};
}

Json json(const PixelAnswer& answer) {
  return {{"x", answer.x},
          {"y", answer.y},
          {"color", answer.color},
          {"physical", hex(answer.address)},
          {"length", answer.length_bytes}};
}

Json json(const WalkAnswer& answer) {
  Json entries = Json::array();
  for (const WalkAnswer::Entry& entry : answer.entries) {
    entries.push_back({{"level", entry.level},
                       {"index", entry.index},
                       {"physical", hex(entry.place)},
                       {"in_register", entry.in_register},
                       {"value", hex(entry.value)},
                       {"flags", entry.flags}});
  }
  Json out = json(answer.result);
  out["paging"] = answer.paging;
  out["cr3"] = hex(answer.cr3);
  out["trouble"] = some(answer.trouble);
  out["entries"] = entries;
  return out;
}

Json json(const DisassembleAnswer& answer) {
  Json lines = Json::array();
  for (const DisassembleAnswer::Line& line : answer.lines) {
    lines.push_back(
        {{"address", hex(line.address)}, {"text", some(line.text)}, {"here", line.here}});
  }
  return {{"instructions", lines}};
}

Json json(const LinuxKernelAnswer& answer) {
  return {{"version", answer.version}, {"text_address", hex(answer.text)}};
}

// The three below are what linux-log, linux-tasks and linux-modules --json print.

Json json(const LinuxLogAnswer& answer) {
  Json lines = Json::array();
  for (const linux_guest::LogLine& line : answer.lines) {
    lines.push_back({{"time_ns", line.time_ns}, {"level", line.level}, {"text", line.text}});
  }
  return lines;
}

Json json(const LinuxTasksAnswer& answer) {
  Json tasks = Json::array();
  for (const linux_guest::Task& task : answer.tasks) {
    tasks.push_back({{"pid", task.pid},
                     {"parent", task.parent},
                     {"name", task.name},
                     {"state", std::string(1, task.state)},
                     {"threads", task.threads},
                     {"kernel_thread", task.kernel_thread},
                     {"on_cpu", task.on_cpu},
                     {"task_struct", task.address}});
  }
  return tasks;
}

Json json(const LinuxModulesAnswer& answer) {
  Json modules = Json::array();
  for (const LinuxModulesAnswer::Module& module : answer.modules) {
    modules.push_back({{"name", module.name}, {"base", module.base}, {"size", module.size}});
  }
  return modules;
}

/// Texts out of a guest or a file may be any bytes.
std::string dump(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const char* name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
      return "usage";
    case ErrorCode::bad_input:
      return "bad-input";
    case ErrorCode::divergence:
      return "divergence";
    case ErrorCode::host:
      return "host";
  }
  return "unknown";
}

}  // namespace

std::string json_of(const Answer& answer) {
  return dump(std::visit([](const auto& one) { return json(one); }, answer));
}

std::string json_of_error(const Error& error) {
  const bool absent = dynamic_cast<const NotFound*>(&error) != nullptr;
  return dump(
      {{"error",
        {{"code", absent ? "not-found" : name_of(error.code())}, {"message", error.what()}}}});
}

}  // namespace chronovisor::session
