# An exception with an empty IDT: double fault, triple fault, shutdown.
# expect: triple-fault
#include "guest32.inc"
main:
    lidt nothing
    ud2
.data
nothing: .word 0
         .long 0
