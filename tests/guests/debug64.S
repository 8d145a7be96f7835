# Single-stepping by TF and the guest's debug registers: execute, write, I/O-free
# data breakpoints, DR6, RF, general detect.
#include "guest64.inc"

main:
    # TF: a trap after each instruction, the first after the one that follows POPF
    movl $step_hook, irq_hook
    movl $0, exc_count
    xor %eax, %eax
    mov %rax, %dr6
    pushfq
    orl $0x100, (%rsp)
    popfq
    nop
1:  inc %eax
2:  nop
3:  pushfq
    andl $~0x100, (%rsp)
    popfq
4:  nop
    CHECK_EQ(l, $6, exc_count)                     # nop, inc, nop, pushfq, and, popfq
    CHECK_EQ(l, $1b, step_rips)
    CHECK_EQ(l, $2b, step_rips+4)
    CHECK_EQ(l, $3b, step_rips+8)
    CHECK_EQ(l, $4b, step_rips+20)
    CHECK_EQ(l, $1, %eax)
    mov %dr6, %rax
    test $0x4000, %eax                             # BS
    CHECK(nz)
    # TF and a REP string: one trap an iteration, RIP on the instruction until the last
    movl $0, exc_count
    xor %eax, %eax
    mov $buffer, %edi
    mov $3, %ecx
    pushfq
    orl $0x100, (%rsp)
    popfq
1:  rep stosb
2:  pushfq
    andl $~0x100, (%rsp)
    popfq
    CHECK_EQ(l, $6, exc_count)
    CHECK_EQ(l, $1b, step_rips)
    CHECK_EQ(l, $1b, step_rips+4)
    CHECK_EQ(l, $2b, step_rips+8)
    # MOV SS holds the trap back for one instruction
    movl $0, exc_count
    mov $KERNEL_DS, %eax
    pushfq
    orl $0x100, (%rsp)
    popfq
    mov %eax, %ss
    nop
1:  pushfq
    andl $~0x100, (%rsp)
    popfq
    HARDWARE(CHECK_EQ(l, $1b, step_rips))          # QEMU traps after the MOV
    # A fault clears TF in its handler and keeps it in the frame
    movl $0, irq_hook
    xor %eax, %eax
    mov %rax, %dr6
    arm_resume 2f
    pushfq
    orl $0x100, (%rsp)
    popfq
1:  ud2
2:  CHECK_EQ(l, $UD, exc_vector)
    testl $0x100, exc_rflags
    CHECK(nz)

    # Execution breakpoint: a fault, RF set in nothing but the resumed image
    movl $step_hook, irq_hook
    movl $0, exc_count
    xor %eax, %eax
    mov %rax, %dr6
    mov $1f, %eax
    mov %rax, %dr0
    mov $0x403, %eax
    mov %rax, %dr7
    xor %ecx, %ecx
    jmp 1f
    nop
1:  inc %ecx
    nop
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(l, $1b, step_rips)
    CHECK_EQ(l, $1, %ecx)
    mov %dr6, %rax
    test $1, %eax
    CHECK(nz)
    test $0x4000, %eax
    CHECK(z)
    # Write watch, four bytes: a trap after; reads do not count
    movl $0, exc_count
    xor %eax, %eax
    mov %rax, %dr6
    mov $buffer, %eax
    mov %rax, %dr1
    mov $0x00d0040c, %eax                          # DR1: write, length 4
    mov %rax, %dr7
    mov buffer, %eax
    CHECK_EQ(l, $0, exc_count)
    movb $1, buffer + 3
