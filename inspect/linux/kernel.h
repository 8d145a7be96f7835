// Owns what is known of a Linux guest at the moment its machine stands at: the
// kernel's memory, symbols and types, and what they say of its log, processes
// and modules. Untrusted: lists in guest memory may be cyclic or torn. The
// thread that owns the machine, which must not move while this is used.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inspect/linux/btf.h"
#include "inspect/linux/kallsyms.h"
#include "inspect/linux/kernel_memory.h"

namespace chronovisor::linux_guest {

struct LogLine {
  std::uint64_t time_ns = 0;
  unsigned level = 0;
  std::string text;
};

struct Task {
  std::uint64_t address = 0;  ///< of its task_struct
  std::uint32_t pid = 0;
  std::uint32_t parent = 0;
  std::uint64_t threads = 1;
  bool kernel_thread = false;
  bool on_cpu = false;
  char state = '?';  ///< as ps(1) has it
  std::string name;
};

/// A table of how to unwind (ORC), as it lies in memory: for the code from each
/// of the places in `ips` on, by an entry of `entries`.
struct UnwindTable {
  std::uint64_t ips_address = 0;
  Bytes ips;      ///< 4 bytes each: the distance from there to the code
  Bytes entries;  ///< struct orc_entry
};

struct Module {
  std::string name;
  std::uint64_t base = 0;
  std::uint64_t size = 0;
  std::uint64_t code_bytes = 0;  ///< from the base
  std::vector<KernelSymbol> symbols;
  UnwindTable unwind;  ///< empty when the module has none
};

class Kernel {
 public:
  /// Throws Error{bad_input} when there is no Linux kernel at this position.
  explicit Kernel(Machine& machine);

  [[nodiscard]] const KernelImage& image() const { return image_; }
  [[nodiscard]] const std::vector<KernelSymbol>& symbols() const { return symbols_; }
  /// The code that a processor runs before it is in the kernel's mapping, at the
  /// physical addresses where it runs then.
  [[nodiscard]] std::vector<KernelSymbol> early_symbols() const;
  /// Throws Error{bad_input} when there is no such symbol.
  [[nodiscard]] std::uint64_t address_of(std::string_view name) const;
  [[nodiscard]] std::optional<std::uint64_t> find(std::string_view name) const;
  /// The types, read when first asked for. Throws Error{bad_input}.
  [[nodiscard]] const Btf& types() const;

  /// "Linux version 6.1.0-...", or empty.
  [[nodiscard]] std::string version() const;
  [[nodiscard]] std::vector<LogLine> log() const;
  [[nodiscard]] std::vector<Task> tasks() const;
  /// The thread that runs here; nothing when the kernel does not say.
  [[nodiscard]] std::optional<Task> current() const;
  [[nodiscard]] std::vector<Module> modules() const;
  /// The page tables of a task's own memory; nothing for a thread of the kernel.
  [[nodiscard]] std::optional<GuestPhysical> user_tables(const Task& task) const;

 private:
  [[nodiscard]] std::uint64_t member(std::uint64_t object, std::string_view structure,
                                     std::string_view path) const;
  void for_each_in_list(std::uint64_t head, std::uint64_t link_offset,
                        const std::function<void(std::uint64_t object)>& visit) const;
  [[nodiscard]] Task task_at(std::uint64_t address) const;
  [[nodiscard]] std::optional<std::uint64_t> current_task() const;
  [[nodiscard]] std::string log_text(std::uint64_t ring, std::uint64_t begin, std::uint64_t next,
                                     std::uint64_t length) const;
  void read_module_symbols(std::uint64_t address, Module& module) const;
  void read_module_unwind(std::uint64_t address, Module& module) const;

  KernelMemory memory_;
  KernelImage image_;
  std::vector<KernelSymbol> symbols_;
  mutable std::unique_ptr<Btf> types_;
};

}  // namespace chronovisor::linux_guest
