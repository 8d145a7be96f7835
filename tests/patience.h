// How much more time than usual a test may take. CTest says it to the tests
// (CHRONOVISOR_TEST_PATIENCE in tests/CMakeLists.txt), since builds with sanitizers
// are slow: limits of time are multiplied by it, and what looks at every one of many
// cases may look at fewer.
#pragma once

#include <cstddef>
#include <cstdlib>

namespace chronovisor::testing {

inline int patience() {
  const char* given = std::getenv("CHRONOVISOR_TEST_PATIENCE");
  const int value = given != nullptr ? std::atoi(given) : 1;
  return value > 1 ? value : 1;
}

/// 1, which is every case; `step` where there is not the time for all of them.
inline std::size_t every(std::size_t step) { return patience() > 1 ? step : 1; }

}  // namespace chronovisor::testing
