// Owns what the guest's addresses are called, which lines they come from, and how its stacks
// are unwound: from ELF files that the user names, the guest's own ELF file, and the tables
// of a Linux kernel. Made when they are first asked for. The thread that owns the timeline.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "inspect/line_table.h"
#include "inspect/linux/unwind.h"
#include "inspect/symbol_table.h"
#include "session/delivery_walk.h"
#include "timetravel/timeline.h"

namespace chronovisor::session {

class GuestNames {
 public:
  /// The timeline must outlive this. Throws Error{bad_input} for a file that has no symbols.
  GuestNames(Timeline& timeline, const std::vector<std::string>& symbol_files);

  /// Those of a Linux kernel are read where the machine stands, or at the last
  /// checkpoint when none is up there. The machine stands there again.
  [[nodiscard]] const SymbolTable& symbols(CancelToken cancel);
  [[nodiscard]] const linux_guest::Unwinder& unwinder(CancelToken cancel);
  /// "read": by a Linux kernel's own table, where it can be read where the machine stands.
  [[nodiscard]] std::optional<std::string> call_name(const SystemCall& call, CancelToken cancel);
  /// Of the files that the user named.
  [[nodiscard]] const LineTable& lines() const { return lines_; }

 private:
  void read_kernel(CancelToken cancel);
  void read_kernel_here();

  Timeline& timeline_;
  SymbolTable symbols_;
  LineTable lines_;
  linux_guest::Unwinder unwinder_;
  bool kernel_looked_for_ = false;
  std::map<SystemCall, std::string> call_names_;
};

}  // namespace chronovisor::session
