// Feeds messages to what decodes those of the API's clients, and what they ask to the
// check of parameters. Checked beside crashes: whatever is taken can be written and read
// again, and is within its bounds.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/method_table.h"
#include "api/rpc.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chronovisor;
  using namespace chronovisor::api;
  Message message;
  try {
    message = decode_message({reinterpret_cast<const char*>(data), size});
  } catch (const CallError& error) {
    CHECK_THAT(!error_message({}, error).json().empty(), "an error can be told");
    return 0;
  }
  CHECK_THAT(message.requests.size() <= kMostBatch, "a batch is bounded");
  for (const Incoming& request : message.requests) {
    const std::string written = request.parameters.json();
    CHECK_THAT(parse_json(written).json() == written, "what was read is written as it is");
    const Method* method = find_method(request.method);
    if (method == nullptr) continue;
    try {
      method->check(request.parameters, [](const std::string& name) -> std::uint64_t {
        throw CallError(CallFault::wrong_parameters, "no symbol " + name);
      });
    } catch (const CallError& error) {
      CHECK_THAT(error.fault() == CallFault::wrong_parameters, "a check finds what is wrong");
    }
  }
  return 0;
}
