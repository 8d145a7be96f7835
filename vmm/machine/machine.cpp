#include "vmm/machine/machine.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "base/error.h"
#include "base/ordered_loader.h"
#include "base/text.h"
#include "vmm/boot/firmware_image.h"
#include "vmm/boot/tables.h"
#include "vmm/devices/core/firmware_items.h"
#include "vmm/engine/soft/soft_engine.h"
#include "vmm/machine/board.h"

namespace chronovisor {
namespace {

/// How long the CPU runs before a cancel is looked for.
constexpr std::uint64_t kSliceSteps = 4'000'000;
/// Idle jumps without any step after which a guest counts as halted for good:
/// timers tick, but their interrupts can never get through.
constexpr std::uint64_t kMostIdleHops = 1'000'000;
/// What a loaded state may have; beyond, virtual time would overflow.
constexpr std::uint64_t kMostIdleNs = 1ULL << 62;

std::uint16_t attributes_of(const BootSegment& s) {
  const auto bit = [](bool on, unsigned at) { return static_cast<unsigned>(on) << at; };
  return static_cast<std::uint16_t>(s.type | bit(s.code_or_data, 4) |
                                    (static_cast<unsigned>(s.privilege) << 5) | bit(s.present, 7) |
                                    bit(s.available, 12) | bit(s.long_code, 13) |
                                    bit(s.default_big, 14) | bit(s.granularity, 15));
}

SegmentRegister register_of(const BootSegment& s) {
  return {s.selector, attributes_of(s), s.limit_bytes, s.base};
}

}  // namespace

std::string_view end_reason_name(EndReason reason) {
  switch (reason) {
    case EndReason::none:
      return "none";
    case EndReason::poweroff:
      return "poweroff";
    case EndReason::reset:
      return "reset";
    case EndReason::triple_fault:
      return "triple-fault";
    case EndReason::debug_exit:
      return "debug-exit";
    case EndReason::halted:
      return "halted";
    case EndReason::exception_loop:
      return "exception-loop";
  }
  return "unknown";
}

std::string describe(const Ending& ending) {
  std::string text(end_reason_name(ending.reason));
  if (ending.reason == EndReason::debug_exit) text += " with code " + std::to_string(ending.code);
  if (ending.port != 0) text += " by port " + hex_text(ending.port);
  return text;
}

Hash128 Machine::zero_page_hash() { return PageSpace::zero_hash(); }

/// An input that no device takes.
class Machine::OwnInput final : public InputReceiver {
 public:
  explicit OwnInput(std::function<void(const Input&)> take) : take_(std::move(take)) {}
  void receive(const Input& input) override { take_(input); }

