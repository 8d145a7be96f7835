# Runs travel.c in 32-bit protected mode, as a multiboot loader starts it.
.section .multiboot, "a"
.balign 4
    .long 0x1badb002, 0, -0x1badb002
.text
.code32
.globl start
start:
    mov $stack_top, %esp
    fninit
    call c_main
    xor %eax, %eax
    out %eax, $0xf4
1:  hlt
    jmp 1b
.bss
.balign 16
    .space 4096
stack_top:
