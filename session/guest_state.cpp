// The guest as it is where the machine stands: its memory as the CPU sees it, and
// its kernel.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "inspect/disassembly.h"
#include "inspect/export/screen.h"
#include "inspect/page_walk.h"
#include "session/debug_session.h"
#include "timetravel/linear_memory.h"

namespace chronovisor::session {
namespace {

constexpr std::size_t kLongestInstruction = 15;

unsigned code_bits(const Cpu& cpu) {
  return cpu.long64() ? 64 : static_cast<unsigned>(cpu.code_width()) * 8;
}

}  // namespace

Answer DebugSession::answer(const TranslateRequest& request, const Cancel& /*cancel*/) {
  TranslateAnswer answer{request.address, {}};
  const auto physical = timeline_.machine().cpu().translate_for_debugger({request.address});
  if (physical) answer.physical = physical->value;
  return answer;
}

Answer DebugSession::answer(const PixelRequest& request, const Cancel& /*cancel*/) {
  const Machine& machine = timeline_.machine();
  const std::uint64_t most = std::max(request.x, request.y);
  const auto pixel =
      most > std::numeric_limits<unsigned>::max()
          ? std::nullopt
          : pixel_of(machine, static_cast<unsigned>(request.x), static_cast<unsigned>(request.y));
  if (!pixel) {
    const auto screen = screen_of(machine);
    if (!screen) {
      throw NotFound("a machine of the model " + machine.config().model + " has no screen");
    }
    throw NotFound(
        fmt::format("the screen has {} by {} pixels here", screen->width, screen->height));
  }
  return PixelAnswer{
      request.x, request.y,
      fmt::format("#{:02x}{:02x}{:02x}", pixel->rgb[0], pixel->rgb[1], pixel->rgb[2]),
      pixel->address.value, pixel->length_bytes};
}

Answer DebugSession::answer(const WalkRequest& request, const Cancel& /*cancel*/) {
  const ShownPageWalk walk = show_page_walk(timeline_.machine(), {request.address});
  WalkAnswer answer;
  answer.paging = walk.paging;
  answer.cr3 = timeline_.machine().cpu().state.cr3;
  answer.result = {request.address, walk.physical};
  answer.trouble = walk.trouble;
  for (const ShownPageEntry& entry : walk.entries) {
    answer.entries.push_back({std::string(entry.level), entry.index, entry.place, entry.in_register,
                              entry.value, entry.flags});
  }
  return answer;
}

Answer DebugSession::answer(const DisassembleRequest& request, const Cancel& cancel) {
  Machine& machine = timeline_.machine();
  const std::uint64_t here = machine.cpu().linear_rip();
  const Disassembler disassembler(code_bits(machine.cpu()), AssemblySyntax::att);
  DisassembleAnswer answer;
  std::uint64_t address = request.address.value_or(here);
  for (std::uint64_t n = 0; n < request.count && !cancel.requested(); ++n) {
    std::array<std::uint8_t, kLongestInstruction> bytes{};
    const std::size_t got = read_linear_memory(machine, address, bytes);
    DisassembleAnswer::Line& line = answer.lines.emplace_back();
    line.address = address;
    line.here = address == here;
    if (got == 0) break;
    const Disassembler::Line found = disassembler.one(ByteView(bytes).first(got), address);
    line.text = found.length == 0 ? fmt::format(".byte   {:#04x}", bytes[0])
                                  : fmt::format("{:<7} {}", found.mnemonic, found.operands);
    address += std::max<std::size_t>(found.length, 1);
  }
  return answer;
}

Answer DebugSession::answer(const LinuxKernelRequest& /*request*/, const Cancel& /*cancel*/) {
  const linux_guest::Kernel kernel(timeline_.machine());
  return LinuxKernelAnswer{kernel.version(), kernel.address_of("_text")};
}

Answer DebugSession::answer(const LinuxLogRequest& /*request*/, const Cancel& /*cancel*/) {
  return LinuxLogAnswer{linux_guest::Kernel(timeline_.machine()).log()};
}

Answer DebugSession::answer(const LinuxTasksRequest& /*request*/, const Cancel& /*cancel*/) {
  return LinuxTasksAnswer{linux_guest::Kernel(timeline_.machine()).tasks()};
}

Answer DebugSession::answer(const LinuxModulesRequest& /*request*/, const Cancel& /*cancel*/) {
  LinuxModulesAnswer answer;
  for (const linux_guest::Module& module : linux_guest::Kernel(timeline_.machine()).modules()) {
    answer.modules.push_back({module.name, module.base, module.size, module.symbols.size()});
  }
  return answer;
}

}  // namespace chronovisor::session