 private:
  std::function<void(const Input&)> take_;
};

namespace {

const Model& model_named(const std::string& name) {
  if (const Model* model = find_model(name)) return *model;
  throw Error(ErrorCode::bad_input, "this program has no machine model \"" + name + "\"");
}

/// Where the machine has a screen with an option ROM.
void place_video_bios(PageSpace& pages, const BootRequest& request) {
  PagedRegion* const video = pages.region(kVideoBiosRegion);
  if (video != nullptr) video->write(0, request.video_bios);
}

/// Throws Error{usage} for flash memory that no ROM has room for.
const MachineConfig& checked(const MachineConfig& config) {
  const FlashConfig& flash = config.flash;
  if (flash.size_bytes % kPageSize != 0 || flash.below_4g_bytes % kPageSize != 0 ||
      flash.below_4g_bytes > kFirmwareRomBytes ||
      flash.size_bytes > kFirmwareRomBytes - flash.below_4g_bytes) {
    throw Error(ErrorCode::usage,
                "firmware of " + std::to_string(flash.below_4g_bytes) + " bytes and variables of " +
                    std::to_string(flash.size_bytes) +
                    " below it: both are whole pages of 4 KiB, and 16 MiB at most together");
  }
  return config;
}

}  // namespace

Machine::Machine(const MachineConfig& config) : Machine(config, model_named(config.model)) {}

Machine::Machine(const MachineConfig& config, const Model& model)
    : config_(checked(config)),
      ram_(config.memory_bytes),
      board_(std::make_unique<Board>(
          *this,
          with_extras(with_cards(with_drives(model, config.drives), config.drives, config.cards),
                      config.drives, config.extras))),
      cpu_(std::make_unique<Cpu>(ram_, *board_)),
      engine_(std::make_unique<SoftEngine>(*cpu_)),
      input_(&no_input_) {
  if (config.ns_per_step > 1000) {
    throw Error(ErrorCode::usage, "ns per step must be from 0 to 1000");
  }
  config_.model = model.name;
  media_.set_source(config.media);
  settle_section_versions();
  add_own_inputs();
  board_->attach(*cpu_);
  dma_.set_observer(cpu_.get());
  board_->reset();
}

Machine::~Machine() = default;

void Machine::add_own_inputs() {
  const auto add = [&](InputKind kind, std::function<void(const Input&)> take) {
    own_inputs_.push_back(std::make_unique<OwnInput>(std::move(take)));
    board_->inputs().add(kind, 0, *own_inputs_.back());
  };
  add(InputKind::reset_button, [this](const Input&) {
    if (config_.restarts) {
      restart();
    } else {
      ending_ = {EndReason::reset, 0};
    }
  });
  add(InputKind::clock, [this](const Input& input) { move_clock(input.payload); });
  add(InputKind::wakeup, [](const Input&) {});  // it has ended an idle wait, and that is all
}

void Machine::boot(const BootRequest& request) {
  if (request.kind == BootKind::firmware) {
    boot_firmware(request);
    return;
  }
  check_video_bios(request);
  place_video_bios(pages_, request);
  board_->set_up_by_firmware();
  const BootCpuState entry = load_guest(ram_, request);
  write_firmware_tables(ram_, board_->firmware());
  copy_boot_state(entry);
}

/// The processor stands at the reset vector as it was made; what firmware finds is put
/// into ROM and into the regions of the devices that show it.
void Machine::boot_firmware(const BootRequest& request) {
  check_firmware(request);
  PagedRegion* const rom = pages_.region(kFirmwareRomRegion);
  PagedRegion* const items = pages_.region(kFirmwareItemsRegion);
  if (rom == nullptr || items == nullptr) {
    throw Error(ErrorCode::bad_input,
                "a machine of the model " + config_.model + " does not start from firmware");
  }
  const FlashConfig flash{request.variables.size(),
                          request.variables.empty() ? 0 : request.kernel.size()};
  if (flash != config_.flash) {
    throw Error(ErrorCode::bad_input, request.kernel_name +
                                          ": the machine was not made for these sizes of firmware "
                                          "and variables");
  }
  rom->write(rom->size() - request.kernel.size() - flash.size_bytes, request.variables);
  rom->write(rom->size() - request.kernel.size(), request.kernel);
  board_->show_firmware();
  const Bytes packed = pack_firmware_items(firmware_items(ram_, board_->firmware(), request));
  CHECK_THAT(packed.size() <= items->size(), "what firmware is told of the machine is too much");
  items->write(0, packed);
  place_video_bios(pages_, request);
  state_replaced();
}

/// The reset line. Memory, media and what a battery keeps stay; time goes on.
void Machine::restart() {
  board_->reset();
  cpu_->reset_line();
  engine_->state_replaced();
}

/// What a device asked for during the step that has retired belongs to that step.
void Machine::attend_to_requests() {
  const Ending& asked = board_->ending_request();
  if (asked.reason == EndReason::none) return;
  if (asked.reason == EndReason::reset && config_.restarts) {
    restart();
  } else {
    ending_ = asked;
  }
}

void Machine::copy_boot_state(const BootCpuState& boot) {
  CpuState& state = cpu_->state;
  for (unsigned n = 0; n < boot.gpr.size(); ++n) state.gpr[n] = boot.gpr[n];
  state.gpr[kGprRip] = boot.rip;
  state.cr0 = boot.cr0 | kCr0Et;
  state.cr3 = boot.cr3;
  state.cr4 = boot.cr4;
  state.msr.efer = boot.efer;
  state.gdtr = {boot.gdt.base, boot.gdt.limit_bytes};
  state.idtr = {boot.idt.base, boot.idt.limit_bytes};
  state.segment[kEs] = register_of(boot.es);
  state.segment[kCs] = register_of(boot.cs);
  state.segment[kSs] = register_of(boot.ss);
  state.segment[kDs] = register_of(boot.ds);
  state.segment[kFs] = register_of(boot.fs);
  state.segment[kGs] = register_of(boot.gs);
  state.ldtr = register_of(boot.ldtr);
  state.tr = register_of(boot.tr);
  state.msr.mtrr_def_type = 0xc06;  // as firmware leaves it: MTRRs on, memory write-back
  cpu_->set_flags(static_cast<std::uint32_t>(boot.rflags));
  state_replaced();
}

const Device* Machine::device(std::string_view name) const {
  for (const auto& device : board_->devices()) {
    if (device->name() == name) return device.get();
  }
  return nullptr;
}

std::size_t Machine::look(GuestPhysical address, std::span<std::uint8_t> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const GuestPhysical here{address.value + done};
    if (const std::size_t read = ram_.read(here, out.subspan(done)); read != 0) {
      done += read;
      continue;
    }
    const auto byte = board_->peek(here);
    if (!byte) break;
    out[done++] = *byte;
  }
  return done;
}

