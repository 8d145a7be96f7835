// What is said of keys that a US keyboard does not have.
#include "host/key_text.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace chronovisor {
namespace {

TEST_CASE("a character that has no key is named whole, and counted by characters") {
  CHECK_THROWS_WITH_AS((void)typed_keys("a\xc3\xa9"),
                       "keys: \"\xc3\xa9\" at character 2 is no key of a US keyboard", Error);
  CHECK_THROWS_WITH_AS((void)typed_keys("<\xc3\xa9>\xe2\x82\xac"),
                       "keys: \"<\xc3\xa9>\" at character 1 is no key of a US keyboard", Error);
  CHECK_THROWS_WITH_AS((void)typed_keys("a\\\xe2\x82\xac"),
                       "keys: \"\\\xe2\x82\xac\" at character 2 is no key of a US keyboard", Error);
  CHECK_THROWS_WITH_AS((void)typed_keys("a<nokey>"),
                       "keys: \"<nokey>\" at character 2 is no key of a US keyboard", Error);
  CHECK_THROWS_WITH_AS((void)typed_keys("\x80"),
                       "keys: \"\x80\" at character 1 is no key of a US keyboard", Error);
}

}  // namespace
}  // namespace chronovisor
