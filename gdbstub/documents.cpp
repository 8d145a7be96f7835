#include "gdbstub/documents.h"

#include <algorithm>

#include "base/text.h"
#include "gdbstub/text.h"

namespace chronovisor::gdb {

namespace {

void append_attribute(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out.append(" ").append(name).append("=\"").append(xml_escape(value)).append("\"");
}

void append_register(std::string& out, const RegisterDescription& row, std::size_t number) {
  out += "<reg";
  append_attribute(out, "name", row.name);
  append_attribute(out, "bitsize", std::to_string(row.bit_size));
  append_attribute(out, "type", row.type);
  append_attribute(out, "regnum", std::to_string(number));
  append_attribute(out, "group", row.group);
  append_attribute(out, "generic", row.generic);
  if (row.dwarf >= 0) {
    append_attribute(out, "dwarf_regnum", std::to_string(row.dwarf));
    append_attribute(out, "ehframe_regnum", std::to_string(row.dwarf));
  }
  if (!row.call_saved) append_attribute(out, "save-restore", "no");
  out += "/>\n";
}

void append_memory(std::string& out, std::uint64_t start, std::uint64_t length) {
  out += "<memory type=\"ram\" start=\"0x" + hex_number(start) + "\" length=\"0x" +
         hex_number(length) + "\"/>\n";
}

}  // namespace

std::string xml_escape(std::string_view text) {
  std::string plain(text);
  std::replace_if(
      plain.begin(), plain.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return markup_text(plain);
}

std::string target_xml(const TargetDescription& description) {
  std::string out =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
      "<target version=\"1.0\">\n<architecture>";
  out += description.architecture;
  out += "</architecture>\n";
  std::string_view feature;
  for (std::size_t i = 0; i < description.registers.size(); ++i) {
    const RegisterDescription& row = description.registers[i];
    if (row.feature != feature) {
      if (!feature.empty()) out += "</feature>\n";
      feature = row.feature;
      out.append("<feature name=\"").append(feature).append("\">\n");
      for (const FeatureTypes& types : description.types) {
        if (types.feature == feature) out += types.xml;
      }
    }
    append_register(out, row, i);
  }
  if (!feature.empty()) out += "</feature>\n";
  out += "</target>\n";
  return out;
}

std::string memory_map_xml(const std::vector<MemoryRegion>& regions) {
  std::string out =
      "<?xml version=\"1.0\"?>\n"
      "<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map V1.0//EN\" "
      "\"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n<memory-map>\n";
  for (const MemoryRegion& region : regions) {
    if (!region.mapped) continue;
    const std::uint64_t length = region.last - region.start + 1;
    if (length == 0) {
      // All 2^64 bytes: the length does not fit, so two halves.
      append_memory(out, 0, std::uint64_t{1} << 63);
      append_memory(out, std::uint64_t{1} << 63, std::uint64_t{1} << 63);
    } else {
      append_memory(out, region.start, length);
    }
  }
  out += "</memory-map>\n";
  return out;
}

std::string threads_xml(std::string_view thread_id, std::string_view description) {
  return "<?xml version=\"1.0\"?>\n<threads>\n<thread id=\"" + xml_escape(thread_id) +
         "\" core=\"0\" name=\"CPU 0\">" + xml_escape(description) + "</thread>\n</threads>\n";
}

}  // namespace chronovisor::gdb
