# Runs main() in 32-bit protected mode, as a multiboot loader starts it; its return value
# goes to the debug exit port.
.section .multiboot, "a"
.balign 4
    .long 0x1badb002, 0, -0x1badb002
.text
.code32
.globl start
start:
    mov $stack_top, %esp
    call main
    out %eax, $0xf4
1:  hlt
    jmp 1b
.bss
.balign 16
    .space 16384
stack_top:
.section .note.GNU-stack, "", @progbits
