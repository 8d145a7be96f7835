// Monitor commands that know Linux.
#include <fmt/format.h>

#include "cli/monitor.h"
#include "inspect/linux/kernel.h"

namespace chronovisor::cli {

void MonitorCommands::linux_kernel(const Words&, const Output& output, const gdb::CancelFlag&) {
  const linux_guest::Kernel kernel(timeline_.machine());
  output(fmt::format("{}\n_text is at {:#018x}\n", kernel.version(), kernel.address_of("_text")));
}

void MonitorCommands::linux_log(const Words&, const Output& output, const gdb::CancelFlag&) {
  output(linux_guest::log_as_text(linux_guest::Kernel(timeline_.machine())));
}

void MonitorCommands::linux_tasks(const Words&, const Output& output, const gdb::CancelFlag&) {
  output(linux_guest::tasks_as_text(linux_guest::Kernel(timeline_.machine())));
}

void MonitorCommands::linux_modules(const Words&, const Output& output, const gdb::CancelFlag&) {
  output(linux_guest::modules_as_text(linux_guest::Kernel(timeline_.machine())));
}

}  // namespace chronovisor::cli
