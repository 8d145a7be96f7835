#include "vmm/cpu/x87/support.h"
namespace chronovisor::x87 {
std::span<const Row> transcendental_rows() { return {}; }
}  // namespace chronovisor::x87
