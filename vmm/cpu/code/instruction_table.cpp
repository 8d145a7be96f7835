#include "vmm/cpu/code/instruction_table.h"

#include <vector>

namespace chronovisor {

std::span<const Row> instruction_table() {
  static const std::vector<Row> table = [] {
    std::vector<Row> rows;
    for (const std::span<const Row> group :
         {integer_rows(), control_rows(), system_rows(), x87_rows(), sse_rows()}) {
      rows.insert(rows.end(), group.begin(), group.end());
    }
    return rows;
  }();
  return table;
}

}  // namespace chronovisor
