// What changes something that outlives the answer: the recording's bookmarks, and the
// guest, on a branch. And the monitor's words, some of which do.
#include "api/context.h"
#include "api/method_table.h"
#include "api/page.h"
#include "api/shape.h"
#include "base/encoding.h"
#include "session/memory_write.h"
#include "session/words.h"

namespace chronovisor::api {
namespace {

using namespace shape;

struct BranchRequest {};
struct DiscardRequest {};

struct WriteMemoryRequest {
  std::uint64_t address = 0;
  std::string bytes;
  bool physical = false;
};

enum class WrittenRegister : std::uint8_t {
  rax,
  rcx,
  rdx,
  rbx,
  rsp,
  rbp,
  rsi,
  rdi,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rip,
};

struct WriteRegisterRequest {
  WrittenRegister name = WrittenRegister::rax;
  std::uint64_t value = 0;
};

struct MonitorRequest {
  std::string line;
  bool go = false;
};

/// Whether it changes what --allow-changes guards.
bool changes(const session::Request& request) {
  return std::holds_alternative<session::SetBookmarkRequest>(request) ||
         std::holds_alternative<session::DeleteBookmarkRequest>(request) ||
         std::holds_alternative<session::BranchRequest>(request) ||
         std::holds_alternative<session::GoLiveRequest>(request) ||
         std::holds_alternative<session::ChangeMediumRequest>(request);
}

Value monitor(Context& context, const MonitorRequest& request, const Call& call) {
  session::Request asked;
  try {
    asked = session::parse_request(request.line);
  } catch (const Error& error) {
    throw CallError(CallFault::wrong_parameters, error.what(), "/params/line");
  }
  if (changes(asked) && !context.allow_changes()) {
    throw CallError(CallFault::read_only,
                    "this command changes something; the API was started without --allow-changes",
                    "/params/line");
  }
  std::string answer = session::json_of(context.ask(asked, call, request.go));
  if (answer.size() > kMostMonitorBytes) {
    throw CallError(CallFault::too_large, "the answer has " + std::to_string(answer.size()) +
                                              " bytes; ask for less of it");
  }
  return Value::Object{{"answer", Value::Made{std::move(answer)}}};
}

Value set_bookmark(Context& context, const session::SetBookmarkRequest& request, const Call& call) {
  const auto answer = context.ask_for<session::BookmarkSetAnswer>(request, call);
  return Value::Object{{"name", answer.bookmark.name},
                       {"position", answer.bookmark.position.steps},
                       {"in_file", !answer.file.empty()},
                       {"trouble", answer.trouble.empty() ? Value() : Value(answer.trouble)}};
}

Value delete_bookmark(Context& context, const session::DeleteBookmarkRequest& request,
                      const Call& call) {
  const auto answer = context.ask_for<session::BookmarkDeletedAnswer>(request, call);
  return Value::Object{{"name", answer.name},
                       {"trouble", answer.trouble.empty() ? Value() : Value(answer.trouble)}};
}

Value write_memory(Context& context, const WriteMemoryRequest& request, const Call& call) {
  const auto bytes = bytes_of_hex(request.bytes);
  if (!bytes || bytes->empty()) {
    throw CallError(CallFault::wrong_parameters, "bytes: must be two hexadecimal digits each",
                    "/params/bytes");
  }
  const std::size_t done =
      session::write_memory(context.timeline(), request.address, *bytes, request.physical);
  if (done == 0) {
    throw CallError(CallFault::bad_input,
                    hex(request.address) + " is no memory here that can be written");
  }
  context.count_change();
  return Value::Object{{"written", done}, {"where", context.where(call)}};
}

Value write_register(Context& context, const WriteRegisterRequest& request, const Call& call) {
  context.timeline().note_change();
  context.count_change();
  context.machine().change_cpu([&](Cpu& cpu) {
    if (request.name == WrittenRegister::rip) {
      cpu.state.gpr[kGprRip] = request.value;
    } else {
      cpu.state.gpr[static_cast<std::size_t>(request.name)] = request.value;
    }
  });
  return Value::Object{{"where", context.where(call)}};
}

Value set_setting(Context& context, const session::SettingRequest& request, const Call& call) {
  return Value::Made{session::json_of(context.ask(request, call))};
}

std::vector<Method> branch_rows() {
  std::vector<Method> rows;
  rows.push_back(
      Row<BranchRequest>("branch", Effect::changes,
                         "Leaves the recorded run here: from now on the guest goes on without its "
                         "recorded input, and can be changed. The recording stays as it is.")
          .answers(where_shape(), [](Context& context, const BranchRequest&, const Call& call) {
            static_cast<void>(context.ask(session::BranchRequest{}, call));
            return context.where(call);
          }));
  rows.push_back(
      Row<DiscardRequest>("discard", Effect::travels,
                          "Gives a branch up: back to the recorded run, where the branch left it.")
          .answers(where_shape(), [](Context& context, const DiscardRequest&, const Call& call) {
            static_cast<void>(context.ask(session::DiscardRequest{}, call, true));
            return context.where(call);
          }));
  rows.push_back(
      Row<WriteMemoryRequest>("write_memory", Effect::changes,
                              "Writes the guest's memory; the machine is on a branch then.")
          .address("address", &WriteMemoryRequest::address, "The first byte")
          .text("bytes", &WriteMemoryRequest::bytes, "Two hexadecimal digits each",
                Presence::required)
          .flag("physical", &WriteMemoryRequest::physical, "The address is a physical one")
          .answers(object({{"written", count(), "How many bytes"}, {"where", where_shape()}}),
                   write_memory));
  rows.push_back(Row<WriteRegisterRequest>("write_register", Effect::changes,
                                           "Writes a register; the machine is on a branch then.")
                     .choice("name", &WriteRegisterRequest::name,
                             {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9",
                              "r10", "r11", "r12", "r13", "r14", "r15", "rip"},
                             "Which one", Presence::required)
                     .address("value", &WriteRegisterRequest::value, "A number, or a symbol")
                     .answers(object({{"where", where_shape()}}), write_register));
  return rows;
}

}  // namespace

std::vector<Method> change_methods() {
  std::vector<Method> rows = branch_rows();
  rows.push_back(
      Row<session::SetBookmarkRequest>("set_bookmark", Effect::changes,
                                       "Gives the place where the machine stands a name, in the "
                                       "recording's file.")
          .text("name", &session::SetBookmarkRequest::name, "What to call it", Presence::required)
          .flag("move", &session::SetBookmarkRequest::move, "The name may exist: it is taken here")
          .answers(object({{"name", text()},
                           {"position", count()},
                           {"in_file", flag(), "It is kept"},
                           {"trouble", or_null(text()), "Why it is not in the file"}}),
                   set_bookmark));
  rows.push_back(
      Row<session::DeleteBookmarkRequest>("delete_bookmark", Effect::changes,
                                          "Takes a bookmark out of the recording.")
          .text("name", &session::DeleteBookmarkRequest::name, "Which one", Presence::required)
          .answers(object({{"name", text()}, {"trouble", or_null(text())}}), delete_bookmark));
  rows.push_back(
      Row<session::SettingRequest>("set", Effect::sets, "Sets how this session behaves.")
          .choice("setting", &session::SettingRequest::setting,
                  {"skip-interrupts", "linear-pc", "physical-memory"},
                  "skip-interrupts: steps pass over handlers that were merely delivered; the "
                  "others are for debuggers")
          .flag("on", &session::SettingRequest::on, "On or off")
          .not_for_agents()
          .answers(object({{"setting", text()}, {"on", flag()}, {"meaning", text()}}),
                   set_setting));
  rows.push_back(
      Row<MonitorRequest>(
          "monitor", Effect::travels,
          "A command of the debugger's monitor, as \"info pic\" or \"events 5000\"; "
          "\"help\" lists them. The answer is that command's JSON.")
          .text("line", &MonitorRequest::line, "The command and its words", Presence::required)
          .flag("go", &MonitorRequest::go, "Go to the place that it armed")
          .not_for_agents()
          .answers(object({{"answer", anything()}}), monitor));
  return rows;
}

}  // namespace chronovisor::api
