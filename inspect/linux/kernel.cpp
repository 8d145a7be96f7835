#include "inspect/linux/kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace chronovisor::linux_guest {
namespace {

constexpr std::size_t kMostListEntries = 1U << 20;
constexpr std::uint64_t kMostLogRecords = 1U << 20;
constexpr std::size_t kMostLogText = 1U << 16;
constexpr std::size_t kMostModuleSymbols = 1U << 16;
constexpr std::uint64_t kMostModuleUnwindEntries = 1U << 20;
constexpr std::size_t kMostNameBytes = 512;
constexpr std::uint64_t kKernelThread = 0x00200000;  // PF_KTHREAD
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

/// Source: Linux, include/linux/sched.h and fs/proc/array.c.
char state_letter(std::uint64_t state, std::uint64_t exit_state) {
  constexpr std::uint64_t kIdle = 0x402;  // TASK_UNINTERRUPTIBLE | TASK_NOLOAD
  if ((exit_state & 0x20) != 0) return 'Z';
  if ((exit_state & 0x10) != 0) return 'X';
  if ((state & kIdle) == kIdle) return 'I';
  if ((state & 1) != 0) return 'S';
  if ((state & 2) != 0) return 'D';
  if ((state & 4) != 0) return 'T';
  if ((state & 8) != 0) return 't';
  if ((state & 0x40) != 0) return 'P';
  return state == 0 ? 'R' : '?';
}

}  // namespace

Kernel::Kernel(Machine& machine)
    : memory_(machine), image_(memory_.image()), symbols_(read_kallsyms(image_.bytes)) {}

std::optional<std::uint64_t> Kernel::find(std::string_view name) const {
  const auto found = std::find_if(symbols_.begin(), symbols_.end(),
                                  [&](const KernelSymbol& symbol) { return symbol.name == name; });
  if (found == symbols_.end()) return std::nullopt;
  return found->address;
}

std::uint64_t Kernel::address_of(std::string_view name) const {
  if (const auto found = find(name)) return *found;
  throw Error(ErrorCode::bad_input, "the kernel has no symbol " + std::string(name));
}

const Btf& Kernel::types() const {
  if (types_ == nullptr) types_ = std::make_unique<Btf>(find_btf(image_.bytes));
  return *types_;
}

std::vector<KernelSymbol> Kernel::early_symbols() const {
  // head_64.S and what it calls before it jumps to where the kernel is linked.
  static constexpr std::array<std::string_view, 7> kEarly{
      "startup_64",   "secondary_startup_64", "secondary_startup_64_no_verify", "verify_cpu",
      "__startup_64", "startup_64_setup_env", "startup_64_setup_gdt_idt"};
  std::vector<KernelSymbol> early;
  for (const KernelSymbol& symbol : symbols_) {
    if (std::find(kEarly.begin(), kEarly.end(), symbol.name) == kEarly.end()) continue;
    const auto physical = memory_.physical(symbol.address);
    if (physical) early.push_back({*physical, symbol.type, symbol.name});
  }
  std::sort(early.begin(), early.end(),
            [](const KernelSymbol& a, const KernelSymbol& b) { return a.address < b.address; });
  return early;
}

