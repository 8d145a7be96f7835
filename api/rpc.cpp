#include "api/rpc.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <utility>

#include "api/method_table.h"
#include "api/schema.h"
#include "api/views.h"
#include "host/host.h"

namespace chronovisor::api {
namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;

std::uint64_t next_client_number() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

Incoming incoming_of(const Value& value) {
  Incoming request;
  const auto refuse = [&](const char* why, const char* where) {
    request.trouble.emplace(CallFault::no_request, why, where);
    return std::move(request);
  };
  if (value.object() == nullptr) return refuse("a request is an object", "");
  const Value* id = value.member("id");
  request.notification = id == nullptr;
  if (id != nullptr) {
    if (!id->is_null() && id->text() == nullptr && !id->is_number()) {
      return refuse("id must be a number or a text", "/id");
    }
    request.id = *id;
  }
  const Value* version = value.member("jsonrpc");
  if (version == nullptr || version->text() == nullptr || *version->text() != "2.0") {
    return refuse("jsonrpc must be \"2.0\"", "/jsonrpc");
  }
  const Value* method = value.member("method");
  if (method == nullptr || method->text() == nullptr) {
    return refuse("method must be a text", "/method");
  }
  request.method = *method->text();
  if (const Value* parameters = value.member("params")) request.parameters = *parameters;
  return request;
}

/// What such a request takes, checked as the rows of the table are.
std::vector<std::pair<std::size_t, const Value*>> given_to(const Incoming& request,
                                                           std::vector<Parameter> parameters) {
  Method method;
  method.name = request.method;
  method.parameters = std::move(parameters);
  return given_parameters(method, request.parameters);
}

}  // namespace

Message decode_message(std::string_view text) {
  Value value;
  try {
    ParseLimits limits;
    limits.nul_characters = false;  // no name, number or line has one
    value = parse_json(text, limits);
  } catch (const ParseError& error) {
    throw call_error(error);
  }
  Message message;
  if (const Value::Array* all = value.array()) {
    if (all->empty()) throw CallError(CallFault::no_request, "a batch of nothing");
    if (all->size() > kMostBatch) {
      throw CallError(CallFault::too_large,
                      "a batch has at most " + std::to_string(kMostBatch) + " requests");
    }
    message.batch = true;
    for (const Value& one : *all) message.requests.push_back(incoming_of(one));
  } else {
    message.requests.push_back(incoming_of(value));
  }
  return message;
}

Value answer_message(const Value& id, Value result) {
  return Value::Object{{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}};
}

Value error_message(const Value& id, const CallError& error) {
  return Value::Object{{"jsonrpc", "2.0"}, {"id", id}, {"error", error_object(error)}};
}

Value notification_message(const char* method, Value parameters) {
  return Value::Object{{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(parameters)}};
}

struct Replies::State {
  std::mutex mutex;
  Send send;
  bool batch = false;
  std::size_t left = 0;
  std::vector<Value> answers;
};

Replies::Replies(Send send, bool batch, std::size_t requests) : state_(std::make_shared<State>()) {
  state_->send = std::move(send);
  state_->batch = batch;
  state_->left = requests;
  state_->answers.resize(requests);
}

void Replies::give(std::size_t number, Value answer) const {
  const std::lock_guard lock(state_->mutex);
  if (!state_->batch) {
    if (!answer.is_null()) state_->send(answer.json());
    return;
  }
  state_->answers.at(number) = std::move(answer);
  if (--state_->left > 0) return;
  Value::Array all;
  for (Value& one : state_->answers) {
    if (!one.is_null()) all.push_back(std::move(one));
  }
  if (!all.empty()) state_->send(Value(std::move(all)).json());
}

Client::Client(Context& context, session::Executor& executor, Send send, const char* kind)
    : send_(std::move(send)),
      caller_{next_client_number(), kind},
      calls_(context, executor, caller_) {}

void Client::refuse_too_large() {
  send_(error_message({}, {CallFault::too_large,
                           "a message has at most " + std::to_string(kMostMessageBytes) + " bytes"})
            .json());
}

