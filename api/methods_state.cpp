// The machine as it stands: registers, memory, code, the call stack and the screen.
#include <algorithm>
#include <array>

#include "api/context.h"
#include "api/method_table.h"
#include "api/page.h"
#include "api/shape.h"
#include "base/encoding.h"
#include "inspect/export/png.h"
#include "inspect/export/screen.h"
#include "inspect/export/trace.h"
#include "inspect/physical_memory.h"
#include "session/place.h"

namespace chronovisor::api {
namespace {

using namespace shape;

constexpr std::uint64_t kMostReadBytes = 1U << 16;
constexpr std::uint64_t kMostInstructions = 1000;
constexpr std::uint64_t kMostFrames = 256;
constexpr std::uint64_t kMostTraceSteps = 1000;

struct RegistersRequest {};

struct ReadMemoryRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 64;
  bool physical = false;
};

struct BacktraceRequest {
  std::uint64_t limit = 32;
};

struct ScreenRequest {
  enum class Format : std::uint8_t { png, text };
  Format format = Format::png;
};

struct TraceRequest {
  std::string from;
  std::uint64_t count = 20;
};

struct MappingsRequest {
  std::uint64_t limit = 100;
  std::string cursor;
};

Value read_memory(Context& context, const ReadMemoryRequest& request, const Call& /*call*/) {
  Bytes bytes(static_cast<std::size_t>(request.length));
  const std::size_t got = request.physical
                              ? read_physical_memory(context.machine(), {request.address}, bytes)
                              : read_debugger_memory(context.machine(), request.address, bytes);
  bytes.resize(got);
  Value unreadable;
  if (got < request.length) unreadable = hex(request.address + got);
  return Value::Object{{"address", hex(request.address)},
                       {"bytes", hex_text(bytes)},
                       {"unreadable", std::move(unreadable)}};
}

Value disassemble(Context& context, const session::DisassembleRequest& request, const Call& call) {
  const auto answer = context.ask_for<session::DisassembleAnswer>(request, call);
  Value::Array lines;
  for (const session::DisassembleAnswer::Line& line : answer.lines) {
    lines.emplace_back(Value::Object{{"address", hex(line.address)},
                                     {"symbol", context.symbol_at(line.address, call)},
                                     {"text", line.text.empty() ? Value() : Value(line.text)},
                                     {"here", line.here}});
  }
  return Value::Object{{"instructions", std::move(lines)}};
}

Value backtrace(Context& context, const BacktraceRequest& request, const Call& call) {
  const linux_guest::Unwinder& unwinder = context.names().unwinder(call.cancel);
  static constexpr std::array<const char*, 3> kBy{"registers", "orc", "frame-pointer"};
  const linux_guest::CallStack stack =
      unwinder.stack(context.machine(), static_cast<std::size_t>(request.limit));
  Value::Array frames;
  for (const linux_guest::StackFrame& frame : stack.frames) {
    frames.emplace_back(Value::Object{{"pc", hex(frame.pc)},
                                      {"symbol", context.symbol_at(frame.pc, call)},
                                      {"sp", hex(frame.sp)},
                                      {"by", kBy[static_cast<std::size_t>(frame.by)]},
                                      {"interrupted", frame.interrupted}});
  }
  const std::string why = linux_guest::stack_end_text(stack.end);
  return Value::Object{{"frames", std::move(frames)},
                       {"ended", linux_guest::stack_end_word(stack.end)},
                       {"why", why.empty() ? Value() : Value(why)}};
}

Value screen(Context& context, const ScreenRequest& request, const Call& /*call*/) {
  const auto image = screen_of(context.machine());
  const auto lines = screen_text_of(context.machine());
  if (!image || !lines) {
    throw CallError(CallFault::bad_input, "this machine, of the model " +
                                              context.machine().config().model + ", has no screen");
  }
  if (screen_is_unset(context.machine())) {
    throw CallError(CallFault::bad_input, "the screen shows nothing here: no mode was set yet");
  }
  Value::Array text;
  for (const std::string& line : *lines) text.emplace_back(line);
  Value png;
  if (request.format == ScreenRequest::Format::png) {
    png = base64_text(png_of(image->width, image->height, image->rgb));
  }
  return Value::Object{{"width", image->width},
                       {"height", image->height},
                       {"text", std::move(text)},
                       {"png", std::move(png)}};
}

Value trace(Context& context, const TraceRequest& request, const Call& call) {
  context.need_timeline("trace");
  Timeline& timeline = context.timeline();
  const Timeline::Excursion back(timeline);
  if (!request.from.empty()) {
    const Position from = context.place(request.from, "from", call);
    if (timeline.seek({from, 0}, call.cancel) == TravelStop::interrupted) check_cancelled(call);
  }
  const std::uint64_t here = timeline.now().position.steps;
  const Position to{here + std::min(request.count, timeline.end().steps - here)};
  std::string text;
  export_trace(timeline.machine(), to, [&](std::string_view piece) { text += piece; });
  Value::Array lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return Value::Object{{"lines", std::move(lines)},
                       {"next", to < timeline.end() ? Value(to.steps) : Value()}};
}

Value made(Context& context, const session::Request& request, const Call& call) {
  return Value::Made{session::json_of(context.ask(request, call))};
}

Value mappings(Context& context, const MappingsRequest& request, const Call& call) {
  const auto ranges = context.ask_for<std::vector<session::MappedRange>>(
      session::DumpRequest{session::DumpRequest::What::mem}, call);
  return page_of("ranges", ranges, request.cursor, request.limit,
                 [](const session::MappedRange& range) {
                   return Value::Object{{"address", hex(range.first)},
                                        {"bytes", range.size},
                                        {"user", range.user},
                                        {"writable", range.writable}};
                 });
}

std::vector<Method> address_rows() {
  std::vector<Method> rows;
  rows.push_back(
      Row<session::TranslateRequest>("translate", Effect::looks,
                                     "The physical address that a linear one is mapped to.")
          .address("address", &session::TranslateRequest::address, "Linear address")
          .not_for_agents()
          .answers(object({{"address", hex()}, {"physical", or_null(hex()), "null: not mapped"}}),
                   made));
  rows.push_back(
      Row<session::WalkRequest>("walk", Effect::looks,
                                "The entries of the page tables on the way to an address.")
          .address("address", &session::WalkRequest::address, "Linear address")
          .not_for_agents()
          .answers(object({{"address", hex()},
                           {"physical", or_null(hex())},
                           {"paging", flag()},
                           {"cr3", hex()},
                           {"trouble", or_null(text()), "Why it is not mapped"},
                           {"entries", list_of(object({{"level", text()},
                                                       {"index", count()},
                                                       {"physical", hex()},
                                                       {"in_register", flag()},
                                                       {"value", hex()},
                                                       {"flags", text()}}))}}),
                   made));
  rows.push_back(
      Row<MappingsRequest>("mappings", Effect::looks,
                           "The ranges of linear addresses that are mapped, with their rights.")
          .count("limit", &MappingsRequest::limit, kPageRange, kLimitText)
          .text("cursor", &MappingsRequest::cursor, kCursorText)
          .not_for_agents()
          .answers(page_shape("ranges", object({{"address", hex()},
                                                {"bytes", count()},
                                                {"user", flag()},
                                                {"writable", flag()}})),
                   mappings));
  return rows;
}

}  // namespace