1:  nop
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(l, $1b, step_rips)
    mov %dr6, %rax
    test $2, %eax
    CHECK(nz)
    movb $1, buffer + 4
    CHECK_EQ(l, $1, exc_count)
    # an access that only overlaps counts
    movq $0, buffer - 6
    CHECK_EQ(l, $2, exc_count)
    push %rbx
    pop %rbx
    CHECK_EQ(l, $2, exc_count)
    # Read or write
    mov $0x00f0040c, %eax
    mov %rax, %dr7
    movl $0, exc_count
    mov buffer, %eax
    nop
    CHECK_EQ(l, $1, exc_count)
    # a string move hits once an iteration
    movl $0, exc_count
    mov $buffer, %edi
    mov $4, %ecx
    xor %eax, %eax
    rep stosb
    nop
    CHECK_EQ(l, $4, exc_count)
    # off
    mov $0x400, %eax
    mov %rax, %dr7
    movl $0, exc_count
    mov buffer, %eax
    movl $1, buffer
    CHECK_EQ(l, $0, exc_count)

    # A breakpoint on a REP instruction is met once, however many iterations follow
    mov $1f, %eax
    mov %rax, %dr0
    mov $0x403, %eax
    mov %rax, %dr7
    mov $buffer, %edi
    mov $4, %ecx
    xor %eax, %eax
1:  rep stosb
    HARDWARE(CHECK_EQ(l, $1, exc_count))           # QEMU has one an iteration
    mov $0x400, %eax
    mov %rax, %dr7

    # I/O breakpoint: a trap after an access that touches the port, with CR4.DE
    mov %cr4, %rax
    or $8, %eax
    mov %rax, %cr4
    mov $0x81, %eax
    mov %rax, %dr2
    mov $0x02000410, %eax                          # DR2: I/O, one byte
    mov %rax, %dr7
    movl $0, exc_count
    xor %eax, %eax
    mov %rax, %dr6
    out %al, $0x80
    in $0x82, %al
    CHECK_EQ(l, $0, exc_count)
    out %al, $0x81
1:  nop
    CHECK_EQ(l, $1, exc_count)
    mov %dr6, %rax
    test $4, %eax
    CHECK(nz)
    in $0x80, %ax
    nop
    CHECK_EQ(l, $2, exc_count)
    # the number is a port's, not an address
    movb 0x81, %al
    CHECK_EQ(l, $2, exc_count)
    mov $0x400, %eax
    mov %rax, %dr7
    out %al, $0x81
    CHECK_EQ(l, $2, exc_count)
    mov %cr4, %rax
    and $~8, %eax
    mov %rax, %cr4

    # General detect: any access of a debug register traps before it, GD is cleared
    movl $0, irq_hook
    xor %eax, %eax
    mov %rax, %dr6
    mov $0x2400, %eax
    mov %rax, %dr7
    HARDWARE(EXPECT_FAULT(DB, 0, mov %dr0, %rax))  # QEMU has no GD
    HARDWARE(mov %dr6, %rax)
    HARDWARE(test $0x2000, %eax)
    HARDWARE(CHECK(nz))
    HARDWARE(mov %dr7, %rax)
    HARDWARE(test $0x2000, %eax)
    HARDWARE(CHECK(z))
    mov $0x400, %eax
    mov %rax, %dr7
    # DR4 and DR5 are DR6 and DR7 unless CR4.DE
    EXPECT_NO_FAULT(mov %dr5, %rax)
    CHECK_EQ(l, $0x400, %eax)
    mov %cr4, %rax
    or $8, %eax
    mov %rax, %cr4
    EXPECT_FAULT(UD, 0, mov %dr4, %rax)
    EXPECT_FAULT(UD, 0, mov %rax, %dr5)
    # upper halves are reserved
    movabs $0x100000000, %rax
    EXPECT_FAULT(GP, 0, mov %rax, %dr7)
    HARDWARE(EXPECT_FAULT(GP, 0, mov %rax, %dr6))
    ret

# Notes the RIP, and steps over an execution breakpoint by setting RF.
step_hook:
    push %rbx
    mov exc_count, %ebx
    cmp $16, %ebx
    ja 1f
    mov exc_rip, %eax
    mov %eax, step_rips-4(,%rbx,4)
1:  pop %rbx
    orl $0x10000, 40(%rsp)
    jmp exc_return

.bss
.balign 16
step_rips: .skip 128
           .skip 16
buffer:    .skip 64