bool Machine::receives(InputKind kind, std::uint16_t device) const {
  return board_->inputs().receives(kind, device);
}

OutputRouter& Machine::outputs() { return board_->outputs(); }
void Machine::set_io_observer(IoObserver* observer) { board_->set_io_observer(observer); }
std::vector<std::string> Machine::device_names() const {
  std::vector<std::string> names;
  for (const auto& device : board_->devices()) names.emplace_back(device->name());
  return names;
}
void Machine::set_port_observer(PortObserver* observer) { board_->set_port_observer(observer); }
void Machine::set_input(InputSource* source) { input_ = source != nullptr ? source : &no_input_; }
void Machine::set_debug_hooks(DebugHooks* hooks) { cpu_->set_debug_hooks(hooks); }
void Machine::set_access_observer(AccessObserver* observer) { cpu_->set_access_observer(observer); }

Position Machine::position() const { return cpu_->position(); }
Moment Machine::moment() const { return {cpu_->position(), cpu_->deliveries()}; }
Moment Machine::moment_before() const {
  const auto [position, deliveries] = cpu_->moment_before();
  return {position, deliveries};
}
VirtualTime Machine::now() const {
  return {cpu_->position().steps * config_.ns_per_step + idle_ns_};
}

std::uint64_t Machine::next_deadline_ns() const { return board_->deadlines().next_ns(); }

/// The idle time at which the next timer is due if no step is made, or kNever.
std::uint64_t Machine::next_deadline_idle_ns() const {
  const std::uint64_t deadline = next_deadline_ns();
  if (deadline == kNever) return kNever;
  const std::uint64_t worked = position().steps * config_.ns_per_step;
  return std::max(deadline, worked + idle_ns_) - worked;
}

/// Moves virtual time on, by an input; a timer that would be passed is due first.
void Machine::move_clock(const Bytes& payload) {
  std::uint64_t target = 0;
  if (payload.size() == sizeof(target)) {
    for (std::size_t n = payload.size(); n-- > 0;) target = target << 8 | payload[n];
  }
  if (target < idle_ns_) {
    throw Error(ErrorCode::bad_input, "the input log moves the clock back");
  }
  idle_ns_ = std::min(target, next_deadline_idle_ns());
  advance_devices();
}

/// The first position whose virtual time is at least `deadline_ns`.
Position Machine::position_of_deadline(std::uint64_t deadline_ns) const {
  if (deadline_ns == kNever) return {kNever};
  if (deadline_ns <= idle_ns_) return {0};
  if (config_.ns_per_step == 0) return {kNever};
  return {(deadline_ns - idle_ns_ + config_.ns_per_step - 1) / config_.ns_per_step};
}

void Machine::advance_devices() { board_->deadlines().advance(now()); }

void Machine::deliver_inputs() {
  while (true) {
    const std::optional<Input> input = input_->take({position(), idle_ns_}, board_->inputs());
    if (!input) return;
    board_->inputs().deliver(*input);
  }
}

bool Machine::idle(MachineStop& stop) {
  const auto end = [&] {
    ending_ = {EndReason::halted};
    stop = MachineStop::ended;
    return false;
  };
  if (!cpu_->flags.test(kIf) && !board_->nmi_possible()) return end();
  handled_position_ = position().steps;
  const std::uint64_t deadline_idle = next_deadline_idle_ns();
  const IdleOutcome outcome = input_->idle({position(), idle_ns_}, deadline_idle);
  switch (outcome.kind) {
    case IdleOutcome::Kind::deadline:
      CHECK_THAT(deadline_idle != kNever, "an idle wait ended at a timer that does not exist");
      idle_ns_ = deadline_idle;
      if (++idle_hops_ > kMostIdleHops) return end();
      return true;
    case IdleOutcome::Kind::early:
      CHECK_THAT(outcome.idle_ns >= idle_ns_ && outcome.idle_ns <= deadline_idle,
                 "an idle wait ended outside its bounds");
      idle_ns_ = outcome.idle_ns;
      return true;
    case IdleOutcome::Kind::forever:
      return end();
    case IdleOutcome::Kind::stop:
      stop = MachineStop::idle_stopped;
      return false;
  }
  return false;
}

