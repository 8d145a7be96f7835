#include "api/call_error.h"

#include "session/answer.h"

namespace chronovisor::api {

const char* fault_word(CallFault fault) {
  switch (fault) {
    case CallFault::not_json:
      return "not-json";
    case CallFault::no_request:
      return "no-request";
    case CallFault::unknown_method:
      return "unknown-method";
    case CallFault::wrong_parameters:
      return "wrong-parameters";
    case CallFault::internal:
      return "internal";
    case CallFault::refused:
      return "refused";
    case CallFault::not_found:
      return "not-found";
    case CallFault::bad_input:
      return "bad-input";
    case CallFault::divergence:
      return "divergence";
    case CallFault::host:
      return "host";
    case CallFault::read_only:
      return "read-only";
    case CallFault::busy:
      return "busy";
    case CallFault::too_large:
      return "too-large";
    case CallFault::cancelled:
      return "cancelled";
  }
  return "internal";
}

CallError call_error(const Error& error) {
  if (const auto* known = dynamic_cast<const CallError*>(&error)) return *known;
  if (const auto* parse = dynamic_cast<const ParseError*>(&error)) {
    return {CallFault::not_json, parse->what(), "byte " + std::to_string(parse->byte())};
  }
  if (dynamic_cast<const session::NotFound*>(&error) != nullptr) {
    return {CallFault::not_found, error.what()};
  }
  switch (error.code()) {
    case ErrorCode::bad_input:
      return {CallFault::bad_input, error.what()};
    case ErrorCode::divergence:
      return {CallFault::divergence, error.what()};
    case ErrorCode::host:
      return {CallFault::host, error.what()};
    case ErrorCode::usage:
      break;
  }
  return {CallFault::refused, error.what()};
}

Value error_object(const CallError& error) {
  return Value::Object{
      {"code", static_cast<int>(error.fault())},
      {"message", error.what()},
      {"data", Value::Object{{"code", fault_word(error.fault())},
                             {"where", error.where().empty() ? Value() : Value(error.where())}}}};
}

}  // namespace chronovisor::api
