# Every exception vector in long mode: the vector, the error code, the saved RIP.
#include "guest64.inc"

# The EXT bit of an error code from delivering an exception: hardware sets it
# (SDM vol. 3A, "Error Code"), QEMU's TCG does not, so runs there define QEMU.
// In long mode QEMU 7.2 also counts the gate's number in sixteens.
#ifdef QEMU
#define EXT 0
#define UD_GATE (6*16+2)
#else
#define EXT 1
#define UD_GATE (6*8+2)
#endif

main:
    # DE: by zero, and a quotient that does not fit
    xor %ecx, %ecx
    mov $1, %eax
    xor %edx, %edx
    EXPECT_FAULT(DE, 0, div %ecx)
    mov $2, %edx
    mov $1, %ecx
    EXPECT_FAULT(DE, 0, div %ecx)
    mov $0x80000000, %eax
    mov $-1, %edx
    mov $-1, %ecx
    EXPECT_FAULT(DE, 0, idiv %ecx)
    # A fault leaves the registers
    CHECK_EQ(l, $0x80000000, %eax)
    CHECK_EQ(l, $-1, %edx)

    # DB by INT1, BP and OF: traps, RIP after the instruction
    HARDWARE(EXPECT_TRAP(DB, 0, .byte 0xf1))      # QEMU 7.2 has no INT1: UD
    EXPECT_TRAP(BP, 0, int3)
    EXPECT_TRAP(BP, 0, .byte 0xcd, 3)
    EXPECT_TRAP(OF, 0, int $4)
    # INT n never pushes an error code, even through a vector that has one.
    # The stub of vector 13 pops none, so what it takes for the error is RIP.
    movl $-1, exc_error
    arm_resume 2f
    int $13
1:
2:  CHECK_EQ(l, $1b, exc_error)

    # UD
    EXPECT_FAULT(UD, 0, ud2)
    EXPECT_FAULT(UD, 0, .byte 0x0f, 0xff, 0xc0)
    EXPECT_FAULT(UD, 0, .byte 0x06)                # PUSH ES has no 64-bit form
    EXPECT_FAULT(UD, 0, .byte 0x27)                # DAA
    EXPECT_FAULT(UD, 0, .byte 0xce)                # INTO
    EXPECT_FAULT(UD, 0, .byte 0x62, 0x00, 0x00)    # BOUND is EVEX here, not offered
    EXPECT_FAULT(UD, 0, .byte 0xf0, 0x01, 0xc0)    # LOCK on a register
    HARDWARE(EXPECT_FAULT(UD, 0, .byte 0xf0, 0x8b, 0x00))   # LOCK MOV
    EXPECT_FAULT(UD, 0, .byte 0x8e, 0xc8)          # MOV to CS
    EXPECT_FAULT(UD, 0, .byte 0x0f, 0x20, 0xc8)    # MOV from CR1
    EXPECT_FAULT(UD, 0, .byte 0xea, 0, 0, 0, 0, 0, 0)

    # NM: by TS and by EM
    mov %cr0, %rax
    or $8, %al
    mov %rax, %cr0
    EXPECT_FAULT(NM, 0, fnop)
    EXPECT_FAULT(NM, 0, movaps %xmm0, %xmm1)
    EXPECT_FAULT(NM, 0, fwait)                     # MP is set as well
    clts
    mov %cr0, %rax
    or $4, %al
    mov %rax, %cr0
    EXPECT_FAULT(NM, 0, fld1)
    EXPECT_FAULT(UD, 0, movaps %xmm0, %xmm1)       # SSE under EM
    EXPECT_NO_FAULT(fwait)                         # only MP and TS count
    mov %cr0, %rax
    and $~4, %al
    mov %rax, %cr0
    EXPECT_NO_FAULT(movaps %xmm0, %xmm1)
    mov %cr4, %rax
    mov %rax, %rbx
    and $~0x200, %eax
    mov %rax, %cr4
    EXPECT_FAULT(UD, 0, movaps %xmm0, %xmm1)       # OSFXSR off
    mov %rbx, %cr4

    # NP and SS by segment loads; TS by a bad stack in the TSS is in task_switch
    mov $NOT_PRESENT, %eax
    EXPECT_FAULT(NP, NOT_PRESENT, mov %eax, %ds)
    EXPECT_FAULT(SS_, NOT_PRESENT, mov %eax, %ss)
    mov $0x400, %eax                               # beyond the GDT's limit
    EXPECT_FAULT(GP, 0x400, mov %eax, %es)
    mov $KERNEL_CS, %eax
    EXPECT_FAULT(GP, KERNEL_CS, mov %eax, %ss)     # code is no stack
    mov $USER_DS, %eax
    EXPECT_FAULT(GP, 0x18, mov %eax, %ss)          # RPL and DPL 3 at CPL 0
    mov $3, %eax
    HARDWARE(EXPECT_FAULT(GP, 0, mov %eax, %ss))            # null with RPL != CPL
    mov $TSS_SEL, %eax
    EXPECT_FAULT(GP, TSS_SEL, mov %eax, %fs)       # a system descriptor
    EXPECT_FAULT(GP, TSS_SEL, ltr %ax)             # it is busy
    xor %eax, %eax
    HARDWARE(EXPECT_FAULT(GP, 0, ltr %ax))
    EXPECT_NO_FAULT(mov %eax, %ss)                 # null SS is fine in ring 0
    mov $KERNEL_DS, %eax
    mov %eax, %ss

    # GP and SS by addresses that are not canonical
    movabs $0x0000800000000000, %rax
    EXPECT_FAULT(GP, 0, mov (%rax), %bl)
    movabs $0x00007fffffffffff, %rax
    HARDWARE(EXPECT_FAULT(GP, 0, movw $0, (%rax)))          # the second byte is not
    movabs $0x1234567812345678, %rax
    HARDWARE(EXPECT_FAULT(GP, 0, jmp *%rax))       # QEMU faults at the target
