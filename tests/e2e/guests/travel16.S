# Real-mode code in a segment other than 0: 0x7c00 is entered as 0:0x7c00 and
# goes on in segment 0x0700.
.code16
.globl start
start:
    cli
    xor %ax, %ax
    mov %ax, %ss
    mov $0x7000, %sp
    ljmp $0x0700, $(counting - 0x7000)
.globl counting
counting:
    mov $0x0900, %ax
    mov %ax, %ds
    xor %bx, %bx
    mov $10, %cx
.globl round
round:
    add %cx, %bx
    mov %bx, 0x10
    loop round
.globl finished
finished:
    xor %eax, %eax
    out %eax, $0xf4
1:  hlt
    jmp 1b