std::string Kernel::version() const {
  const auto banner = find("linux_banner");
  std::string text = banner ? memory_.text(*banner, kMostNameBytes) : "";
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// A whole-byte member of the object at an address, as an integer.
std::uint64_t Kernel::member(std::uint64_t object, std::string_view structure,
                             std::string_view path) const {
  const Field field = types().need(structure, path);
  return memory_.integer(object + field.offset(), std::min<std::size_t>(field.size(), 8));
}

void Kernel::for_each_in_list(std::uint64_t head, std::uint64_t link_offset,
                              const std::function<void(std::uint64_t)>& visit) const {
  std::size_t seen = 0;
  for (std::uint64_t link = memory_.integer(head); link != head; link = memory_.integer(link)) {
    if (++seen > kMostListEntries)
      throw Error(ErrorCode::bad_input, "a kernel list has no end here");
    visit(link - link_offset);
  }
}

// ---- the log ---------------------------------------------------------------------------
// Source: Linux, kernel/printk/printk_ringbuffer.{h,c}.

std::string Kernel::log_text(std::uint64_t ring, std::uint64_t begin, std::uint64_t next,
                             std::uint64_t length) const {
  if ((begin & 1) != 0 || (next & 1) != 0) return "";  // a record without text
  const std::uint64_t bits = member(ring, "prb_data_ring", "size_bits");
  if (bits > 40) return "";
  const std::uint64_t mask = (1ULL << bits) - 1;
  const std::uint64_t data = member(ring, "prb_data_ring", "data");
  constexpr std::uint64_t kIdBytes = 8;
  // A record that would wrap lies at the start of the buffer as a whole.
  const bool wrapped = (begin & ~mask) != (next & ~mask) && (next & mask) != 0;
  const std::uint64_t at = wrapped ? 0 : begin & mask;
  return memory_.text(data + at + kIdBytes, std::min<std::uint64_t>(length, kMostLogText));
}

std::vector<LogLine> Kernel::log() const {
  const Btf& btf = types();
  const std::uint64_t ring = memory_.integer(address_of("prb"));
  const std::uint64_t descriptors = ring + btf.need("printk_ringbuffer", "desc_ring").offset();
  const std::uint64_t text_ring = ring + btf.need("printk_ringbuffer", "text_data_ring").offset();
  const std::uint64_t bits = member(descriptors, "prb_desc_ring", "count_bits");
  if (bits > 32) throw Error(ErrorCode::bad_input, "the kernel's log is not set up here");
  const std::uint64_t descs = member(descriptors, "prb_desc_ring", "descs");
  const std::uint64_t infos = member(descriptors, "prb_desc_ring", "infos");
  const std::uint64_t head = member(descriptors, "prb_desc_ring", "head_id.counter");
  const std::uint64_t tail = member(descriptors, "prb_desc_ring", "tail_id.counter");
  const std::uint64_t desc_size = btf.size_of("prb_desc");
  const std::uint64_t info_size = btf.size_of("printk_info");
  const Field level = btf.need("printk_info", "level");
  constexpr std::uint64_t kIdMask = ~(3ULL << 62);
  constexpr std::uint64_t kCommitted = 1;
  constexpr std::uint64_t kFinalized = 2;
  std::vector<LogLine> lines;
  for (std::uint64_t n = 0; n < kMostLogRecords; ++n) {
    const std::uint64_t id = (tail + n) & kIdMask;
    const std::uint64_t index = id & ((1ULL << bits) - 1);
    const std::uint64_t desc = descs + index * desc_size;
    const std::uint64_t state = member(desc, "prb_desc", "state_var.counter");
    const std::uint64_t stage = state >> 62;
    if ((state & kIdMask) == id && (stage == kCommitted || stage == kFinalized)) {
      const std::uint64_t info = infos + index * info_size;
      LogLine line;
      line.time_ns = member(info, "printk_info", "ts_nsec");
      line.level = static_cast<unsigned>(memory_.integer(info + level.offset(), 1) >>
                                         (level.bit_offset % 8)) &
                   7U;
      line.text = log_text(text_ring, member(desc, "prb_desc", "text_blk_lpos.begin"),
                           member(desc, "prb_desc", "text_blk_lpos.next"),
                           member(info, "printk_info", "text_len"));
      lines.push_back(std::move(line));
    }
    if (id == (head & kIdMask)) break;
  }
  return lines;
}

// ---- processes -------------------------------------------------------------------------

std::optional<std::uint64_t> Kernel::current_task() const {
  // One CPU: its per-CPU area begins at the first entry.
  const auto offsets = find("__per_cpu_offset");
  if (!offsets) return std::nullopt;
  const std::uint64_t area = memory_.integer(*offsets);
  if (const auto hot = find("pcpu_hot")) {
    if (const auto field = types().field("pcpu_hot", "current_task")) {
      return memory_.integer(area + *hot + field->offset());
    }
  }
  if (const auto current = find("current_task")) return memory_.integer(area + *current);
  return std::nullopt;
}

Task Kernel::task_at(std::uint64_t address) const {
  const Btf& btf = types();
  Task task;
  task.address = address;
  task.pid = static_cast<std::uint32_t>(member(address, "task_struct", "pid"));
  task.parent = static_cast<std::uint32_t>(
      member(member(address, "task_struct", "real_parent"), "task_struct", "tgid"));
  task.threads = member(member(address, "task_struct", "signal"), "signal_struct", "nr_threads");
  task.kernel_thread = (member(address, "task_struct", "flags") & kKernelThread) != 0;
  const char* const state = btf.field("task_struct", "__state") ? "__state" : "state";
  task.state = state_letter(member(address, "task_struct", state),
                            member(address, "task_struct", "exit_state"));
  const Field name = btf.need("task_struct", "comm");
  task.name = memory_.text(address + name.offset(), name.size());
  return task;
}

std::optional<Task> Kernel::current() const {
  const auto address = current_task();
  if (!address) return std::nullopt;
  Task task = task_at(*address);
  task.on_cpu = true;
  return task;
}

std::vector<Task> Kernel::tasks() const {
  const std::uint64_t first = address_of("init_task");
  const std::uint64_t link = types().need("task_struct", "tasks").offset();
  std::vector<Task> all{task_at(first)};
  for_each_in_list(first + link, link, [&](std::uint64_t task) { all.push_back(task_at(task)); });
  const auto current = current_task();
  for (Task& task : all) task.on_cpu = current == task.address;
  return all;
}

std::optional<GuestPhysical> Kernel::user_tables(const Task& task) const {
  const std::uint64_t memory = member(task.address, "task_struct", "mm");
  if (memory == 0) return std::nullopt;
  const auto tables = memory_.physical(member(memory, "mm_struct", "pgd"));
  if (!tables) return std::nullopt;
  return GuestPhysical{*tables};
}

// ---- modules ---------------------------------------------------------------------------

void Kernel::read_module_symbols(std::uint64_t address, Module& module) const {
  const Btf& btf = types();
  const std::uint64_t table = member(address, "module", "kallsyms");
  if (table == 0) return;
  const std::uint64_t symbols = member(table, "mod_kallsyms", "symtab");
  const std::uint64_t strings = member(table, "mod_kallsyms", "strtab");
  const std::uint64_t types_of = member(table, "mod_kallsyms", "typetab");
  const std::uint64_t count =
      std::min<std::uint64_t>(member(table, "mod_kallsyms", "num_symtab"), kMostModuleSymbols);
  const std::uint64_t size = btf.size_of("elf64_sym");
  for (std::uint64_t n = 1; n < count; ++n) {
    const std::uint64_t symbol = symbols + n * size;
    const std::uint64_t value = member(symbol, "elf64_sym", "st_value");
    const std::uint64_t name = member(symbol, "elf64_sym", "st_name");
    // Undefined symbols belong to others.
    if (member(symbol, "elf64_sym", "st_shndx") == 0 || value == 0) continue;
    std::string text = memory_.text(strings + name, kMostNameBytes);
    if (!text.empty()) {
      module.symbols.push_back(
          {value, static_cast<char>(memory_.integer(types_of + n, 1)), std::move(text)});
    }
  }
}

void Kernel::read_module_unwind(std::uint64_t address, Module& module) const {
  if (!types().field("module", "arch.orc_unwind_ip")) return;  // a kernel without ORC
  const std::uint64_t count = member(address, "module", "arch.num_orcs") & 0xffffffff;
  const std::uint64_t size = types().size_of("orc_entry");
  if (count == 0 || count > kMostModuleUnwindEntries || size == 0 || size > 64) return;
  UnwindTable table;
  table.ips_address = member(address, "module", "arch.orc_unwind_ip");
  const std::uint64_t entries = member(address, "module", "arch.orc_unwind");
  table.ips.resize(count * 4);
  table.entries.resize(count * size);
  if (memory_.read(table.ips_address, table.ips) != table.ips.size()) return;
  if (memory_.read(entries, table.entries) != table.entries.size()) return;
  module.unwind = std::move(table);
}

std::vector<Module> Kernel::modules() const {
  const Btf& btf = types();
  const std::uint64_t head = address_of("modules");
  const std::uint64_t link = btf.need("module", "list").offset();
  std::vector<Module> all;
  for_each_in_list(head, link, [&](std::uint64_t address) {
    Module module;
    const Field name = btf.need("module", "name");
    module.name = memory_.text(address + name.offset(), name.size());
    if (btf.field("module", "core_layout.base")) {  // up to 6.3
      module.base = member(address, "module", "core_layout.base");
      module.size = member(address, "module", "core_layout.size");
      module.code_bytes = member(address, "module", "core_layout.text_size");
    } else {  // an array of which the text is the first
      const std::uint64_t text = address + btf.need("module", "mem").offset();
      module.base = member(text, "module_memory", "base");
      module.size = module.code_bytes = member(text, "module_memory", "size");
    }
    read_module_symbols(address, module);
    read_module_unwind(address, module);
    all.push_back(std::move(module));
  });
  return all;
}

// ---- as text ---------------------------------------------------------------------------

}  // namespace chronovisor::linux_guest
