// The packets that set and remove breakpoints, with the conditions and
// commands gdb attaches to them as agent expressions.
#include <algorithm>

#include "base/error.h"
#include "gdbstub/session.h"

namespace chronovisor::gdb {

namespace {

constexpr std::size_t kMaxBreakpoints = 65536;
constexpr std::size_t kMaxExpressions = 256;

BreakpointKind take_kind(PacketReader& packet) {
  switch (packet.characters(1)[0]) {
    case '0':
      return BreakpointKind::software;
    case '1':
      return BreakpointKind::hardware;
    case '2':
      return BreakpointKind::write;
    case '3':
      return BreakpointKind::read;
    case '4':
      return BreakpointKind::access;
    default:
      packet.fail("unknown breakpoint type");
  }
}

bool is_execution(BreakpointKind kind) {
  return kind == BreakpointKind::software || kind == BreakpointKind::hardware;
}

/// Type, address and length, as `Z` and `z` both begin.
Breakpoint take_place(PacketReader& packet) {
  Breakpoint out;
  out.kind = take_kind(packet);
  packet.expect(',');
  out.address = packet.hex();
  packet.expect(',');
  out.length = packet.hex();
  // For instructions the number is a "kind", which x86 has only one of.
  if (is_execution(out.kind)) out.length = 1;
  if (out.length == 0) packet.fail("a watchpoint needs a length");
  if (out.address + (out.length - 1) < out.address) packet.fail("it ends past the last address");
  return out;
}

}  // namespace

Session::Expressions Session::take_expressions(PacketReader& packet) const {
  Expressions out;
  while (packet.take('X')) {
    if (out.size() == kMaxExpressions) packet.fail("too many expressions");
    const std::uint64_t length = packet.hex();
    packet.expect(',');
    if (length > AgentExpression::kMaxBytes) packet.fail("the expression is too long");
    std::optional<Bytes> code = decode_hex(packet.characters(2 * length));
    if (!code) packet.fail("expected hexadecimal digits");
    out.emplace_back(std::move(*code));
  }
  return out;
}

BreakpointCondition Session::make_condition(Expressions conditions) const {
  if (conditions.empty()) return {};
  // Shared: copies of the condition may outlive the packet on other threads.
  auto shared = std::make_shared<const Expressions>(std::move(conditions));
  return [shared, &description = target_.description()](const RegisterMemoryReader& reader) {
    return std::any_of(shared->begin(), shared->end(), [&](const AgentExpression& expression) {
      const AgentResult result = expression.evaluate(reader, description);
      // A condition that cannot be told stops, so that the user learns of it.
      return result.error != AgentError::none || result.value != 0;
    });
  };
}

Answer Session::insert_breakpoint(PacketReader& packet) {
  Breakpoint breakpoint = take_place(packet);
  Expressions conditions;
  Expressions commands;
  while (packet.take(';')) {
    if (packet.at_end()) break;
    if (packet.take("cmds:")) {
      packet.hex();  // whether to keep them after the client has gone: never
      packet.expect(',');
      for (AgentExpression& one : take_expressions(packet)) commands.push_back(std::move(one));
    } else {
      if (packet.peek() != 'X') packet.fail("expected a condition or commands");
      for (AgentExpression& one : take_expressions(packet)) conditions.push_back(std::move(one));
    }
  }
  packet.expect_end();
  breakpoint.condition = make_condition(std::move(conditions));
  const BreakpointKey key{breakpoint.kind, breakpoint.address, breakpoint.length};
  // gdb sets a breakpoint again to change its conditions.
  if (breakpoints_.erase(key) > 0) {
    target_.remove_breakpoint(breakpoint.kind, breakpoint.address, breakpoint.length);
  }
  if (breakpoints_.size() >= kMaxBreakpoints) packet.fail("too many breakpoints");
  target_.add_breakpoint(breakpoint);
  breakpoints_[key] = {breakpoint.condition, std::move(commands)};
  return Answer::of("OK");
}

Answer Session::remove_breakpoint(PacketReader& packet) {
  const Breakpoint place = take_place(packet);
  packet.expect_end();
  // Removing what is not there is no error: a client may repeat the packet.
  if (breakpoints_.erase({place.kind, place.address, place.length}) > 0) {
    target_.remove_breakpoint(place.kind, place.address, place.length);
  }
  return Answer::of("OK");
}

bool Session::run_breakpoint_commands(std::vector<std::string>& packets) {
  bool any = false;
  bool stays = false;
  for (const BreakpointKind kind : {BreakpointKind::software, BreakpointKind::hardware}) {
    const auto found = breakpoints_.find({kind, stop_.address, 1});
    if (found == breakpoints_.end()) continue;
    const auto& [condition, commands] = found->second;
    if (condition && !condition(target_)) continue;
    any = true;
    // One without commands wants to be seen.
    if (commands.empty()) stays = true;
    for (const AgentExpression& command : commands) {
      std::string text;
      const AgentResult result = command.evaluate(target_, target_.description(),
                                                  [&](std::string_view piece) { text += piece; });
      if (result.error != AgentError::none) {
        text.append("breakpoint command at 0x").append(hex_number(stop_.address));
        text.append(": ").append(describe(result.error)).append("\n");
      }
      append_console(packets, text);
    }
  }
  return any && !stays;
}

void Session::forget_breakpoints() {
  for (const auto& [key, planted] : breakpoints_) {
    const auto& [kind, address, length] = key;
    try {
      target_.remove_breakpoint(kind, address, length);
    } catch (const Error&) {
      // The client is going; there is nobody to tell, and the rest must go too.
    }
  }
  breakpoints_.clear();
}

}  // namespace chronovisor::gdb
