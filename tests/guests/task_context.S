# A far CALL to a task with another CR3, another base of CS and descriptors that were
# not accessed yet: the processor writes to the GDT when both are the new task's.
#include "guest32.inc"
#define OTHER_TSS 0x30
#define OTHER_CS  0x38
#define OTHER_SS  0x40
#define OTHER_ES  0x48
#define CS_BASE   0x1000

main:
    set_base OTHER_TSS, other_tss
    movl $0x0067, gdt + OTHER_TSS
    set_base OTHER_TSS, other_tss
    movb $0x89, gdt + OTHER_TSS + 5
    movl $CS_BASE << 16 | 0xffff, gdt + OTHER_CS
    movl $0x00cf9a00, gdt + OTHER_CS + 4
    movl $0x0000ffff, gdt + OTHER_SS
    movl $0x00cf9200, gdt + OTHER_SS + 4
    movl $0x0000ffff, gdt + OTHER_ES
    movl $0x00cf9200, gdt + OTHER_ES + 4

    # Two page directories, each with one page of 4 MiB at its place
    movl $0x83, directory
    movl $0x83, other_directory
    mov %cr4, %eax
    or $0x10, %eax                                 # PSE
    mov %eax, %cr4
    mov $directory, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    movl $directory, tss + 28

    movl $other_directory, other_tss + 28
    movl $called - CS_BASE, other_tss + 32
    movl $2, other_tss + 36                        # EFLAGS
    movl $other_stack, other_tss + 56
    movl $OTHER_ES, other_tss + 72
    movl $OTHER_CS, other_tss + 76
    movl $OTHER_SS, other_tss + 80
    movl $KERNEL_DS, other_tss + 84
    movw $104, other_tss + 102                     # no I/O map
    lcall $OTHER_TSS, $0
    CHECK_EQ(l, $0x1234567, seen)
    mov %cr3, %eax
    CHECK_EQ(l, $directory, %eax)
    mov gdt + OTHER_CS + 4, %eax
    CHECK_EQ(l, $0x00cf9b00, %eax)                 # accessed
    ret

called:
    movl $0x1234567, seen
    iret

.bss
.balign 4096
directory:       .skip 4096
other_directory: .skip 4096
other_tss:       .skip 128
seen:            .skip 4
                 .skip 4096
other_stack:
