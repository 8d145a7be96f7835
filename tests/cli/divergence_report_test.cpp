#include "inspect/divergence_report.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "inspect/disassembly.h"

using namespace chronovisor;

namespace {

Divergence sample() {
  Divergence divergence;
  divergence.noticed = {60'000};
  divergence.last_equal = {53'116};
  divergence.first_different = divergence.compared_at = {53'117};
  divergence.exact = divergence.state_compared = true;
  divergence.code = CodePoint{0xffffffff81000000, 0xffffffff81000000, 64, {0x48, 0x8b, 0x03}};
  divergence.difference.fields.push_back(
      {"cpu", "rbp", {1, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 0}});
  divergence.difference.differing_pages = 1;
  divergence.difference.pages.push_back({{0x5000}, {}, 0x123, 1, {0x40}, {0x00}});
  return divergence;
}

}  // namespace

TEST_CASE("a divergence is told with its step, instruction, fields and bytes") {
  const std::string text = divergence_text(sample(), {});
  for (const char* part : {"53,116 -> 53,117", "0xffffffff81000000", "mov rax, qword ptr [rbx]",
                           "cpu.rbp", "0x1 | 0x2", "page 0x5000, offset 0x123 (physical 0x5123)"}) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  }
}

TEST_CASE("the same as JSON") {
  const auto json = nlohmann::json::parse(divergence_json(sample(), {}));
  CHECK(json.at("first_different") == 53'117);
  CHECK(json.at("exact") == true);
  CHECK(json.at("code").at("text") == "mov rax, qword ptr [rbx]");
  CHECK(json.at("fields").at(0).at("field") == "rbp");
  CHECK(json.at("pages").at(0).at("page") == 0x5000);
  CHECK(json.at("pages").at(0).at("replay") == "40");
}

TEST_CASE(
    "instructions are shown in the mode they run in, and bytes that are none are said to be") {
  CHECK(disassemble({0, 0, 16, {0x31, 0xc0}}) == "xor ax, ax");
  CHECK(disassemble({0, 0, 32, {0x31, 0xc0}}) == "xor eax, eax");
  CHECK(disassemble({0, 0, 64, {0x06}}) == "(bytes that are no instruction)");
  CHECK(disassemble({0, 0, 64, {}}) == "(no memory there)");
}
