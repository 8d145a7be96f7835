// Monitor commands that know Linux.
#include "cli/linux/kernel.h"
#include "cli/monitor.h"

namespace chronovisor::cli {

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
