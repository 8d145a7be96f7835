// Owns how the standing of a primary and of a backup is said to programs: one JSON object on
// one line. Any thread.
#pragma once

#include <string>

#include "replica/backup/backup_link.h"
#include "replica/primary/primary.h"

namespace chronovisor::replica {

[[nodiscard]] std::string status_json(const PrimaryStatus& status);
[[nodiscard]] std::string status_json(const BackupStatus& status);

}  // namespace chronovisor::replica
