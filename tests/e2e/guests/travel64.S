# Runs travel.c in 64-bit mode while the PIT interrupts it every few thousand
# instructions.
#include "../../guests/guest64.inc"

.globl timer_handler
main:
    fninit
    mov $0x11, %al
    out %al, $0x20
    mov $0x20, %al
    out %al, $0x21
    mov $4, %al
    out %al, $0x21
    mov $1, %al
    out %al, $0x21
    mov $0xfe, %al
    out %al, $0x21
    set_gate 0x20, timer_handler
    mov $0x34, %al               # channel 0, rate generator, 3 of 1.19 MHz: 2.5 us
    out %al, $0x43
    mov $3, %al
    out %al, $0x40
    xor %eax, %eax
    out %al, $0x40
    sti
    call c_main
    cli
    PASS

timer_handler:
    push %rax
    incl ticks
    mov $0x20, %al
    out %al, $0x20
    pop %rax
    iretq
