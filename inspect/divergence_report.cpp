#include "inspect/divergence_report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "inspect/disassembly.h"

namespace chronovisor {
namespace {

constexpr std::size_t kMostFieldsInText = 64;
constexpr std::size_t kMostPagesInText = 16;
constexpr std::size_t kFieldBytesShown = 16;

std::string hex_number(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

/// A field's value: a number when it is as wide as one, otherwise bytes.
std::string field_value(const Bytes& value, std::size_t from) {
  if (value.empty()) return "(none)";
  if (value.size() == 1 || value.size() == 2 || value.size() == 4 || value.size() == 8) {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < value.size(); ++i) number |= std::uint64_t{value[i]} << (8 * i);
    return hex_number(number);
  }
  const std::size_t begin = std::min(from, value.size());
  const std::size_t count = std::min(kFieldBytesShown, value.size() - begin);
  return hex_bytes(ByteView(value).subspan(begin, count)) +
         (begin + count < value.size() ? " ..." : "");
}

/// Where two values begin to differ.
std::size_t first_difference(const Bytes& left, const Bytes& right) {
  const std::size_t common = std::min(left.size(), right.size());
  std::size_t at = 0;
  while (at < common && left[at] == right[at]) ++at;
  return at;
}

std::string padded(const std::string& name, std::size_t width) {
  return name + std::string(name.size() < width ? width - name.size() : 0, ' ');
}

std::string code_text(const CodePoint& code) {
  std::string text = "rip " + hex_number(code.rip);
  if (code.linear != code.rip) text += " (linear " + hex_number(code.linear) + ")";
  return text + ": " + disassemble(code) + "   [" + hex_bytes(code.bytes) + "]";
}

void add_fields(const StateDifference& difference, const SideNames& names, std::string& out) {
  if (difference.fields.empty()) return;
  out += "  registers and device fields that differ (" + names.left + " | " + names.right + "):\n";
  std::size_t shown = 0;
  for (const StateFieldDifference& field : difference.fields) {
    if (shown++ == kMostFieldsInText) {
      out += "    and " + std::to_string(difference.fields.size() - kMostFieldsInText) + " more\n";
      break;
    }
    const std::size_t at = first_difference(field.left, field.right);
    std::string name = field.section + "." + field.field;
    if (field.left.size() > 8 || field.right.size() > 8) name += " byte " + std::to_string(at);
    out += "    " + padded(name, 28) + " " + field_value(field.left, at) + " | " +
           field_value(field.right, at) + "\n";
  }
}

void add_pages(const StateDifference& difference, const SideNames& names, std::string& out) {
  if (difference.differing_pages == 0) return;
  out += "  pages of memory that differ: " + grouped(difference.differing_pages) + "\n";
  const std::size_t width = std::max(names.left.size(), names.right.size());
  std::size_t shown = 0;
  for (const PageDifference& page : difference.pages) {
    if (shown++ == kMostPagesInText) break;
    out += "    page " + hex_number(page.page.value) + ", offset " + hex_number(page.offset) +
           (page.region.empty() ? std::string(" (physical ") : " (of " + page.region + ", ") +
           hex_number(page.page.value + page.offset) + "), " +
           std::to_string(page.differing_bytes) + (page.differing_bytes == 1 ? " byte" : " bytes") +
           " in the page\n";
    out += "      " + padded(names.left, width) + "  " + hex_bytes(page.left) + "\n";
    out += "      " + padded(names.right, width) + "  " + hex_bytes(page.right) + "\n";
  }
  if (difference.differing_pages > std::min(difference.pages.size(), kMostPagesInText)) {
    out +=
        "    and " +
        grouped(difference.differing_pages - std::min(difference.pages.size(), kMostPagesInText)) +
        " more\n";
  }
}

}  // namespace

std::string divergence_text(const Divergence& divergence, const SideNames& names) {
  std::string out;
  if (!divergence.recurred) {
    out += "  no difference when run again\n";
  } else if (divergence.exact) {
    out += "  first differing step: " + grouped(divergence.last_equal.steps) + " -> " +
           grouped(divergence.first_different.steps) + "\n";
    if (divergence.code)
      out += "  the step, with what was due before it: " + code_text(*divergence.code) + "\n";
  } else if (divergence.last_equal == divergence.first_different) {
    out += "  different from the start, at position " + grouped(divergence.first_different.steps) +
           "\n";
    if (divergence.code)
      out += "  the " + names.left + " stands at " + code_text(*divergence.code) + "\n";
  } else {
    out += "  first differing interval: positions " + grouped(divergence.last_equal.steps) +
           " to " + grouped(divergence.first_different.steps) + "\n";
    if (divergence.code)
      out += "  the " + names.left + " stands at " + code_text(*divergence.code) + "\n";
  }
  if (divergence.state_compared) {
    out += "  states at position " + grouped(divergence.compared_at.steps) + ":\n";
    add_fields(divergence.difference, names, out);
    add_pages(divergence.difference, names, out);
    if (divergence.difference.empty()) out += "    no field and no page differs\n";
  }
  if (!divergence.explanation.empty()) out += "  " + divergence.explanation + "\n";
  return out;
}

std::string divergence_json(const Divergence& divergence, const SideNames& names) {
  nlohmann::ordered_json json;
  json["noticed"] = divergence.noticed.steps;
  json["repeats"] = divergence.recurred;
  json["exact"] = divergence.exact;
  json["last_equal"] = divergence.last_equal.steps;
  json["first_different"] = divergence.first_different.steps;
  if (divergence.code) {
    json["code"] = {{"rip", divergence.code->rip},
                    {"linear", divergence.code->linear},
                    {"bits", divergence.code->bits},
                    {"bytes", hex_bytes(divergence.code->bytes, "")},
                    {"text", disassemble(*divergence.code)}};
  }
  if (divergence.state_compared) {
    json["compared_at"] = divergence.compared_at.steps;
    json["fields"] = nlohmann::ordered_json::array();
    for (const StateFieldDifference& field : divergence.difference.fields) {
      json["fields"].push_back({{"section", field.section},
                                {"field", field.field},
                                {names.left, hex_bytes(field.left, "")},
                                {names.right, hex_bytes(field.right, "")}});
    }
    json["differing_pages"] = divergence.difference.differing_pages;
    json["pages"] = nlohmann::ordered_json::array();
    for (const PageDifference& page : divergence.difference.pages) {
      json["pages"].push_back({{"region", page.region},
                               {"page", page.page.value},
                               {"offset", page.offset},
                               {"differing_bytes", page.differing_bytes},
                               {names.left, hex_bytes(page.left, "")},
                               {names.right, hex_bytes(page.right, "")}});
    }
  }
  json["explanation"] = divergence.explanation;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace chronovisor
