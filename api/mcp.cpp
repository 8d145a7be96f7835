#include "api/mcp.h"

#include <algorithm>
#include <array>
#include <utility>

#include "api/method_table.h"

namespace chronovisor::api {
namespace {

/// The newest first: offered to a client that asks for one that is not known.
constexpr std::array<std::string_view, 4> kProtocols{"2025-11-25", "2025-06-18", "2025-03-26",
                                                     "2024-11-05"};

constexpr const char* kInstructions =
    "A recording of a whole computer's run. The machine stands at a position, counted in steps "
    "(instructions) since power-on, and can go to any other, forward and backward; the run never "
    "changes. To find why something went wrong: `info` and `console` say what happened, `seek` "
    "goes to a place (\"end\", a position, \"-1000\", or a function: where it was entered last), "
    "`backtrace`, `registers`, `read_memory` and "
    "`disassemble` show the state there, and `last_write` with go=true goes back to the "
    "instruction that wrote a value, where the question can be asked again. `find_arrival` finds "
    "where a function was entered. Addresses are numbers, \"0x...\" or symbols, with \"+N\" behind "
    "them. Long answers come in pages: pass `next` as `cursor`.";

bool is_tool(const Method& method, bool allow_changes) {
  return method.tool && (allow_changes || method.effect != Effect::changes);
}

Value tool_document(const Method& method) {
  return Value::Object{
      {"name", method.name},
      {"description", method.description},
      {"inputSchema", method.parameters_shape()},
      {"outputSchema", method.answer},
      {"annotations", Value::Object{{"readOnlyHint", method.effect != Effect::changes},
                                    {"destructiveHint", false},
                                    {"openWorldHint", false}}}};
}

Value text_content(std::string text) {
  return Value::Object{{"type", "text"}, {"text", std::move(text)}};
}

Value failed(const std::string& why) {
  return Value::Object{{"content", Value::Array{text_content(why)}}, {"isError", true}};
}

/// A picture is content of its own, and no text.
Value succeeded(const Value& answer) {
  Value::Array content;
  Value structured = answer;
  const Value* png = answer.member("png");
  if (png != nullptr && png->text() != nullptr) {
    Value::Object rest = *answer.object();
    for (Value::Member& member : rest) {
      if (member.first == "png") member.second = Value();
    }
    structured = std::move(rest);
    content.emplace_back(
        Value::Object{{"type", "image"}, {"data", *png}, {"mimeType", "image/png"}});
  }
  std::string text = structured.json();
  if (text.size() > kMostToolBytes) {
    return failed("the answer has " + std::to_string(text.size()) +
                  " bytes, which is too much to read; ask for less (limit, count, length, or a "
                  "shorter stretch)");
  }
  content.push_back(text_content(text));
  return Value::Object{{"content", std::move(content)},
                       {"structuredContent", Value::Made{std::move(text)}},
                       {"isError", false}};
}

std::string explained(const CallError& error) {
  std::string text = std::string(fault_word(error.fault())) + ": " + error.what();
  if (!error.where().empty()) text += " (at " + error.where() + ")";
  return text;
}

}  // namespace

McpClient::McpClient(Context& context, session::Executor& executor, Send send)
    : Client(context, executor, std::move(send), "agent"), context_(context) {}

void McpClient::notice(const Incoming& notification) {
  if (notification.method != "notifications/cancelled") return;
  if (const Value* id = notification.parameters.member("requestId")) calls().cancel(id->json());
}

void McpClient::ask(const Incoming& request, std::size_t number, Replies replies) {
  const auto refuse = [&](CallFault fault, const std::string& why, const char* where) {
    replies.give(number, error_message(request.id, {fault, why, where}));
  };
  if (request.trouble) {
    return replies.give(number, error_message(request.id, *request.trouble));
  }
  if (request.notification) {
    notice(request);
    return replies.give(number, {});
  }
  if (request.method == "ping") {
    return replies.give(number, answer_message(request.id, Value::Object{}));
  }
  if (request.method == "initialize") {
    return replies.give(number, answer_message(request.id, initialize(request.parameters)));
  }
  if (!initialized_) {
    return refuse(CallFault::no_request, "a session begins with initialize", "/method");
  }
  if (request.method == "tools/list") {
    return replies.give(number, answer_message(request.id, tools()));
  }
  if (request.method == "tools/call") return call_tool(request, number, std::move(replies));
  refuse(CallFault::unknown_method, "there is no method \"" + request.method.substr(0, 64) + "\"",
         "/method");
}

Value McpClient::initialize(const Value& parameters) {
  initialized_ = true;
  std::string_view protocol = kProtocols[0];
  const Value* wanted = parameters.member("protocolVersion");
  if (wanted != nullptr && wanted->text() != nullptr) {
    const auto known = std::find(kProtocols.begin(), kProtocols.end(), *wanted->text());
    if (known != kProtocols.end()) protocol = *known;
  }
  return Value::Object{
      {"protocolVersion", protocol},
      {"capabilities", Value::Object{{"tools", Value::Object{{"listChanged", false}}}}},
      {"serverInfo", Value::Object{{"name", "chronovisor"}, {"version", kApiVersion}}},
      {"instructions", kInstructions}};
}

Value McpClient::tools() const {
  Value::Array all;
  for (const Method& method : methods()) {
    if (is_tool(method, context_.allow_changes())) all.push_back(tool_document(method));
  }
  return Value::Object{{"tools", std::move(all)}};
}

void McpClient::call_tool(const Incoming& request, std::size_t number, Replies replies) {
  const Value* name = request.parameters.member("name");
  const Method* method =
      name == nullptr || name->text() == nullptr ? nullptr : find_method(*name->text());
  if (method == nullptr || !is_tool(*method, context_.allow_changes())) {
    return replies.give(number,
                        error_message(request.id, {CallFault::wrong_parameters,
                                                   "there is no such tool: " +
                                                       (name == nullptr || name->text() == nullptr
                                                            ? std::string("none is named")
                                                            : *name->text()),
                                                   "/params/name"}));
  }
  Calls::Progress progress;
  if (const Value* meta = request.parameters.member("_meta")) {
    if (const Value* token = meta->member("progressToken")) {
      progress = [send = send(), token = *token](const Calls::Told& told) {
        send(notification_message("notifications/progress", Value::Object{{"progressToken", token},
                                                                          {"progress", told.done},
                                                                          {"total", told.total}})
                 .json());
      };
    }
  }
  const Value* arguments = request.parameters.member("arguments");
  const auto answer = [replies, number, id = request.id](const Calls::Outcome& outcome) {
    const auto* error = std::get_if<CallError>(&outcome);
    if (error != nullptr && error->fault() == CallFault::cancelled) {
      return replies.give(number, {});  // one that is cancelled is not answered
    }
    replies.give(number,
                 answer_message(id, error != nullptr ? failed(explained(*error))
                                                     : succeeded(std::get<Value>(outcome))));
  };
  try {
    calls().start(request.id.json(), *method, arguments == nullptr ? Value() : *arguments,
                  std::move(progress), answer);
  } catch (const CallError& error) {
    replies.give(number, error_message(request.id, error));
  }
}

}  // namespace chronovisor::api
