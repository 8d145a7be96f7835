# The 32-bit task switch: by far JMP, by far CALL and IRET, through a task gate in
# the GDT and in the IDT, and its faults.
#include "guest32.inc"
#define OTHER_TSS 0x30
#define GATE      0x38
#define BAD_TSS   0x40
#define DATA_ABSENT 0x48

main:
    set_base OTHER_TSS, other_tss
    movl $0x0067, gdt + OTHER_TSS
    set_base OTHER_TSS, other_tss
    movb $0x89, gdt + OTHER_TSS + 5
    movl $OTHER_TSS << 16, gdt + GATE
    movl $0x0000e500, gdt + GATE + 4
    movl $0x00000067, gdt + BAD_TSS
    set_base BAD_TSS, bad_tss
    movb $0x89, gdt + BAD_TSS + 5
    mov $0xffff, %ax
    mov %ax, gdt + DATA_ABSENT
    movl $0x00cf1300, gdt + DATA_ABSENT + 4

    # Far JMP to a TSS: the new one busy, the old one free, no link, no NT
    call prepare
    movl $jumped, other_tss + 32
    mov $0x1234567, %ebp
    ljmp $OTHER_TSS, $0
back_from_jump:
    CHECK_EQ(l, $0x1234567, %ebp)                  # our registers came back from the TSS
    # Far CALL: link and NT in the new, both busy; IRET comes back
    call prepare
    movl $called, other_tss + 32
    mov $0xabcdef, %ebp
    lcall $OTHER_TSS, $0
1:  CHECK_EQ(l, $0xabcdef, %ebp)
    CHECK_EQ(b, $0x89, gdt+OTHER_TSS+5)            # free again
    CHECK_EQ(b, $0x8b, gdt+TSS_SEL+5)
    CHECK_EQ(l, $1b, tss+32)                       # where the CALL returns to
    CHECK_EQ(l, $after_iret, other_tss+32)         # where it would go on
    CHECK_EQ(l, $2, tasks_run)
    # CALL again continues after the IRET
    lcall $OTHER_TSS, $0
    CHECK_EQ(l, $3, tasks_run)
    # Through the task gate in the GDT
    call prepare
    movl $called, other_tss + 32
    lcall $GATE, $0
    CHECK_EQ(l, $4, tasks_run)
    # Through a task gate in the IDT: an exception with an error code pushes it there
    call prepare
    movl $gp_task, other_tss + 32
    movl $OTHER_TSS << 16, idt + 8 * 13
    movl $0x00008500, idt + 8 * 13 + 4
    mov $0x1234, %ax
