# Segmentation in protected mode: limits, expand-down, types, null, not present,
# the LDT, call gates with parameters between rings, conforming code, VERR, VERW,
# LAR, LSL, ARPL, BOUND, INTO and a 16-bit stack.
# QEMU's TCG checks no limits and few types on access, so those are HARDWARE.
#include "guest32.inc"
#define SMALL      0x30
#define DOWN       0x38
#define READ_ONLY  0x40
#define EXEC_ONLY  0x48
#define ABSENT     0x50
#define LDT        0x58
#define CALL_GATE  0x60
#define CONFORMING 0x68
#define STACK16    0x78

main:
    movl $0x00000fff, gdt + SMALL                  # data, base 0, limit 0xfff
    movl $0x00409300, gdt + SMALL + 4
    movl $0x00000fff, gdt + DOWN                   # expand-down: valid above 0xfff
    movl $0x00409700, gdt + DOWN + 4
    movl $0x0000ffff, gdt + READ_ONLY
    movl $0x00cf9100, gdt + READ_ONLY + 4
    movl $0x0000ffff, gdt + EXEC_ONLY
    movl $0x00cf9900, gdt + EXEC_ONLY + 4
    movl $0x0000ffff, gdt + ABSENT
    movl $0x00cf1300, gdt + ABSENT + 4
    movl $0x0000000f, gdt + LDT
    movl $0x00008200, gdt + LDT + 4
    set_base LDT, local_table
    movl $0x0000ffff, gdt + CONFORMING
    movl $0x00cf9f00, gdt + CONFORMING + 4
    movl $0x0000ffff, gdt + STACK16
    movl $0x00009300, gdt + STACK16 + 4
    set_base STACK16, small_stack

    # Limits
    mov $SMALL, %eax
    mov %eax, %fs
    EXPECT_NO_FAULT(mov %fs:0xfff, %al)
    HARDWARE(EXPECT_FAULT(GP, 0, mov %fs:0x1000, %al))
    HARDWARE(EXPECT_FAULT(GP, 0, mov %fs:0xffe, %eax))
    EXPECT_NO_FAULT(mov %fs:0xffc, %eax)
    mov $DOWN, %eax
    mov %eax, %fs
    EXPECT_NO_FAULT(mov %fs:0x1000, %al)
    HARDWARE(EXPECT_FAULT(GP, 0, mov %fs:0xfff, %al))
    # Types
    mov $READ_ONLY, %eax
    mov %eax, %fs
    EXPECT_NO_FAULT(mov %fs:0x1000, %al)
    HARDWARE(EXPECT_FAULT(GP, 0, mov %al, %fs:0x1000))
    mov $READ_ONLY, %eax
    EXPECT_FAULT(GP, READ_ONLY, mov %eax, %ss)
    mov $EXEC_ONLY, %eax
    EXPECT_FAULT(GP, EXEC_ONLY, mov %eax, %fs)
    mov $KERNEL_CS, %eax
    mov %eax, %fs
    HARDWARE(EXPECT_FAULT(GP, 0, mov %al, %fs:0x1000))
    mov $TSS_SEL, %eax
    EXPECT_FAULT(GP, TSS_SEL, mov %eax, %fs)
    # Null: loads, does not access; SS and CS refuse it
    xor %eax, %eax
    EXPECT_NO_FAULT(mov %eax, %fs)
    HARDWARE(EXPECT_FAULT(GP, 0, mov %fs:0, %al))
    EXPECT_FAULT(GP, 0, mov %eax, %ss)
    EXPECT_FAULT(GP, 0, ljmp $0, $0)
    mov $ABSENT, %eax
    EXPECT_FAULT(NP, ABSENT, mov %eax, %fs)
    EXPECT_FAULT(SS_, ABSENT, mov %eax, %ss)
    # A load sets the accessed bit
    andb $0xfe, gdt + SMALL + 5
    mov $SMALL, %eax
    mov %eax, %gs
    CHECK_EQ(b, $0x93, gdt+SMALL+5)
    # The LDT
    xor %eax, %eax
    lldt %ax
    mov $4, %eax
    EXPECT_FAULT(GP, 4, mov %eax, %fs)
    mov $LDT, %eax
    EXPECT_NO_FAULT(lldt %ax)
    sldt %ecx
    CHECK_EQ(w, $LDT, %cx)
    mov $12, %eax
    EXPECT_NO_FAULT(mov %eax, %fs)
    mov $0x14, %eax                                # beyond its limit
    EXPECT_FAULT(GP, 0x14, mov %eax, %fs)
    mov $SMALL, %eax
    EXPECT_FAULT(GP, SMALL, lldt %ax)
    # LAR, LSL, VERR, VERW
    mov $SMALL, %eax
    lsl %eax, %ecx
    CHECK(z)
    CHECK_EQ(l, $0xfff, %ecx)
    mov $KERNEL_DS, %eax
    lsl %eax, %ecx
    CHECK_EQ(l, $-1, %ecx)
    lar %eax, %ecx
    CHECK(z)
    and $0x00f0ff00, %ecx                          # bits 16 to 19 are undefined
    CHECK_EQ(l, $0x00c09300, %ecx)
    mov $0x7770, %eax
    mov $0x1357, %ecx
    lar %eax, %ecx
    CHECK(nz)
    CHECK_EQ(l, $0x1357, %ecx)
    mov $READ_ONLY, %eax
    verr %ax
    CHECK(z)
    verw %ax
    CHECK(nz)
    mov $EXEC_ONLY, %eax
    verr %ax
    CHECK(nz)
    # ARPL
    mov $0x20, %ax
    mov $0x13, %cx
    arpl %cx, %ax
    CHECK(z)
    CHECK_EQ(w, $0x23, %ax)
    arpl %cx, %ax
    CHECK(nz)
    # BOUND and INTO
    mov $10, %eax
    EXPECT_NO_FAULT(bound %eax, bounds)
    mov $21, %eax
    EXPECT_FAULT(BR, 0, bound %eax, bounds)
    mov $0x7fffffff, %eax
    add $1, %eax
    EXPECT_TRAP(OF, 0, into)
    xor %eax, %eax
    EXPECT_NO_FAULT(into)

    # A call gate with two parameters, from ring 3: the stack switches, they are copied
    movl $KERNEL_CS << 16, gdt + CALL_GATE
    mov $gate_entry, %eax
    mov %ax, gdt + CALL_GATE
    shr $16, %eax
    shl $16, %eax
    mov $0xec02, %ax
    mov %eax, gdt + CALL_GATE + 4
    EXPECT_USER_FAULT(UD, 0, user_after_gate, user_gate)
    CHECK_EQ(l, $1, gate_calls)
    CHECK_EQ(l, $user_stack_top, exc_esp)          # RET 8 took them off both stacks
    # the same gate with DPL 0 is not for ring 3
    movb $0x8c, gdt + CALL_GATE + 5
    EXPECT_USER_FAULT(GP, CALL_GATE, user_gate_call, user_gate)
    movb $0x6c, gdt + CALL_GATE + 5
    EXPECT_USER_FAULT(NP, CALL_GATE, user_gate_call, user_gate)
    # Ring 3 loads no ring 0 data, and jumps to no ring 0 code but conforming
    EXPECT_USER_FAULT(GP, KERNEL_DS, user_load_at, user_load)
    EXPECT_USER_FAULT(GP, KERNEL_CS, user_jump, user_jump)
    arm_resume 1f
    enter_user user_conform
1:  CHECK_EQ(l, $UD, exc_vector)
    CHECK_EQ(l, $CONFORMING+3, exc_cs)
    # RETF to an outer ring clears what ring 3 may not have in its data segments
    mov $KERNEL_DS, %eax
    mov %eax, %fs
    arm_resume 1f
    pushl $USER_DS
    pushl $user_stack_top
    pushl $USER_CS
    pushl $user_ud
    lret
1:  CHECK_EQ(l, $UD, exc_vector)
    mov %fs, %eax
    CHECK_EQ(l, $0, %eax)
    # A 16-bit stack: pushes use SP, and leave the upper half of ESP
    mov %esp, %ebp
    mov $STACK16, %eax
    mov %eax, %ss
    mov $0x77770000, %esp
    pushl $0x13572468
    mov %esp, %ecx
    mov $KERNEL_DS, %eax
    mov %eax, %ss
    mov %ebp, %esp
    CHECK_EQ(l, $0x7777fffc, %ecx)
    CHECK_EQ(l, $0x13572468, small_stack+0xfffc)
    ret

gate_entry:
    incl %ss:gate_calls
    cmpl $0x2222, 8(%esp)
    jne 1f
    cmpl $0x1111, 12(%esp)
    jne 1f
    cmpl $USER_CS, 4(%esp)
    jne 1f
    cmpl $user_stack_top - 8, 16(%esp)
    jne 1f
    lret $8
1:  mov $__LINE__, %edi
    jmp failed

user_gate:
    pushl $0x1111
    pushl $0x2222
user_gate_call:
    lcall $CALL_GATE + 3, $0
user_after_gate:
user_ud:
    ud2
user_load:
    mov $KERNEL_DS, %eax
user_load_at:
    mov %eax, %fs
user_jump:
    ljmp $KERNEL_CS, $main
user_conform:
    ljmp $CONFORMING, $user_ud

.data
bounds: .long 10, 20
.balign 8
local_table: .quad 0, 0x00cf93000000ffff
gate_calls: .long 0
.bss
.balign 16
small_stack: .skip 65536
