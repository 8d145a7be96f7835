// What the guest is made of: its symbols, and a Linux kernel's log, tasks and modules.
#include <algorithm>

#include "api/context.h"
#include "api/method_table.h"
#include "api/page.h"
#include "api/shape.h"

namespace chronovisor::api {
namespace {

using namespace shape;

constexpr std::uint64_t kMostShownSymbols = 1000;
constexpr std::uint64_t kMostSourceBytes = 1U << 16;

struct PageRequest {
  std::uint64_t limit = 100;
  std::string cursor;
};

struct LogRequest {
  bool tail = true;
  std::uint64_t limit = 50;
  std::string cursor;
};

struct SymbolRequest {
  std::uint64_t address = 0;
};

struct SymbolsRequest {
  std::string match;
  std::uint64_t limit = 100;
  std::string cursor;
};

struct KernelRequest {};

struct SourceRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 1;
};

Value log_line(const linux_guest::LogLine& line) {
  return Value::Object{{"time_ns", line.time_ns}, {"level", line.level}, {"text", line.text}};
}

Value log(Context& context, const LogRequest& request, const Call& call) {
  const auto lines =
      context.ask_for<session::LinuxLogAnswer>(session::LinuxLogRequest{}, call).lines;
  std::string cursor = request.cursor;
  if (cursor.empty() && request.tail && lines.size() > request.limit) {
    cursor = std::to_string(lines.size() - request.limit);
  }
  return page_of("lines", lines, cursor, request.limit, log_line);
}

Value tasks(Context& context, const PageRequest& request, const Call& call) {
  const auto all =
      context.ask_for<session::LinuxTasksAnswer>(session::LinuxTasksRequest{}, call).tasks;
  return page_of("tasks", all, request.cursor, request.limit, [](const linux_guest::Task& task) {
    return Value::Object{{"pid", task.pid},         {"parent", task.parent},
                         {"name", task.name},       {"state", std::string(1, task.state)},
                         {"threads", task.threads}, {"kernel_thread", task.kernel_thread},
                         {"on_cpu", task.on_cpu},   {"task_struct", hex(task.address)}};
  });
}

Value modules(Context& context, const PageRequest& request, const Call& call) {
  const auto all =
      context.ask_for<session::LinuxModulesAnswer>(session::LinuxModulesRequest{}, call).modules;
  return page_of("modules", all, request.cursor, request.limit,
                 [](const session::LinuxModulesAnswer::Module& module) {
                   return Value::Object{{"name", module.name},
                                        {"base", hex(module.base)},
                                        {"size", module.size},
                                        {"symbols", module.symbols}};
                 });
}

Value symbol(Context& context, const SymbolRequest& request, const Call& call) {
  const auto place = context.names().symbols(call.cancel).at(request.address);
  Value name, offset;
  if (place) {
    name = place->symbol->name;
    offset = place->offset;
  }
  return Value::Object{{"address", hex(request.address)},
                       {"symbol", context.symbol_at(request.address, call)},
                       {"name", std::move(name)},
                       {"offset", std::move(offset)}};
}

Value symbol_list(Context& context, const SymbolsRequest& request, const Call& call) {
  std::vector<const Symbol*> found;
  for (const Symbol& one : context.names().symbols(call.cancel).all()) {
    if (one.name.find(request.match) != std::string::npos) found.push_back(&one);
  }
  return page_of("symbols", found, request.cursor, request.limit, [](const Symbol* one) {
    return Value::Object{{"name", one->name}, {"address", hex(one->address)}, {"size", one->size}};
  });
}

Value source(Context& context, const SourceRequest& request, const Call& /*call*/) {
  const LineTable& lines = context.names().lines();
  Value::Array found;
  for (const LineTable::Row& row : lines.within(request.address, request.length)) {
    if (row.line == 0) continue;
    const std::string& file = lines.files()[row.file];
    Value::Object place{
        {"address", hex(row.address)}, {"file", file}, {"line", std::uint64_t{row.line}}};
    if (auto text = context.sources().line(file, row.line)) {
      place.emplace_back("text", *std::move(text));
    }
    found.emplace_back(std::move(place));
  }
  return Value::Object{{"lines", std::move(found)}};
}

}  // namespace