void Client::receive(std::string_view text) {
  Message message;
  try {
    message = decode_message(text);
  } catch (const CallError& error) {
    send_(error_message({}, error).json());
    return;
  }
  const Replies replies(send_, message.batch, message.requests.size());
  for (std::size_t n = 0; n < message.requests.size(); ++n) {
    ask(message.requests[n], n, replies);
  }
}

RpcClient::RpcClient(Context& context, session::Executor& executor, Send send, Views& views,
                     Kind kind)
    : Client(context, executor, std::move(send), kind == Kind::page ? "page" : "program"),
      views_(views) {
  follow_.name = "$/follow";
  follow_.run = [this](Context& session, const Value& parameters, const Call& call) -> Value {
    static_cast<void>(given_parameters(follow_, parameters));
    views_.add(caller(), this->send());
    return Value::Object{{"where", session.where(call)}};
  };
  if (kind != Kind::page) return;
  const auto welcome = [send = this->send()](const Calls::Outcome& outcome) {
    const auto* answer = std::get_if<Value>(&outcome);
    if (answer == nullptr) return;
    Value::Object said = *answer->object();
    said.emplace_back("by", "you");
    send(notification_message("moved", std::move(said)).json());
  };
  calls().start("welcome", follow_, {}, {}, welcome);  // no id is written so
}

RpcClient::~RpcClient() {
  // A call that is at work may use this.
  cancel_all();
  wait();
  views_.remove(caller());
}

bool RpcClient::answer_own(const Incoming& request, const Calls::Done& answer) {
  if (request.method == "$/cancelRequest") {
    calls().cancel(given_to(request, {{"id", "which request", {}, true}}).front().second->json());
    answer(Value(Value::Object{}));
  } else if (request.method == "rpc.discover") {
    static_cast<void>(given_to(request, {}));
    answer(schema_document());
  } else {
    return false;
  }
  return true;
}

void RpcClient::ask(const Incoming& request, std::size_t number, Replies replies) {
  const auto answer = [replies, number, id = request.id,
                       silent = request.notification](const Calls::Outcome& outcome) {
    if (silent) return replies.give(number, {});
    if (const auto* error = std::get_if<CallError>(&outcome)) {
      return replies.give(number, error_message(id, *error));
    }
    std::string json = std::get<Value>(outcome).json();
    if (json.size() > kMostAnswerBytes) {
      return replies.give(
          number, error_message(id, {CallFault::too_large, "the answer is too large to be given"}));
    }
    replies.give(number, answer_message(id, Value::Made{std::move(json)}));
  };
  if (request.trouble) {
    // One that is malformed gets an answer, whether it has an id or not.
    return replies.give(number, error_message(request.id, *request.trouble));
  }
  try {
    if (answer_own(request, answer)) return;
  } catch (const CallError& error) {
    return answer(error);
  }
  const Method* method = request.method == follow_.name ? &follow_ : find_method(request.method);
  if (method == nullptr) {
    return answer(CallError(
        CallFault::unknown_method,
        "there is no method \"" + request.method.substr(0, 64) + "\"; rpc.discover lists them",
        "/method"));
  }
  Calls::Progress progress;
  if (!request.notification) {
    progress = [send = send(), id = request.id](const Calls::Told& told) {
      Value::Object said{{"id", id}, {"done", told.done}, {"total", told.total}};
      if (!told.found.empty()) {
        said.emplace_back("found", Value::Array(told.found.begin(), told.found.end()));
        said.emplace_back("seen_ms_ago", (monotonic_ns() - told.seen_ns) / kNsPerMs);
      }
      send(notification_message("progress", std::move(said)).json());
    };
  }
  try {
    // Nobody can name one without an id.
    const std::string key = request.notification
                                ? "notification " + std::to_string(++notifications_)
                                : request.id.json();
    calls().start(key, *method, request.parameters, progress, answer);
  } catch (const CallError& error) {
    answer(error);
  }
}

}  // namespace chronovisor::api
