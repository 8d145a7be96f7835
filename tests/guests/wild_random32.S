# Executes pseudo-random bytes in 32-bit mode, ring 0, again after each fault,
# a few thousand times: whatever happens, the machine must go on or end.
# expect: ends
#define SEED 0x2545f491
#include "wild.inc"
