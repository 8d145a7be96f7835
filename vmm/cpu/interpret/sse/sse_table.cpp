// Gathers the rows of the SSE and MMX handler files; the rows themselves stand
// beside the functions that execute them.
#include <vector>

#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor {
namespace {

std::vector<Row> gather() {
  std::vector<Row> rows;
  for (const std::span<const Row> part :
       {sse::move_rows(), sse::float_rows(), sse::compare_rows(), sse::conversion_rows(),
        sse::estimate_rows(), sse::packed_arithmetic_rows(), sse::packed_multiply_rows(),
        sse::shift_rows(), sse::shuffle_rows(), sse::element_rows(), sse::string_rows(),
        sse::crypto_rows(), sse::save_rows()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

}  // namespace

std::span<const Row> sse_rows() {
  static const std::vector<Row> rows = gather();
  return rows;
}

}  // namespace chronovisor
