# A boot sector: reads the sector behind it through the BIOS and prints what it says.
.code16
.text
.globl start
start:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $0x0201, %ax                            # one sector
    mov $0x0002, %cx                            # cylinder 0, sector 2
    mov $0x0000, %dx                            # head 0, drive A
    mov $0x8000, %bx
    int $0x13
    jc failed
    mov $0x8000, %si
print:
    lodsb
    test %al, %al
    jz done
    out %al, $0xe9
    mov $0x0e, %ah
    int $0x10
    jmp print
done:
    mov $0x0301, %ax                            # and writes it further behind
    mov $0x0103, %cx                            # cylinder 1, sector 3
    mov $0x0100, %dx                            # head 1
    mov $0x8000, %bx
    int $0x13
    jc failed
    xor %eax, %eax
    out %eax, $0xf4
failed:
    mov $1, %eax
    out %eax, $0xf4
1:  hlt
    jmp 1b
    .org 510
    .word 0xaa55
