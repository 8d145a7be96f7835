# Instructions that do nothing: ENDBR64 and ENDBR32, the hints 0F 18 to 0F 1F and
# prefetches in all their forms, multi-byte NOPs; in 64-bit, compatibility and user
# code. None faults, whatever its operand, and none changes a register or a flag.
#include "guest64.inc"

.macro every_hint
    endbr64
    .byte 0xf3, 0x0f, 0x1e, 0xfb                   # ENDBR32
    .set opcode, 0x18
    .rept 8
    .set prefix, 0
    .rept 4
    .if prefix == 1
    .byte 0x66
    .elseif prefix == 2
    .byte 0xf2
    .elseif prefix == 3
    .byte 0xf3
    .endif
    .byte 0x0f, opcode, 0xc0 | (prefix << 3)       # a register
    .byte 0x0f, opcode, 0x06 | (prefix << 3)       # memory that is not mapped
    .byte 0x0f, opcode, 0xf8                       # reg field 7
    .set prefix, prefix + 1
    .endr
    .set opcode, opcode + 1
    .endr
    .set field, 0
    .rept 8                                        # PREFETCH, PREFETCHW and its kin
    .byte 0x0f, 0x0d, 0x06 | (field << 3)
    .set field, field + 1
    .endr
    .byte 0x66, 0x90
    .byte 0x0f, 0x1f, 0x00
    .byte 0x0f, 0x1f, 0x40, 0x00
    .byte 0x0f, 0x1f, 0x44, 0x00, 0x00
    .byte 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00
    .byte 0x0f, 0x1f, 0x80, 0, 0, 0, 0
    .byte 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0
    .byte 0x66, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0
    .byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0
.endm

main:
    mov $3, %ebp
1:  call hints
    dec %ebp
    jnz 1b
    # compatibility mode
    mov $0xffffffff, %esi
    mov $0x1234, %ebx
    pushq $KERNEL_CS32
    pushq $compatible
    lretq
back:
    CHECK_EQ(l, $0x1235, %ebx)
    CHECK_EQ(l, $0xffffffff, %esi)
    # ring 3
    EXPECT_USER_FAULT(UD, 0, user_end, user)
    CHECK_EQ(q, $0x77, user_result)
    ret

hints:
    mov $-16, %rsi                                 # canonical, and not mapped
    mov $0x1122334455667788, %rax
    mov %rax, %rbx
    mov %rax, %rcx
    mov $0x8d7, %edx
    push %rdx
    popfq
    every_hint
    pushfq
    pop %rdx
    and $0xcd7, %edx
    CHECK_EQ(l, $0x8d7, %edx)
    CHECK_EQ(q, %rax, %rbx)
    CHECK_EQ(q, %rax, %rcx)
    CHECK_EQ(q, $-16, %rsi)
    ret

.code32
compatible:
    every_hint
    inc %ebx
    ljmp $KERNEL_CS, $back
.code64

user:
    mov $-16, %rsi
    mov $0x76, %edi
    every_hint
    inc %edi
    movabs $USER_WINDOW + user_result, %rax
    mov %rdi, (%rax)
user_end:
    ud2

.data
.balign 8
user_result: .quad 0
