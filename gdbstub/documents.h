// Owns the XML documents a client may fetch: the target description, the
// memory map and the thread list. Knows no packet. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gdbstub/target.h"

namespace chronovisor::gdb {

/// target.xml: architecture, features, types and registers in order.
/// Source: GDB manual, appendix "Target Descriptions"; the attributes altname,
/// generic and dwarf_regnum are lldb's and ignored by gdb.
std::string target_xml(const TargetDescription& description);
/// Source: GDB manual, "Memory Map Format".
std::string memory_map_xml(const std::vector<MemoryRegion>& regions);
/// Source: GDB manual, "Thread List Format".
std::string threads_xml(std::string_view thread_id, std::string_view description);
std::string xml_escape(std::string_view text);

}  // namespace chronovisor::gdb
