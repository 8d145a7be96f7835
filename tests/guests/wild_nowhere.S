# A jump to where there is no memory: the bus reads all ones, which is no instruction.
# expect: ends
#include "guest32.inc"
main:
    lidt nothing
    mov $0xd0000000, %eax
    jmp *%eax
.data
nothing: .word 0
         .long 0
