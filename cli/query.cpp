// query: questions about a whole recording, answered without a debugger.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/long_run.h"
#include "cli/merge.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/parser.h"
#include "cli/query_inputs.h"
#include "cli/query_io.h"
#include "cli/query_packets.h"
#include "cli/recorded_range.h"
#include "cli/shard_option.h"
#include "host/host.h"
#include "inspect/linux/kernel.h"
#include "recorder/format/start_condition.h"
#include "session/place.h"
#include "session/query_document.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {

using namespace session;

namespace {

constexpr std::uint64_t kMostJobs = 256;

struct QueryCommandOptions {
  QueryKind kind = QueryKind::writes;
  std::string file;
  std::string address;
  std::string length;
  std::string from = "start";
  std::string to = "end";
  std::string jobs = "0";
  std::string shard;
  std::string limit;
  bool first = false;
  bool last = false;
  bool count = false;
  bool physical = false;
  bool no_index = false;
  bool json = false;
};

std::uint64_t number_within(const std::string& text, const std::string& option, std::uint64_t least,
                            std::uint64_t most) {
  const std::uint64_t value = parse_number(text, option);
  if (value < least || value > most) {
    throw Error(ErrorCode::usage, option + ": " + text + " is not from " + std::to_string(least) +
                                      " to " + std::to_string(most));
  }
  return value;
}

/// Where the symbol of a Linux guest lies, as of the last checkpoint.
std::uint64_t symbol_address(const std::string& name, const RecordingReader& reader) {
  if (start_of(reader).kind != BootKind::linux_kernel) {
    throw Error(ErrorCode::usage, "--address: \"" + name +
                                      "\" is not a number, and only a Linux kernel's symbols "
                                      "can be given by name");
  }
  TimelineOptions options;
  options.verify = false;
  Timeline timeline(reader, options);
  const bool marked = !reader.checkpoints().empty();
  timeline.seek({marked ? reader.checkpoints().back().position : timeline.end(), 0}, stop_signal());
  if (stop_signal()) throw Error(ErrorCode::host, "interrupted");
  const auto found = linux_guest::Kernel(timeline.machine()).find(name);
  if (!found) {
    throw Error(ErrorCode::usage, "--address: the guest's kernel has no symbol \"" + name + "\"");
  }
  return *found;
}

/// A number, a symbol, or either with "+number".
std::uint64_t address_of(const std::string& text, const RecordingReader& reader) {
  const std::size_t plus = text.find('+');
  const std::string base = text.substr(0, plus);
  const std::uint64_t offset =
      plus == std::string::npos ? 0 : parse_number(text.substr(plus + 1), "--address");
  const bool number = !base.empty() && base.find_first_not_of("0123456789") == std::string::npos;
  if (base.empty() || number || base.starts_with("0x") || base.starts_with("0X")) {
    return parse_number(base, "--address") + offset;
  }
  return symbol_address(base, reader) + offset;
}

std::uint64_t length_of(const QueryCommandOptions& options) {
  if (options.length.empty()) return options.kind == QueryKind::value ? 8 : 1;
  return parse_number(options.length, "--length");
}

/// All of the question but the address, which may need the guest to be run.
Query query_of(const QueryCommandOptions& options, const RecordingReader& reader) {
  Query query;
  query.kind = options.kind;
  query.physical = options.physical;
  query.length = length_of(options);
  query.from = covered_place(options.from, reader, "--from");
  query.to = covered_place(options.to, reader, "--to");
  if (!options.limit.empty()) {
    query.limit = number_within(options.limit, "--limit", 1, kMostQueryEntries);
  }
  if (options.first) query.select = QuerySelect::first;
  if (options.last) query.select = QuerySelect::last;
  if (options.count) query.select = QuerySelect::count;
  query.address = address_of(options.address, reader);
  return query;
}

int query(const QueryCommandOptions& options) {
  QueryRequest request;
  request.jobs = static_cast<unsigned>(number_within(options.jobs, "--jobs", 0, kMostJobs));
  request.use_index = !options.no_index;
  if (!options.shard.empty()) request.shard = shard_of(options.shard);
  const auto opened = open_with_positions(options.file);
  const RecordingReader& reader = *opened;
  warn_of_damage(reader);
  watch_stop_signals();
  request.query = query_of(options, reader);
  const std::uint64_t began = monotonic_ns();
  QueryDocument document;
  {
    Progress progress(true);
    document =
        answer_query(reader, request, stop_signal(), [&](std::uint64_t done, std::uint64_t total) {
          progress.show(progress_text("searching", done, total));
        });
  }
  print_answer(document, options.json);
  std::fprintf(stderr, "chronovisor: searched %zu of %zu intervals, %s steps, in %.2f s\n",
               document.answer.searched, document.answer.intervals,
               grouped(document.answer.steps).c_str(),
               static_cast<double>(monotonic_ns() - began) / 1e9);
  return kDone;
}

void add_question(Command& parent, Action& action, QueryKind kind, const char* help) {
  auto options = std::make_shared<QueryCommandOptions>();
  options->kind = kind;
  Command command = parent.add_subcommand(query_kind_name(kind), help);
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  command
      .add_option("-a,--address", options->address,
                  "Linear address, or a symbol of a Linux kernel; +NUMBER may follow")
      .type_name("ADDRESS|SYMBOL")
      .required();
  command
      .add_option("-n,--length", options->length,
                  kind == QueryKind::value      ? "Bytes of the variable: 1, 2, 4 or 8 (8)"
                  : kind == QueryKind::executes ? "Bytes of code in which it begins (1)"
                                                : "Bytes from there on (1)")
      .type_name(kind == QueryKind::value ? "1|2|4|8" : "NUMBER");
  command.add_option("--from", options->from, "Positions from here on (start)")
      .type_name(kPlaceValues);
  command.add_option("--to", options->to, "Positions before here (end)").type_name(kPlaceValues);
  if (kind == QueryKind::writes) {
    command.add_flag("--physical", options->physical,
                     "The address is a physical one: writes of devices and of any mapping");
  }
  Option first = command.add_flag("--first", options->first, "Only the first");
  Option last = command.add_flag("--last", options->last, "Only the last");
  Option count = command.add_flag("--count", options->count, "Only how many");
  first.excludes(last).excludes(count);
  last.excludes(count);
  command.add_option("--limit", options->limit, "List at most this many, the earliest (100000)")
      .type_name("NUMBER");
  command.add_option("-j,--jobs", options->jobs, "Threads (one a core)").type_name("NUMBER");
  add_shard_option(command, options->shard,
                   "Only every Nth interval, from the Ith on; merge joins the JSON");
  command.add_flag("--no-index", options->no_index, "Search also what the index rules out");
  command.add_flag("--json", options->json, "The answer as one JSON object on stdout");
  command.callback([options, &action] { action = [options] { return query(*options); }; });
}

}  // namespace

void add_query(Command& app, Action& action) {
  Command command = app.add_subcommand(
      "query",
      "Ask a recording who wrote, what ran, what values a variable had, what packets there were");
  command.require_subcommand(1);
  add_question(command, action, QueryKind::writes, "Steps that wrote into a range of memory");
  add_question(command, action, QueryKind::executes, "Arrivals at instructions in a range");
  add_question(command, action, QueryKind::value,
               "Changes of a variable: position, instruction, old and new value");
  add_packet_question(command, action);
  add_query_merge(command, action);
  add_io_question(command, action);
  add_input_question(command, action);
}

}  // namespace chronovisor::cli
