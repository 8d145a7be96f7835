// Owns the options of the soft engine's translator, which every command that
// runs a machine has. Knows the command line and the translator's settings.
#pragma once

namespace chronovisor::cli {

class Command;

/// Adds --translate and its like to the commands of `app` that run a machine.
void add_translation_options(Command& app);
/// With --stats: what the translators of this process did, on stderr.
void report_translation();

}  // namespace chronovisor::cli
