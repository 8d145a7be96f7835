# A jump into memory that is all zeros: ADD [EAX], AL until the end of memory.
# expect: ends
# options: --memory 16M
#include "guest32.inc"
main:
    movl $0, idt_pointer
    lidt idt_pointer
    mov $0x200000, %eax
    jmp *%eax