void Machine::set_retired_counts(RetiredCounts* counts) { cpu_->set_retired_counts(counts); }

void Machine::set_engine(const std::function<std::unique_ptr<CpuEngine>(Cpu&)>& make) {
  engine_->collect_dirty_pages();
  std::unique_ptr<CpuEngine> engine = make(*cpu_);
  CHECK_THAT(engine != nullptr, "a machine has an engine");
  engine_ = std::move(engine);
}

void Machine::change_cpu(const std::function<void(Cpu&)>& change) {
  struct Told {
    Machine& machine;
    ~Told() { machine.state_replaced(); }
  } const told{*this};
  change(*cpu_);
}

/// Registers of the Cpu were replaced, not by the guest.
void Machine::state_replaced() {
  cpu_->state_replaced();
  engine_->state_replaced();
}

MachineStop Machine::run(Moment until, CancelToken cancel) {
  while (true) {
    if (moment() >= until) return MachineStop::reached;
    if (ending_.reason != EndReason::none) return MachineStop::ended;
    if (cpu_->deliveries() >= Cpu::kMostDeliveries) {
      ending_ = {EndReason::exception_loop};
      return MachineStop::ended;
    }
    if (cancel.requested()) return MachineStop::interrupted;
    handled_position_ = position().steps;
    advance_devices();
    deliver_inputs();
    const Position here = position();
    Position target{here.steps + kSliceSteps};
    target = std::min({target, position_of_deadline(next_deadline_ns()), input_->next_look(here)});
    target = std::max(target, Position{here.steps + 1});
    CpuStop stop = CpuStop::budget;
    if (here < until.position) {
      // What is due on arrival there comes before anything is delivered there.
      stop = engine_->run(std::min(target, until.position), 0);
    } else {
      stop = engine_->run(until.position, until.deliveries);
    }
    if (position() != here) idle_hops_ = 0;
    attend_to_requests();
    switch (stop) {
      case CpuStop::budget:
      case CpuStop::recheck:
        break;
      case CpuStop::breakpoint:
        return MachineStop::breakpoint;
      case CpuStop::watchpoint:
        return MachineStop::watchpoint;
      case CpuStop::shutdown:
        if (config_.restarts) {
          restart();
          break;
        }
        ending_ = {EndReason::triple_fault};
        return MachineStop::ended;
      case CpuStop::halted: {
        // What is already due at this very moment comes before any waiting.
        if (next_deadline_ns() <= now().ns) break;
        MachineStop idle_stop = MachineStop::reached;
        if (!idle(idle_stop)) return idle_stop;
        break;
      }
    }
  }
}

// ---- state ---------------------------------------------------------------------

/// In the order of their sections. The regions come last: where there are none, the
/// state is what it was before there were regions.
std::vector<Machine::StatePart> Machine::state_parts() {
  std::vector<StatePart> parts;
  parts.push_back({"cpu", {}, [this](StateVisitor& v) { cpu_->visit_state(v); }});
  parts.push_back({"machine", {}, [this](StateVisitor& v) {
                     bounded_field(v, "idle_ns", idle_ns_, kMostIdleNs);
                   }});
  for (const auto& device : board_->devices()) {
    parts.push_back({device->name(), device->state_versions(),
                     [&device](StateVisitor& v) { device->visit_state(v); }, device.get()});
  }
  if (!pages_.layout().empty()) {
    parts.push_back({kRegionsSection, {}, [this](StateVisitor& v) { pages_.visit_layout(v); }});
  }
  return parts;
}

/// Takes the newest versions where none were asked for, and refuses what there is not.
void Machine::settle_section_versions() {
  std::map<std::string, std::uint32_t> versions;
  std::map<std::string, std::uint32_t> asked =
      config_.section_versions.value_or(std::map<std::string, std::uint32_t>{});
  for (const StatePart& part : state_parts()) {
    const std::string name(part.name);
    std::uint32_t version = config_.section_versions ? 1 : part.versions.newest;
    if (const auto found = asked.find(name); found != asked.end()) {
      version = found->second;
      asked.erase(found);
    }
    if (version < part.versions.oldest || version > part.versions.newest) {
      throw Error(ErrorCode::bad_input,
                  "state section " + name + " has version " + std::to_string(version) +
                      "; this program has versions " + std::to_string(part.versions.oldest) +
                      " to " + std::to_string(part.versions.newest) + " of it");
    }
    if (version != 1) versions[name] = version;
  }
  if (!asked.empty()) {
    throw Error(ErrorCode::bad_input, "state section " + asked.begin()->first +
                                          " is of no part of the machine model " + config_.model);
  }
  config_.section_versions = std::move(versions);
  for (const auto& device : board_->devices())
    device->set_state_version(version_of(device->name()));
}

