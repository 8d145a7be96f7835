#include "api/schema.h"

#include "api/call_error.h"
#include "api/limits.h"
#include "api/method_table.h"

namespace chronovisor::api {
namespace {

Value method_document(const Method& method) {
  Value::Array parameters;
  for (const Parameter& parameter : method.parameters) {
    Value::Object shape = *parameter.shape.object();
    if (!parameter.standard.is_null()) shape.emplace_back("default", parameter.standard);
    parameters.emplace_back(Value::Object{{"name", parameter.name},
                                          {"description", parameter.description},
                                          {"required", parameter.required},
                                          {"schema", std::move(shape)}});
  }
  return Value::Object{{"name", method.name},
                       {"description", method.description},
                       {"paramStructure", "by-name"},
                       {"x-beside", method.desk != Desk::session},
                       {"params", std::move(parameters)},
                       {"result", Value::Object{{"name", "answer"}, {"schema", method.answer}}},
                       {"x-effect", effect_word(method.effect)}};
}

Value fault_documents() {
  Value::Array faults;
  for (const CallFault fault :
       {CallFault::not_json, CallFault::no_request, CallFault::unknown_method,
        CallFault::wrong_parameters, CallFault::internal, CallFault::refused, CallFault::not_found,
        CallFault::bad_input, CallFault::divergence, CallFault::host, CallFault::read_only,
        CallFault::busy, CallFault::too_large, CallFault::cancelled}) {
    faults.emplace_back(
        Value::Object{{"code", static_cast<int>(fault)}, {"message", fault_word(fault)}});
  }
  return faults;
}

Value limit_documents() {
  Value::Array all;
  for (const Limit& limit : limits()) {
    all.emplace_back(
        Value::Object{{"what", limit.what}, {"most", limit.most}, {"beyond", limit.beyond}});
  }
  return all;
}

}  // namespace

Value schema_document() {
  Value::Array all;
  for (const Method& method : methods()) all.push_back(method_document(method));
  return Value::Object{
      {"openrpc", "1.3.2"},
      {"info", Value::Object{{"title", "Chronovisor"},
                             {"description",
                              "One debugging session on a recording. Messages are JSON-RPC 2.0, "
                              "one a line. x-effect says what a method does: it looks, travels, "
                              "sets something for the session, or changes what needs "
                              "--allow-changes."},
                             {"version", kApiVersion}}},
      {"methods", std::move(all)},
      {"x-faults", fault_documents()},
      {"x-limits", limit_documents()}};
}

}  // namespace chronovisor::api
