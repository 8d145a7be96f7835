// What QEMU's monitor shows, and memory in its formats.
#include <fmt/format.h>

#include <cstring>

#include "base/error.h"
#include "inspect/physical_memory.h"
#include "session/debug_session.h"
#include "timetravel/linear_memory.h"

namespace chronovisor::session {

Answer DebugSession::answer(const DumpRequest& request, const Cancel& /*cancel*/) {
  Machine& machine = timeline_.machine();
  switch (request.what) {
    case DumpRequest::What::registers:
      return dump_cpu(machine);
    case DumpRequest::What::mem:
      return mapped_ranges(machine);
    case DumpRequest::What::tlb:
      return mapped_pages(machine);
    case DumpRequest::What::lapic:
      return dump_lapic(machine);
    case DumpRequest::What::pic:
      return dump_pic(machine);
    case DumpRequest::What::version:
      return VersionAnswer{CHRONOVISOR_VERSION};
  }
  throw Error(ErrorCode::usage, "there is no such thing to show");
}

Answer DebugSession::answer(const AddressRequest& request, const Cancel& /*cancel*/) {
  Machine& machine = timeline_.machine();
  AddressAnswer answer;
  answer.request = request;
  answer.physical = request.address;
  if (request.what == AddressRequest::What::gva2gpa) {
    const auto found = machine.cpu().translate_for_debugger({request.address});
    answer.physical = found ? std::optional(found->value) : std::nullopt;
  }
  if (!answer.physical) return answer;
  std::array<std::uint8_t, 1> byte{};
  if (machine.ram().read({*answer.physical}, byte) == 1) {
    answer.kind = AddressAnswer::Kind::memory;
  } else if (read_physical_memory(machine, {*answer.physical & ~std::uint64_t{0xfff}}, byte) == 1 ||
             read_physical_memory(machine, {*answer.physical}, byte) == 1) {
    answer.kind = AddressAnswer::Kind::device;
  }
  return answer;
}

Answer DebugSession::answer(const ExamineRequest& request, const Cancel& cancel) {
  Machine& machine = timeline_.machine();
  ExamineAnswer answer;
  answer.request = request;
  for (std::uint64_t n = 0; n < request.count && !cancel.requested(); ++n) {
    const std::uint64_t address = request.address + n * request.size;
    std::array<std::uint8_t, 8> bytes{};
    const auto out = std::span(bytes).first(request.size);
    const std::size_t got = request.physical ? read_physical_memory(machine, {address}, out)
                                             : read_debugger_memory(machine, address, out);
    if (got < request.size) {
      answer.unreadable = address;
      break;
    }
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof(value));
    answer.values.push_back(value);
  }
  return answer;
}

}  // namespace chronovisor::session
