# Executes pseudo-random bytes in 32-bit mode from another seed, again after each fault,
# a few thousand times: whatever happens, the machine must go on or end.
# expect: ends
#define SEED 0x9e3779b9
#include "wild.inc"
