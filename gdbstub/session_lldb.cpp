// The packets that only lldb sends.
// Source: LLVM, lldb/docs/resources/lldbgdbremote.
#include "base/error.h"
#include "gdbstub/session.h"

namespace chronovisor::gdb {

namespace {

/// lldb's register sets, after gdb's groups.
std::string_view register_set(std::string_view group) {
  if (group == "general") return "General Purpose Registers";
  if (group == "float" || group == "vector") return "Floating Point Registers";
  return "System Registers";
}

}  // namespace

Answer Session::thread_suffix(PacketReader&) {
  lldb_ = true;
  return Answer::of("OK");
}

Answer Session::list_threads_in_stop(PacketReader&) {
  lldb_ = true;
  list_threads_ = true;
  return Answer::of("OK");
}

Answer Session::error_strings(PacketReader&) {
  error_strings_ = true;
  return Answer::of("OK");
}

Answer Session::host_info(PacketReader&) {
  return Answer::of("triple:" + hex_text(target_.description().triple) +
                    ";ptrsize:8;endian:little;watchpoint_exceptions_received:after;");
}

Answer Session::process_info(PacketReader&) {
  if (!process_exists_) return error("no process");
  return Answer::of("pid:1;parent-pid:1;triple:" + hex_text(target_.description().triple) +
                    ";ptrsize:8;endian:little;");
}

Answer Session::memory_region_info(PacketReader& packet) {
  packet.expect(':');
  const std::uint64_t address = packet.hex();
  packet.expect_end();
  const MemoryRegion region = target_.memory_region(address);
  std::uint64_t size = region.last - region.start + 1;
  if (size == 0) size = ~std::uint64_t{0};
  std::string reply = "start:" + hex_number(region.start) + ";size:" + hex_number(size) + ";";
  if (region.mapped) {
    reply += "permissions:";
    if (region.readable) reply += "r";
    if (region.writable) reply += "w";
    if (region.executable) reply += "x";
    reply += ";";
    if (!region.name.empty()) reply += "name:" + hex_text(region.name) + ";";
  }
  return Answer::of(std::move(reply));
}

Answer Session::register_info(PacketReader& packet) {
  const std::uint64_t number = packet.hex();
  packet.expect_end();
  const auto& registers = target_.description().registers;
  // Any error ends lldb's enumeration; this is the customary one.
  if (number >= registers.size()) return Answer::of("E45");
  std::size_t offset = 0;
  for (std::size_t i = 0; i < number; ++i) offset += register_bytes(registers[i]);
  const RegisterDescription& row = registers[number];
  std::string reply = "name:" + std::string(row.name) + ";bitsize:" + std::to_string(row.bit_size) +
                      ";offset:" + std::to_string(offset);
  if (row.bit_size > 64) {
    reply += ";encoding:vector;format:vector-uint8";
  } else {
    reply += ";encoding:uint;format:hex";
  }
  reply.append(";set:").append(register_set(row.group));
  if (row.dwarf >= 0) {
    const std::string dwarf = std::to_string(row.dwarf);
    reply += ";ehframe:" + dwarf + ";dwarf:" + dwarf;
  }
  if (!row.generic.empty()) reply.append(";generic:").append(row.generic);
  return Answer::of(reply + ";");
}

Answer Session::thread_stop_info(PacketReader& packet) {
  if (!names_our_thread(packet)) packet.fail("no such thread");
  packet.expect_end();
  return Answer::of(stop_packet());
}

Answer Session::threads_info(PacketReader&) {
  if (!process_exists_) return Answer::of("[]");
  std::string reply = "[{\"tid\":1,\"name\":\"CPU 0\"";
  if (!lldb_reason().empty()) reply.append(",\"reason\":\"").append(lldb_reason()).append("\"");
  reply += ",\"registers\":{";
  bool first = true;
  for (const std::size_t index : target_.description().expedited) {
    if (!first) reply += ",";
    first = false;
    reply += join({"\"", std::to_string(index), "\":\""});
    append_register(reply, index);
    reply += "\"";
  }
  return Answer::of(reply + "}}]");
}

}  // namespace chronovisor::gdb