std::vector<Method> state_methods() {
  std::vector<Method> rows;
  rows.push_back(
      Row<RegistersRequest>("registers", Effect::looks,
                            "The processor's registers where the machine stands.")
          .answers(object({{"rax", hex()},
                           {"rcx", hex()},
                           {"rdx", hex()},
                           {"rbx", hex()},
                           {"rsp", hex()},
                           {"rbp", hex()},
                           {"rsi", hex()},
                           {"rdi", hex()},
                           {"r8", hex()},
                           {"r9", hex()},
                           {"r10", hex()},
                           {"r11", hex()},
                           {"r12", hex()},
                           {"r13", hex()},
                           {"r14", hex()},
                           {"r15", hex()},
                           {"rip", hex()},
                           {"rflags", hex()},
                           {"cpl", count()},
                           {"cs", anything(), "A segment: selector, base, limit, attributes"},
                           {"cr0", hex()},
                           {"cr2", hex()},
                           {"cr3", hex()},
                           {"cr4", hex()},
                           {"efer", hex()}}),
                   [](Context& context, const RegistersRequest&, const Call& call) {
                     return made(context,
                                 session::DumpRequest{session::DumpRequest::What::registers}, call);
                   }));
  rows.push_back(
      Row<ReadMemoryRequest>("read_memory", Effect::looks,
                             "Reads memory as it is where the machine stands.")
          .address("address", &ReadMemoryRequest::address, "The first byte")
          .count("length", &ReadMemoryRequest::length, {1, kMostReadBytes}, "How many bytes")
          .flag("physical", &ReadMemoryRequest::physical, "The address is a physical one")
          .answers(object({{"address", hex()},
                           {"bytes", text(), "Two hexadecimal digits each, in order"},
                           {"unreadable", or_null(hex()), "The first byte that cannot be read"}}),
                   read_memory));
  rows.push_back(
      Row<session::DisassembleRequest>("disassemble", Effect::looks,
                                       "Instructions in AT&T's syntax, with symbols.")
          .address("address", &session::DisassembleRequest::address,
                   "The first instruction; where the machine stands if not given",
                   Presence::optional)
          .count("count", &session::DisassembleRequest::count, {1, kMostInstructions},
                 "How many instructions")
          .answers(object({{"instructions",
                            list_of(object({{"address", hex()},
                                            {"symbol", or_null(text())},
                                            {"text", or_null(text()), "null: not mapped"},
                                            {"here", flag(), "The machine stands there"}}))}}),
                   disassemble));
  rows.push_back(
      Row<BacktraceRequest>(
          "backtrace", Effect::looks,
          "The call stack where the machine stands, the innermost frame first. Through a Linux "
          "kernel by its own unwind tables; elsewhere by frame pointers, which not all programs "
          "keep: `ended` says why there is no further frame.")
          .count("limit", &BacktraceRequest::limit, {1, kMostFrames}, "Most frames")
          .answers(
              object(
                  {{"frames", list_of(object({{"pc", hex()},
                                              {"symbol", or_null(text())},
                                              {"sp", hex()},
                                              {"by", one_of({"registers", "orc", "frame-pointer"}),
                                               "How the frame was found"},
                                              {"interrupted", flag(),
                                               "It was interrupted there and did not call"}}))},
                   {"ended",
                    one_of({"outermost", "limit", "no-frame-pointer", "no-unwind-entry",
                            "unreadable"}),
                    "Why the last frame is the last"},
                   {"why", or_null(text()), "The same in words, where frames are missing"}}),
              backtrace));
  rows.push_back(
      Row<TraceRequest>("trace", Effect::looks,
                        "Instructions as they were executed, one a line: position, address, "
                        "bytes, text, and the registers that changed. The machine stays.")
          .place("from", &TraceRequest::from, "The first; where the machine stands if not given")
          .count("count", &TraceRequest::count, {1, kMostTraceSteps}, "How many steps")
          .answers(object({{"lines", list_of(text())},
                           {"next", or_null(count()), "The position behind the last"}}),
                   trace));
  rows.push_back(
      Row<ScreenRequest>("screen", Effect::looks,
                         "What the guest's screen shows: a picture, and the characters of a text "
                         "mode.")
          .choice("format", &ScreenRequest::format, {"png", "text"}, "text: without the picture")
          .answers(object({{"width", count(), "Pixels"},
                           {"height", count(), "Pixels"},
                           {"text", list_of(text()), "Lines of a text mode; none in others"},
                           {"png", or_null(text()), "The picture, in base64"}}),
                   screen));
  for (Method& row : address_rows()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace chronovisor::api