std::uint32_t Machine::version_of(std::string_view part) const {
  const auto found = config_.section_versions->find(std::string(part));
  return found == config_.section_versions->end() ? 1 : found->second;
}

std::vector<Section> Machine::save_sections() {
  std::vector<Section> sections;
  for (const StatePart& part : state_parts()) {
    if (part.device != nullptr && part.device->as_after_reset()) continue;
    const std::uint32_t version = version_of(part.name);
    StateSaver saver;
    part.visit(saver);
    sections.push_back({section_name(part.name, version), saver.take()});
  }
  return sections;
}

void Machine::load_part(const StatePart& part, ByteView bytes) {
  try {
    OrderedLoader quick(bytes);
    part.visit(quick);
    if (quick.fitted()) return;
  } catch (const Error&) {
    // What is wrong is found again, and said, below.
  }
  StateLoader loader(bytes, part.name);
  try {
    part.visit(loader);
  } catch (const Error& error) {
    const std::string begin = "state section " + std::string(part.name);
    const std::string what = error.what();
    if (what.starts_with(begin)) throw;
    throw Error(error.code(), begin + ": " + what);
  }
  loader.finish();
}

void Machine::load_sections(const std::vector<Section>& sections) {
  struct Saved {
    SectionName name;
    ByteView bytes;
    bool loaded = false;
  };
  std::vector<Saved> saved;
  saved.reserve(sections.size());
  for (const Section& section : sections) {
    saved.push_back({parse_section_name(section.name), section.bytes});
  }
  // They come in the order of the parts, so the next is looked at first.
  std::size_t next = 0;
  const auto section_of = [&](std::string_view part) -> Saved* {
    for (std::size_t n = 0; n < saved.size(); ++n) {
      const std::size_t at = (next + n) % saved.size();
      if (saved[at].name.name != part) continue;
      next = at + 1;
      return &saved[at];
    }
    return nullptr;
  };
  for (const StatePart& part : state_parts()) {
    Saved* const found = section_of(part.name);
    if (found == nullptr) {
      // What need not be saved after a reset is so when it is missing.
      if (part.device != nullptr) {
        part.device->reset();
        if (part.device->as_after_reset()) continue;
      }
      throw Error(ErrorCode::bad_input, "state section " + std::string(part.name) +
                                            " is missing: a machine of the model " + config_.model +
                                            " has one");
    }
    if (found->name.version != version_of(part.name)) {
      throw Error(ErrorCode::bad_input, "state section " + std::string(part.name) +
                                            " has version " + std::to_string(found->name.version) +
                                            ", this machine's has " +
                                            std::to_string(version_of(part.name)));
    }
    load_part(part, found->bytes);
    found->loaded = true;
  }
  for (const Saved& left : saved) {
    if (left.loaded) continue;
    const bool twice = std::ranges::count(saved, left.name.name,
                                          [](const Saved& one) { return one.name.name; }) > 1;
    throw Error(
        ErrorCode::bad_input,
        "state section " + left.name.name +
            (twice ? " is there twice" : " is of no part of the machine model " + config_.model));
  }
  ending_ = {};
  handled_position_ = kNever;
  idle_hops_ = 0;
  board_->state_restored();
  state_replaced();
}

void Machine::hash_dirty_pages() {
  engine_->collect_dirty_pages();
  pages_.hash_dirty_pages();
  cpu_->drop_write_tags();
}

std::vector<std::uint32_t> Machine::close_epoch() {
  hash_dirty_pages();
  return pages_.take_changed();
}

void Machine::replace_page(std::uint64_t page, ByteView bytes, const Hash128& hash) {
  if (const auto known = pages_.processor_page(page)) cpu_->page_replaced(*known);
  pages_.replace(page, bytes, hash);
}

void Machine::defer_page(std::uint64_t page, const Hash128& hash) {
  pages_.defer(page, hash);
  cpu_->page_replaced(page);
}

Hash128 Machine::digest() {
  hash_dirty_pages();
  Hasher hasher;
  for (const Section& section : save_sections()) {
    hasher.add(as_bytes(section.name));
    hasher.add(section.bytes);
  }
  pages_.add_to(hasher);
  return hasher.finish();
}

}  // namespace chronovisor
