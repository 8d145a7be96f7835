#include "cli/translation_options.h"

#include <fmt/core.h>

#include <array>
#include <cstdio>
#include <string>

#include "cli/parser.h"
#include "vmm/cpu/translate/settings.h"
#include "vmm/cpu/translate/statistics.h"

namespace chronovisor::cli {

void add_translation_options(Command& app) {
  using translate::Mode;
  translate::Settings& settings = translate::default_settings();
  for (const char* name :
       {"record", "run", "live", "replay", "verify", "diff", "debug", "index", "query", "export"}) {
    Command command = app.get_subcommand(name);
    command
        .add_choice<Mode>(
            "--translate", settings.mode,
            {{"off", Mode::off}, {"on", Mode::on}, {"always", Mode::always}},
            "Translate the guest's code; on: what is hot. The guest and the recording are "
            "the same")
        .type_name("off|on|always");
    command
        .add_option("--translate-cache", settings.cache_bytes,
                    "Most memory for translated code of a machine")
        .type_name("SIZE")
        .as_size();
    command.add_flag("--translate-perf-map", settings.perf_map,
                     "Tell perf about translated code in /tmp/perf-PID.map");
    command.add_flag("--stats", settings.report, "Say on stderr what the translator did");
  }
}

void report_translation() {
  if (!translate::default_settings().report) return;
  const translate::Statistics s = translate::total_statistics();
  const auto line = [](std::string_view name, std::uint64_t value) {
    std::fputs(fmt::format("{:>24} {}\n", name, value).c_str(), stderr);
  };
  line("blocks translated", s.blocks);
  line("instructions in them", s.instructions);
  line("bytes of code", s.code_bytes);
  line("links made", s.links);
  line("links undone", s.unlinks);
  line("cache flushes", s.flushes);
  line("steps translated", s.steps);
  line("steps in all", s.all_steps);
  line("entries", s.entries);
  line("handlers called", s.handler_calls);
  line("refills of the TLB", s.refills);
  line("jumps noted", s.jumps_filled);
  line("code at other addresses", s.aliases);
  line("slow memory accesses", s.slow_accesses);
  line("page walks", s.page_walks);
  line("TLB flushes", s.tlb_flushes);
  line("drops of user halves", s.user_half_drops);
  line("CR3 changes without", s.spaces_entered);
  line("to address spaces known", s.spaces_known);
  for (std::size_t n = 1; n < s.exits.size(); ++n) {
    line(fmt::format("left: {}", translate::exit_name(static_cast<translate::Exit>(n))),
         s.exits[n]);
  }
  for (const auto& [row, calls] : translate::most_called_rows(s, 40)) line(row, calls);
}

}  // namespace chronovisor::cli