1:  mov %ax, %fs
2:  CHECK_EQ(l, $0x1234, gp_error)
    CHECK_EQ(l, $1b, gp_eip)
    CHECK_EQ(l, $5, tasks_run)
    set_gate 13, stubs+16*13
    # CR0.TS is set by each switch, so the first x87 instruction traps
    mov %cr0, %eax
    test $8, %eax
    CHECK(nz)
    EXPECT_FAULT(NM, 0, fnop)
    clts
    # The debug trap of the T bit in the new TSS
    call prepare
    movl $trap_task, other_tss + 32
    movw $1, other_tss + 100
    xor %eax, %eax
    mov %eax, %dr6
    HARDWARE(movl $trap_hook, exc_hook)            # QEMU has no T bit
    HARDWARE(lcall $OTHER_TSS, $0)
    HARDWARE(movl $0, exc_hook)
    HARDWARE(CHECK_EQ(l, $trap_task, exc_eip))
    HARDWARE(mov %dr6, %eax)
    HARDWARE(test $0x8000, %eax)
    HARDWARE(CHECK(nz))
    movw $0, other_tss + 100

    # Faults: a busy TSS, one too short, one not present
    movb $0x8b, gdt + OTHER_TSS + 5
    EXPECT_FAULT(GP, OTHER_TSS, ljmp $OTHER_TSS, $0)
    movb $0x09, gdt + OTHER_TSS + 5
    EXPECT_FAULT(NP, OTHER_TSS, ljmp $OTHER_TSS, $0)
    movb $0x89, gdt + OTHER_TSS + 5
    movw $0x66, gdt + OTHER_TSS
    EXPECT_FAULT(TS, OTHER_TSS, ljmp $OTHER_TSS, $0)
    movw $0x67, gdt + OTHER_TSS
    # NT with no valid link: TS of the linked selector
    pushfl
    orl $0x4000, (%esp)
    popfl
    movw $0, tss
    EXPECT_FAULT(TS, 0, iret)
    # A bad selector in the new TSS faults in the new task, at its first instruction
    call prepare
    movl $called, other_tss + 32
    movw $0x1000, other_tss + 84                   # DS beyond the GDT
    movl $bad_task_hook, exc_hook
    lcall $OTHER_TSS, $0
    movl $0, exc_hook
    CHECK_EQ(l, $TS, exc_vector)
    CHECK_EQ(l, $0x1000, exc_error)
    HARDWARE(CHECK_EQ(l, $called, exc_eip))        # QEMU says the old EIP
    # Segment not present in the new TSS: NP
    call prepare
    movl $called, other_tss + 32
    movw $DATA_ABSENT, other_tss + 84
    movl $bad_task_hook, exc_hook
    lcall $OTHER_TSS, $0
    movl $0, exc_hook
    CHECK_EQ(l, $NP, exc_vector)
    CHECK_EQ(l, $DATA_ABSENT, exc_error)
    ret

prepare:
    mov $other_tss, %edi
    mov $26, %ecx
    xor %eax, %eax
    cld
    rep stosl
    movl $other_stack_top, other_tss + 56
    movl $2, other_tss + 36
    movl $KERNEL_DS, other_tss + 72
    movl $KERNEL_CS, other_tss + 76
    movl $KERNEL_DS, other_tss + 80
    movl $KERNEL_DS, other_tss + 84
    movl $0x55aa, other_tss + 40                   # EAX
    movw $104, other_tss + 102
    movb $0x89, gdt + OTHER_TSS + 5
    ret

jumped:
    CHECK_EQ(l, $0x55aa, %eax)
    CHECK_EQ(l, $other_stack_top, %esp)
    CHECK_EQ(b, $0x8b, gdt+OTHER_TSS+5)
    CHECK_EQ(b, $0x89, gdt+TSS_SEL+5)
    CHECK_EQ(w, $0, other_tss)
    CHECK_EQ(l, $back_from_jump, tss+32)
    pushfl
    testl $0x4000, (%esp)
    CHECK(z)
    incl tasks_run
    str %ax
    CHECK_EQ(w, $OTHER_TSS, %ax)
    ljmp $TSS_SEL, $0

called:
    CHECK_EQ(l, $0x55aa, %eax)
    CHECK_EQ(b, $0x8b, gdt+OTHER_TSS+5)
    CHECK_EQ(b, $0x8b, gdt+TSS_SEL+5)
    CHECK_EQ(w, $TSS_SEL, other_tss)               # the link
    pushfl
    testl $0x4000, (%esp)
    CHECK(nz)
    incl tasks_run
    iret
after_iret:
    incl tasks_run
    iret

gp_task:
    popl gp_error
    mov tss + 32, %eax
    mov %eax, gp_eip
    movw $0, tss + 88                              # FS is what it loads when it goes on
    addl $2, tss + 32                              # MOV to FS is two bytes
    incl tasks_run
    iret

trap_task:
    iret
trap_hook:
    jmp exc_return
# We are in the other task, with its stack: go back to the one that called.
bad_task_hook:
    pushfl
    orl $0x4000, (%esp)
    popfl
    iret

.bss
.balign 128
other_tss: .skip 128
bad_tss:   .skip 128
gp_error:  .skip 4
gp_eip:    .skip 4
tasks_run: .skip 4
           .skip 4096
other_stack_top:
