// Owns one whole guest: CPU, RAM, devices and how they are wired, and the
// order in which things happen at a position. Knows no recording: all input
// comes through an InputSource. One thread a machine; several machines may run
// on several threads.
//
// At a position N, in this order: timers that are due (in the fixed order of the
// model), inputs stamped N, interrupts, then the step N -> N+1. "The state
// at N" is the state on arrival, before any of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/hash.h"
#include "base/section.h"
#include "base/state.h"
#include "base/units.h"
#include "vmm/boot/boot.h"
#include "vmm/bus/output_router.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/debug_hooks.h"
#include "vmm/devices/core/card.h"
#include "vmm/devices/core/extra_device.h"
#include "vmm/devices/core/firmware_items.h"
#include "vmm/devices/core/media.h"
#include "vmm/engine/engine.h"
#include "vmm/machine/behaviour.h"
#include "vmm/machine/input.h"
#include "vmm/memory/dma_port.h"
#include "vmm/memory/page_space.h"

namespace chronovisor {

class Device;

/// The version of how save_sections() and page numbers describe a machine as a whole.
/// A section that changes has a version of its own (base/state.h), and does not raise
/// this one. docs/FORMATS.md has the policy.
inline constexpr std::uint32_t kMachineStateVersion = 1;

/// The model of recordings that name none.
inline constexpr const char* kFirstModel = "pc-1";

/// The shape of a machine and what it starts from, less the images.
struct MachineConfig {
  std::uint64_t memory_bytes = 256ULL << 20;
  std::int64_t rtc_start_unix_seconds = 0;  ///< UTC date at power-on
  std::uint64_t entropy_seed = 0;
  /// 0: steps take no time, and the clock is moved by idle waits and inputs alone.
  std::uint64_t ns_per_step = 1;
  std::string model = kFirstModel;
  /// What it is made to do where behaviour is chosen: by the boot loaders.
  std::uint32_t behaviour_version = kMachineBehaviourVersion;
  /// Of its state sections, by name; a section that is not here has version 1.
  /// Nothing: each has the newest there is. A machine knows its own, see config().
  std::optional<std::map<std::string, std::uint32_t>> section_versions{};
  std::vector<DriveConfig> drives{};
  std::vector<CardConfig> cards{};
  /// A reset and a triple fault start the firmware again; else they end the guest.
  bool restarts = false;
  ExtraDevices extras{};
  /// Where the firmware puts the ports of the power management, as the ACPI tables say it.
  std::uint16_t power_base = kBiosPowerBase;
  /// The flash memory that keeps the firmware's variables. It lies below the firmware.
  FlashConfig flash{};
  /// Where their contents come from at first; it may be shared by machines of several
  /// threads if it can be asked from them. Null: nothing can be read.
  std::shared_ptr<MediaSource> media{};
};

/// A moment finer than a position: after `deliveries` exceptions and interrupts
/// were delivered at it. A handler's first instruction is such a moment.
struct Moment {
  Position position;
  std::uint32_t deliveries = 0;
  auto operator<=>(const Moment&) const = default;
};

enum class MachineStop : std::uint8_t {
  reached,  ///< the moment asked for
  ended,    ///< the guest ended: see ending()
  breakpoint,
  watchpoint,
  interrupted,   ///< cancelled from outside
  idle_stopped,  ///< the input source asked to stop while idle
};

/// How a guest ended.
enum class EndReason : std::uint8_t {
  none = 0,
  poweroff = 1,
  reset = 2,
  triple_fault = 3,
  debug_exit = 4,
  halted = 5,          ///< nothing can ever wake it
  exception_loop = 6,  ///< exceptions without end: Cpu::kMostDeliveries and no step
};
[[nodiscard]] std::string_view end_reason_name(EndReason reason);

struct Ending {
  EndReason reason = EndReason::none;
  std::uint32_t code = 0;  ///< of debug_exit
  std::uint16_t port = 0;  ///< whose write ended the guest; 0: no port did
};
/// "poweroff", "debug-exit with code 3 by port 0x501".
[[nodiscard]] std::string describe(const Ending& ending);

struct Model;
struct RetiredCounts;
class IoObserver;
class PortObserver;

class Machine {
 public:
  /// Throws Error{usage} for an impossible shape, Error{host} without memory,
  /// Error{bad_input} for a model or a version of a section that there is not.
  explicit Machine(const MachineConfig& config);
  Machine(const MachineConfig& config, const Model& model);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Loads a guest into the machine as constructed. Throws Error{bad_input}.
  void boot(const BootRequest& request);

  /// Where to listen to what the guest puts out.
  [[nodiscard]] OutputRouter& outputs();
  /// Told of every access to a port; null: nobody.
  void set_port_observer(PortObserver* observer);
  /// Told of every access to a device; null: nobody.
  void set_io_observer(IoObserver* observer);
  /// The names of the devices' sections, in the model's order.
  [[nodiscard]] std::vector<std::string> device_names() const;
  /// The input source must outlive the machine or be replaced; default: none.
  void set_input(InputSource* source);
  void set_debug_hooks(DebugHooks* hooks);
  /// See Cpu::set_access_observer.
  void set_access_observer(AccessObserver* observer);
  /// See Cpu::set_retired_counts.
  void set_retired_counts(RetiredCounts* counts);
  /// Lets the engine that `make` makes for this machine's processor execute; a machine
  /// begins with a SoftEngine.
  void set_engine(const std::function<std::unique_ptr<CpuEngine>(Cpu&)>& make);
  [[nodiscard]] CpuEngine& engine() { return *engine_; }

  /// Runs until `until` at the latest, exactly; looks at `cancel` often, and returns
  /// `interrupted` when it is requested.
  MachineStop run(Moment until, CancelToken cancel = {});
  [[nodiscard]] Moment moment() const;
  /// The moment before the latest step or delivery (where a watchpoint's access began).
  [[nodiscard]] Moment moment_before() const;
  [[nodiscard]] Position position() const;
  /// Nothing that is due at this position has happened yet: this is the state
  /// at the position, as checkpoints and digests mean it.
  [[nodiscard]] bool at_arrival() const {
    return position().steps != handled_position_ && moment().deliveries == 0;
  }
  [[nodiscard]] VirtualTime now() const;
  [[nodiscard]] std::uint64_t idle_ns() const { return idle_ns_; }
  [[nodiscard]] const Ending& ending() const { return ending_; }

  /// To be looked at; the guest changes it, and from outside change_cpu() alone.
  [[nodiscard]] const Cpu& cpu() const { return *cpu_; }
  /// Lets `change` write registers, not for the guest (a debugger, a test). What
  /// follows from them is derived again and the engine is told, also when it throws.
  void change_cpu(const std::function<void(Cpu&)>& change);
  [[nodiscard]] Ram& ram() { return ram_; }
  /// Copies bytes of RAM, ROM and devices' memory (a screen's), as the processor would
  /// read them now, and changes nothing.
  /// @return how many from the start there are; the rest is left alone
  std::size_t look(GuestPhysical address, std::span<std::uint8_t> out) const;
  /// What drives read from, and who is told of it.
  [[nodiscard]] MediaPort& media() { return media_; }
  /// What devices' ports to memory connect to.
  [[nodiscard]] DmaBus& dma() { return dma_; }
  [[nodiscard]] const MachineConfig& config() const { return config_; }
  /// Whether some device takes inputs of the kind and number.
  [[nodiscard]] bool receives(InputKind kind, std::uint16_t device) const;
  /// For whoever looks at a device's state: by the name of its section; null: there is none.
  [[nodiscard]] const Device* device(std::string_view name) const;

  // ---- state ---------------------------------------------------------------
  /// All state but memory, as named sections in a fixed order.
  [[nodiscard]] std::vector<Section> save_sections();
  /// Takes a state of a machine of this model with these section versions. Pages are
  /// replaced before. Throws Error{bad_input}, naming the section, when one is missing,
  /// malformed, unknown or of another version; the machine must then be loaded anew.
  void load_sections(const std::vector<Section>& sections);
  /// All memory by page number: RAM's pages first, then those of further regions.
  [[nodiscard]] const PageSpace& pages() const { return pages_; }
  /// For the board: where its regions are.
  [[nodiscard]] PageSpace& memory() { return pages_; }
  /// Ends the epoch: hashes the pages that changed since the last call.
  /// @return those pages
  std::vector<std::uint32_t> close_epoch();
  /// Content hash of a page as of the last close_epoch().
  [[nodiscard]] const Hash128& page_hash(std::uint64_t page) const { return pages_.hash(page); }
  /// Replaces a page (restore); `hash` is that of `bytes`.
  void replace_page(std::uint64_t page, ByteView bytes, const Hash128& hash);
  /// As replace_page, of a page whose bytes RAM's source has; they are read when they are
  /// first wanted, which may be in the middle of an instruction: a run that throws for it
  /// leaves a machine that must be loaded anew. Sections are loaded after.
  /// @return false for pages that have to be replaced with their bytes
  void defer_page(std::uint64_t page, const Hash128& hash);
  /// Digest of the complete state. Closes the epoch when pages are dirty, and
  /// adds them to what the next close_epoch() returns.
  [[nodiscard]] Hash128 digest();
  [[nodiscard]] static Hash128 zero_page_hash();

 private:
  class Board;
  class OwnInput;

  void boot_firmware(const BootRequest& request);
  void copy_boot_state(const BootCpuState& boot);
  void restart();
  void attend_to_requests();
  void state_replaced();
  void advance_devices();
  void deliver_inputs();
  void add_own_inputs();
  [[nodiscard]] std::uint64_t next_deadline_ns() const;
  [[nodiscard]] std::uint64_t next_deadline_idle_ns() const;
  void move_clock(const Bytes& payload);
  [[nodiscard]] Position position_of_deadline(std::uint64_t deadline_ns) const;
  /// @return false when the run must stop
  bool idle(MachineStop& stop);
  void hash_dirty_pages();
  /// Something that has a section of its own.
  struct StatePart {
    std::string_view name;
    StateVersions versions;
    std::function<void(StateVisitor&)> visit;
    Device* device = nullptr;  ///< whose state it is, if a device's
  };
  [[nodiscard]] std::vector<StatePart> state_parts();
  [[nodiscard]] std::uint32_t version_of(std::string_view part) const;
  static void load_part(const StatePart& part, ByteView bytes);
  void settle_section_versions();

  MachineConfig config_;
  Ram ram_;
  PageSpace pages_{ram_};
  DmaBus dma_{ram_};
  MediaPort media_;
  std::unique_ptr<Board> board_;
  std::vector<std::unique_ptr<OwnInput>> own_inputs_;  ///< what comes to no device
  std::unique_ptr<Cpu> cpu_;
  std::unique_ptr<CpuEngine> engine_;
  InputSource* input_;
  NoInput no_input_;
  std::uint64_t idle_ns_ = 0;
  Ending ending_;
  std::uint64_t handled_position_ = kNever;  ///< where devices and inputs were last attended to
  std::uint64_t idle_hops_ = 0;              ///< idle jumps since the last step
};

}  // namespace chronovisor
