#include <vector>

#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/interpret/x87/support.h"

namespace chronovisor {

std::span<const Row> x87_rows() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> all;
    for (const std::span<const Row> group :
         {x87::control_instruction_rows(), x87::transfer_rows(), x87::arithmetic_rows(),
          x87::comparison_rows(), x87::transcendental_rows()}) {
      all.insert(all.end(), group.begin(), group.end());
    }
    return all;
  }();
  return rows;
}

}  // namespace chronovisor
