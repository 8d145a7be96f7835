#include "host/host.h"

#include <doctest/doctest.h>

#include "base/error.h"

using namespace chronovisor;
using namespace chronovisor;

namespace {

template <class Action>
std::string usage_error(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::usage);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("numbers are read in decimal and hexadecimal, with separators") {
  CHECK(parse_number("0", "--to") == 0);
  CHECK(parse_number("41,239,004", "--to") == 41'239'004);
  CHECK(parse_number("41_239_004", "--to") == 41'239'004);
  CHECK(parse_number("0x7c00", "--to") == 0x7c00);
  CHECK(parse_number("0XfF", "--to") == 0xff);
  CHECK(parse_number("18446744073709551615", "--to") == ~std::uint64_t{0});
}

TEST_CASE("what is no number is refused by the name of its option") {
  for (const char* text : {"", "x", "12x", "-1", "+1", "0x", " 1", "1 ", "1.5", ",",
                           "18446744073709551616", "0x10000000000000000"}) {
    CAPTURE(text);
    const std::string message = usage_error([&] { static_cast<void>(parse_number(text, "--to")); });
    CHECK(message.find("--to") != std::string::npos);
    CHECK(message.find(text) != std::string::npos);
  }
}

TEST_CASE("sizes take a binary unit") {
  CHECK(parse_size("4096", "--memory") == 4096);
  CHECK(parse_size("64K", "--memory") == 65536);
  CHECK(parse_size("256M", "--memory") == 268'435'456);
  CHECK(parse_size("256m", "--memory") == 268'435'456);
  CHECK(parse_size("1G", "--memory") == 1'073'741'824);
}

TEST_CASE("sizes that are none, or too large, are refused") {
  for (const char* text : {"", "M", "1T", "M1", "17179869184G", "-1M"}) {
    CAPTURE(text);
    CHECK(usage_error([&] { static_cast<void>(parse_size(text, "--memory")); }).find("--memory") !=
          std::string::npos);
  }
}

TEST_CASE("sizes and times are shown for people") {
  CHECK(size_text(0) == "0 bytes");
  CHECK(size_text(1023) == "1023 bytes");
  CHECK(size_text(1536) == "1.5 KiB");
  CHECK(size_text(std::uint64_t{5} << 30) == "5.0 GiB");
  CHECK(utc_text(0) == "1970-01-01T00:00:00Z");
}