#ifndef QEMU                                       // it raises GP
    movb $1, idt + 16 * 12 + 4                     # SS needs a good stack: IST 1
    mov %rsp, %rbx
    movabs $0x8000000000000000, %rsp
    movl $1f, resume_rip
    mov %rbx, resume_rsp
2:  push %rax
    jmp 3f
1:  CHECK_EQ(l, $SS_, exc_vector)
    CHECK_EQ(l, $0, exc_error)
    CHECK_EQ(l, $2b, exc_rip)
    jmp 4f
3:  mov $__LINE__, %edi
    jmp failed
4:
#endif
    # PF: not present, read and write
    movabs $0x10000000000, %rax
    EXPECT_FAULT(PF, 0, mov (%rax), %bl)
    CHECK_EQ(q, %rax, exc_cr2)
    EXPECT_FAULT(PF, PF_W, mov %bl, 5(%rax))
    add $5, %rax
    CHECK_EQ(q, %rax, exc_cr2)

    # MF: an unmasked x87 exception is reported by the next x87 instruction
    fninit
    fldcw unmask_zero_divide
    fld1
    fldz
    fdivrp                                         # 1 / 0
    EXPECT_FAULT(MF, 0, fwait)
    HARDWARE(EXPECT_FAULT(MF, 0, fld1))             # QEMU looks on FWAIT only
    EXPECT_NO_FAULT(fnclex)
    EXPECT_NO_FAULT(fwait)
    fninit

    # XM
    ldmxcsr unmask_all_sse
    xorps %xmm1, %xmm1
    movss one, %xmm0
    HARDWARE(EXPECT_FAULT(XM, 0, divss %xmm1, %xmm0))  # QEMU raises none
    stmxcsr scratch
    HARDWARE(CHECK_EQ(l, $0x0004, scratch))        # ZE is set
    mov %cr4, %rax
    mov %rax, %rbx
    and $~0x400, %eax
    mov %rax, %cr4
    HARDWARE(EXPECT_FAULT(UD, 0, divss %xmm1, %xmm0))  # OSXMMEXCPT off
    mov %rbx, %cr4
    movl $0x1f80, scratch
    ldmxcsr scratch
    movl $0x10000, scratch
    HARDWARE(EXPECT_FAULT(GP, 0, ldmxcsr scratch))           # a reserved bit

    # Alignment of SSE operands is GP, not AC
    mov $scratch + 1, %eax
    EXPECT_FAULT(GP, 0, movaps (%rax), %xmm0)
    EXPECT_NO_FAULT(movups (%rax), %xmm0)
    EXPECT_FAULT(GP, 0, lock cmpxchg16b (%rax))

    # AC: only in ring 3, with CR0.AM and RFLAGS.AC
    mov %cr0, %rax
    or $0x40000, %eax
    mov %rax, %cr0
    movq $0x40002, user_rflags
    HARDWARE(EXPECT_USER_FAULT(AC, 0, user_misaligned_at, user_misaligned))  # QEMU has no AC
    movq $0x2, user_rflags
    EXPECT_USER_FAULT(UD, 0, user_fine_at, user_misaligned)

    # BP and OF from ring 3, GP for a gate of DPL 0: error = vector * 8 + IDT
    EXPECT_USER_FAULT(BP, 0, user_bp_next, user_bp)
    EXPECT_USER_FAULT(GP, UD_GATE, user_int6, user_int6)
    EXPECT_USER_FAULT(OF, 0, user_int4_next, user_int4)

    # DF: a fault while delivering a page fault; its own stack by IST
    movb $1, idt + 16 * 8 + 4
    movb $0x0e, idt + 16 * 14 + 5                  # the PF gate is not present
    movabs $0x10000000000, %rax
    arm_resume 1f
