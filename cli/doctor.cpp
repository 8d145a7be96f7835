// doctor: tries what this host can do, and says it, for people or as JSON.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/firmware_files.h"
#include "cli/parser.h"
#include "host/host.h"
#include "vmm/engine/kvm/hardware_counter.h"
#include "vmm/engine/kvm/kvm_device.h"
#include "vmm/engine/kvm/self_test.h"
#include "vmm/engine/kvm/step_probe.h"

namespace chronovisor::cli {
namespace {

struct Finding {
  std::string name;
  std::string key;
  bool good = false;
  std::string detail;
};

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

/// "212 of 318 in 64-bit supervisor code, ...; the others are the soft processor's"
std::string exact_steps_text(const kvm::Capabilities& c) {
  if (c.exact_steps == nullptr) return "";
  std::vector<std::string> parts;
  using World = kvm::StepWorld;
  for (const auto& [world, name] : {std::pair{World::long64, "64-bit supervisor code"},
                                    {World::long64_user, "64-bit user code"},
                                    {World::protected32, "32-bit supervisor code"},
                                    {World::real, "real mode"}}) {
    const kvm::ExactSteps::Count count = c.exact_steps->count(world);
    if (count.tried == 0) continue;
    parts.push_back(std::to_string(count.exact) + " of " + std::to_string(count.tried) + " in " +
                    name);
  }
  return joined(parts) + "; the others are the soft processor's";
}

std::vector<Finding> kvm_findings(const kvm::Capabilities& c) {
  return {
      {"single-stepping in ring 0", "step_ring0", c.step_ring0,
       "100 steps of a loop, each where it must be"},
      {"single-stepping in ring 3", "step_ring3", c.step_ring3,
       c.step_ring3 ? "" : "user code is executed by the soft processor"},
      {"kinds of instruction stepped exactly", "exact_steps", c.exact_steps != nullptr,
       exact_steps_text(c)},
      {"HLT while stepping", "hlt_while_stepping", c.hlt_exits_while_stepping,
       c.hlt_exits_while_stepping ? "exits"
                                  : "is skipped without an exit: recognised before it is stepped"},
      {"cmpxchg16b in ring 0", "cmpxchg16b", c.cmpxchg16b,
       c.cmpxchg16b ? "" : "not emulated: executed by the soft processor"},
      {"SSE in ring 0", "sse_in_ring0", c.sse_in_ring0,
       c.sse_in_ring0 ? "" : "not emulated: executed by the soft processor"},
      {"faults without an IDT", "faults_shut_down", c.faults_shut_down,
       c.faults_shut_down ? "are exits that deliver nothing" : ""},
      {"a vCPU usable after a fault", "reusable_after_fault", c.reusable_after_fault,
       c.reusable_after_fault ? "" : "it is made anew each time"},
      {"TF hidden from PUSHF", "hides_trap_flag", c.hides_trap_flag,
       c.hides_trap_flag ? "" : "flag images are made by the soft processor in any case"},
      {"a step after MOV SS", "steps_mov_ss", c.steps_mov_ss,
       c.steps_mov_ss ? "" : "MOV SS is executed by the soft processor in any case"},
      {"a step after STI", "steps_sti", c.steps_sti,
       c.steps_sti ? "" : "STI is executed by the soft processor in any case"},
      {"PAE directory pointers left alone", "keeps_pdptes", c.keeps_pdptes,
       c.keeps_pdptes ? "" : "PAE code outside long mode is the soft processor's"},
      {"RF in the frames of faults", "pushes_resume_flag", c.pushes_resume_flag,
       c.pushes_resume_flag ? "" : "frames are made by the soft processor in any case"},
      {"segment granularity kept", "keeps_granularity", c.keeps_granularity,
       c.keeps_granularity ? "" : "segments are loaded by the soft processor"},
      {"32-bit paged code", "paged32", c.paged32,
       c.paged32 ? "" : "executed by the soft processor"},
      {"gates checked on exceptions", "checks_gates", c.checks_gates,
       c.checks_gates ? "" : "exceptions are delivered by the soft processor in any case"},
      {"IRET checked", "checks_iret", c.checks_iret,
       c.checks_iret ? "" : "executed by the soft processor in any case"},
      {"INT n in ring 0", "software_interrupts", c.software_interrupts,
       c.software_interrupts ? "" : "executed by the soft processor in any case"},
      {"RDFSBASE and its kin in ring 0", "steps_base_access", c.steps_base_access,
       c.steps_base_access ? "" : "executed by the soft processor in any case"},
      {"SYSCALL and SYSRET in ring 0", "fast_calls", c.fast_calls,
       c.fast_calls ? "" : "executed by the soft processor in any case"},
      {"near branches checked", "checks_branch_targets", c.checks_branch_targets,
       c.checks_branch_targets ? "" : "indirect ones are executed by the soft processor"},
      {"segment limits checked", "checks_segments", c.checks_segments,
       c.checks_segments ? ""
                         : "accesses that are not plainly within them are the soft processor's"},
      {"MSR filter", "msr_filter", c.msr_filter, ""},
      {"dirty page log", "dirty_log", c.dirty_log, ""},
      {"registers in the shared page", "synchronised_registers", c.synchronised_registers, ""},
  };
}

nlohmann::ordered_json to_json(const kvm::Availability& device, const kvm::Capabilities& c,
                               const kvm::CounterReport& counter, const std::string& engine,
                               const std::string& why) {
  nlohmann::ordered_json json;
  json["host"] = host_description();
  json["engines"]["soft"] = {{"usable", true}};
  nlohmann::ordered_json& kvm = json["engines"]["kvm"];
  kvm["usable"] = c.engine_possible();
  kvm["device_present"] = device.present;
  kvm["device_usable"] = device.usable;
  if (!device.problem.empty()) kvm["problem"] = device.problem;
  if (!device.remedy.empty()) kvm["remedy"] = device.remedy;
  if (device.usable) {
    if (!c.engine_possible()) kvm["problem"] = c.why_not();
    for (const Finding& f : kvm_findings(c)) kvm["tests"][f.key] = f.good;
    kvm["microseconds_per_step"] = c.microseconds_per_step;
    kvm["missing_cpu_features"] = c.missing_features;
  }
  nlohmann::ordered_json& pmu = json["hardware_counter"];
  pmu["present"] = counter.present;
  pmu["runs"] = counter.runs;
  pmu["deterministic"] = counter.deterministic;
  pmu["usable"] = counter.usable();
  pmu["run_on_hardware_before"] = false;
  pmu["used_by_an_engine"] = false;
  if (!counter.problem.empty()) pmu["problem"] = counter.problem;
  if (!counter.remedy.empty()) pmu["remedy"] = counter.remedy;
  for (const FirmwareFile* file : firmware_files()) {
    const std::string path = find_firmware(file->name, "");
    nlohmann::ordered_json& entry = json["firmware"][file->name];
    entry["what"] = file->what;
    entry["found"] = !path.empty();
    if (path.empty()) {
      entry["remedy"] = "apt install " + file->package;
    } else {
      entry["path"] = path;
    }
  }
  json["default_engine"] = engine;
  json["why"] = why;
  return json;
}

void print(const kvm::Availability& device, const kvm::Capabilities& c,
           const kvm::CounterReport& counter, const std::string& engine, const std::string& why) {
  const auto line = [](bool good, const std::string& what, const std::string& detail) {
    std::printf("  %-4s %s%s%s\n", good ? "yes" : "no", what.c_str(), detail.empty() ? "" : ": ",
                detail.c_str());
  };
  std::printf("host: %s\n\nsoft engine\n", host_description().c_str());
  line(true, "usable", "it needs nothing of the host");
  std::printf("\nkvm engine\n");
  line(device.present, "the device is there", device.present ? "" : device.problem);
  if (device.present)
    line(device.usable, "the device may be used", device.usable ? "" : device.problem);
  if (device.usable) {
    for (const Finding& f : kvm_findings(c)) line(f.good, f.name, f.detail);
    std::printf("       one step takes %.1f us\n", c.microseconds_per_step);
    if (!c.missing_features.empty()) {
      std::printf("       this KVM lacks %s; the soft processor executes what needs them\n",
                  joined(c.missing_features).c_str());
    }
  }
  line(c.engine_possible(), "usable for record, replay and compare",
       c.engine_possible() || !device.usable ? "" : c.why_not());
  if (!device.remedy.empty()) std::printf("       to fix: %s\n", device.remedy.c_str());
  std::printf("\ncounting by hardware (not yet run on hardware; no engine counts yet)\n");
  line(counter.present, "guest-only counter of retired branches", counter.problem);
  if (counter.present) {
    line(counter.deterministic,
         "the same count in " + std::to_string(counter.runs) + " runs of one loop", "");
  }
  if (!counter.remedy.empty()) std::printf("       to fix: %s\n", counter.remedy.c_str());
  std::printf("\nfirmware of pc-2\n");
  for (const FirmwareFile* file : firmware_files()) {
    const std::string path = find_firmware(file->name, "");
    line(!path.empty(), file->what,
         path.empty() ? file->name + " is missing; to fix: apt install " + file->package : path);
  }
  std::printf("\nengine used by default: %s, because %s\n", engine.c_str(), why.c_str());
}

struct DoctorOptions {
  bool json = false;
  std::string kvm_device = kvm::kDevicePath;
};

int doctor(const DoctorOptions& options) {
  const kvm::Availability device = kvm::availability(options.kvm_device);
  const kvm::Capabilities capabilities = kvm::self_test(options.kvm_device);
  const kvm::CounterReport counter = kvm::test_hardware_counter(device.usable, options.kvm_device);
  const std::string engine = "soft";
  const std::string why =
      capabilities.engine_possible()
          ? "it is exact and faster than single-stepping KVM; --engine kvm is there to check it"
          : "it needs nothing of the host, and KVM is not an engine here";
  if (options.json) {
    std::printf("%s\n", to_json(device, capabilities, counter, engine, why).dump(2).c_str());
  } else {
    print(device, capabilities, counter, engine, why);
  }
  return kDone;
}

}  // namespace

void add_doctor(Command& app, Action& action) {
  auto options = std::make_shared<DoctorOptions>();
  Command command = app.add_subcommand("doctor", "Try what this host can do, and say it");
  command.add_flag("--json", options->json, "Report as one JSON object on stdout");
  command.add_option("--kvm-device", options->kvm_device, "Where the host's KVM is").group("");
  command.callback([options, &action] { action = [options] { return doctor(*options); }; });
}

}  // namespace chronovisor::cli