std::vector<Method> guest_methods() {
  std::vector<Method> rows;
  rows.push_back(Row<SymbolRequest>("symbol", Effect::looks,
                                    "What an address is called; or, given a name, where it is.")
                     .address("address", &SymbolRequest::address, "An address, or a name")
                     .answers(object({{"address", hex()},
                                      {"symbol", or_null(text()), "\"name+0x12\""},
                                      {"name", or_null(text())},
                                      {"offset", or_null(count())}}),
                              symbol));
  rows.push_back(
      Row<SymbolsRequest>("symbols", Effect::looks,
                          "The guest's symbols, by address: functions and variables of a Linux "
                          "kernel, and of the programs whose files were given with --symbols.")
          .text("match", &SymbolsRequest::match, "Only names that have this in them")
          .count("limit", &SymbolsRequest::limit, {1, kMostShownSymbols}, kLimitText)
          .text("cursor", &SymbolsRequest::cursor, kCursorText)
          .answers(page_shape("symbols", object({{"name", text()},
                                                 {"address", hex()},
                                                 {"size", count(), "0: not known"}})),
                   symbol_list));
  rows.push_back(
      Row<SourceRequest>("source", Effect::looks,
                         "Which lines of which source files instructions come from, by the debug "
                         "information of the files given with --symbols; their text is that of "
                         "files in the folders given with --source-dir, as they are now.")
          .address("address", &SourceRequest::address, "The first instruction")
          .count("length", &SourceRequest::length, {1, kMostSourceBytes}, "Bytes of code")
          .answers(object({{"lines",
                            list_of(object({{"address", hex(), "From here on"},
                                            {"file", text()},
                                            {"line", count()},
                                            {"text?", text(), "Of the line"}})),
                            "The first begins at the address or before; none: it is not known"}}),
                   source));
  rows.push_back(
      Row<KernelRequest>("linux_kernel", Effect::looks, "Which Linux kernel runs in the guest.")
          .not_for_agents()
          .answers(object({{"version", text()}, {"text_address", hex()}}),
                   [](Context& context, const KernelRequest&, const Call& call) -> Value {
                     return Value::Made{
                         session::json_of(context.ask(session::LinuxKernelRequest{}, call))};
                   }));
  rows.push_back(
      Row<LogRequest>("linux_log", Effect::looks,
                      "The Linux kernel's log (dmesg) as it is where the machine stands.")
          .flag("tail", &LogRequest::tail, "Begin so that the last lines are shown")
          .count("limit", &LogRequest::limit, kPageRange, kLimitText)
          .text("cursor", &LogRequest::cursor, kCursorText)
          .answers(page_shape("lines", object({{"time_ns", count()},
                                               {"level", count(), "As syslog(3) has it"},
                                               {"text", text()}})),
                   log));
  rows.push_back(Row<PageRequest>("linux_tasks", Effect::looks,
                                  "The processes of a Linux guest where the machine stands.")
                     .count("limit", &PageRequest::limit, kPageRange, kLimitText)
                     .text("cursor", &PageRequest::cursor, kCursorText)
                     .answers(page_shape("tasks", object({{"pid", count()},
                                                          {"parent", count()},
                                                          {"name", text()},
                                                          {"state", text(), "As ps(1) has it"},
                                                          {"threads", count()},
                                                          {"kernel_thread", flag()},
                                                          {"on_cpu", flag()},
                                                          {"task_struct", hex()}})),
                              tasks));
  rows.push_back(Row<PageRequest>("linux_modules", Effect::looks,
                                  "The modules of a Linux guest where the machine stands.")
                     .count("limit", &PageRequest::limit, kPageRange, kLimitText)
                     .text("cursor", &PageRequest::cursor, kCursorText)
                     .answers(page_shape("modules", object({{"name", text()},
                                                            {"base", hex()},
                                                            {"size", count()},
                                                            {"symbols", count()}})),
                              modules));
  return rows;
}

}  // namespace chronovisor::api