2:  mov (%rax), %bl
1:  CHECK_EQ(l, $DF, exc_vector)
    CHECK_EQ(l, $0, exc_error)
    CHECK_EQ(l, $2b, exc_rip)
    CHECK_EQ(q, $ist_stack_top, exc_frame_end)
    # NP on the way to a GP: double fault as well
    movb $0x0e, idt + 16 * 13 + 5
    movabs $0x0000800000000000, %rax
    arm_resume 1f
2:  mov (%rax), %bl
1:  CHECK_EQ(l, $DF, exc_vector)
    movb $0x8e, idt + 16 * 13 + 5
    movb $0x8e, idt + 16 * 14 + 5
    # A gate that is not present, for a benign UD: NP with the gate's number
    movb $0x0e, idt + 16 * 6 + 5
    arm_resume 1f
2:  ud2
1:  CHECK_EQ(l, $NP, exc_vector)
    CHECK_EQ(l, $UD_GATE+EXT, exc_error)
    CHECK_EQ(l, $2b, exc_rip)
    # A gate of no valid type: GP, which is looked at first
    movb $0, idt + 16 * 6 + 5
    arm_resume 1f
2:  ud2
1:  CHECK_EQ(l, $GP, exc_vector)
    CHECK_EQ(l, $UD_GATE+EXT, exc_error)
    movb $0x0e, idt + 16 * 6 + 5
    # INT n: the EXT bit is clear
    arm_resume 1f
2:  int $6
1:  CHECK_EQ(l, $NP, exc_vector)
    CHECK_EQ(l, $UD_GATE, exc_error)
    CHECK_EQ(l, $2b, exc_rip)
    ret

user_misaligned:
    lea user_scratch(%rip), %rbx
user_misaligned_at:
    mov 1(%rbx), %eax
user_fine_at:
    ud2
user_bp:
    int3
user_bp_next:
user_int4:
    int $4
user_int4_next:
user_int6:
    int $6

.data
.balign 16
user_scratch: .quad 0, 0
scratch: .quad 0, 0, 0, 0
one: .float 1.0
unmask_zero_divide: .word 0x037b
unmask_all_sse: .long 0x0000
