# Interrupts at their boundaries: the STI and MOV SS shadows, the PIT through the
# PIC, the local APIC's timer in each mode, NMI, the I/O APIC and HLT.
#include "guest64.inc"

#define LAPIC 0xfee00000
#define IOAPIC 0xfec00000
#define TIMER_VECTOR 0x40
#define IRQ_BASE 0x20

# Sends a fixed interrupt to ourselves: it is pending from here on.
#define SELF_IPI(vector) movl $0x00044000+vector, LAPIC_ICR
#define LAPIC_ICR (%r13)

main:
    mov $LAPIC + 0x300, %r13d
    mov $LAPIC, %r12d
    # PIC: vectors 0x20 to 0x2f, all masked
    mov $0x11, %al
    out %al, $0x20
    out %al, $0xa0
    mov $IRQ_BASE, %al
    out %al, $0x21
    mov $IRQ_BASE + 8, %al
    out %al, $0xa1
    mov $4, %al
    out %al, $0x21
    mov $2, %al
    out %al, $0xa1
    mov $1, %al
    out %al, $0x21
    out %al, $0xa1
    mov $0xff, %al
    out %al, $0x21
    out %al, $0xa1
    movl $0x1ff, 0xf0(%r12)                        # the APIC on, spurious vector 0xff
    movl $count_hook, irq_hook

    # The shadow of STI is one instruction
    call clear
    SELF_IPI(0x50)
    sti
    nop
1:  nop
    cli
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(l, $0x50, exc_vector)
    CHECK_EQ(q, $1b, exc_rip)
    testl $0x200, exc_rflags
    CHECK(nz)
    # STI with interrupts on has no shadow; STI; CLI lets nothing in
    call clear
    SELF_IPI(0x51)
    sti
    cli
    nop
    CHECK_EQ(l, $0, exc_count)
    sti
    nop
    nop
    cli
    CHECK_EQ(l, $1, exc_count)
    # STI; MOV SS: only the first of two shadows is promised, so the interrupt
    # comes before or after the instruction behind MOV SS, never before MOV SS
    call clear
    mov $KERNEL_DS, %eax
    SELF_IPI(0x52)
    sti
    mov %eax, %ss
2:  nop
1:  nop
    cli
    CHECK_EQ(l, $1, exc_count)
    mov exc_rip, %eax
    cmp $2b, %eax
    je 1f
    CHECK_EQ(l, $1b, %eax)
1:
    # POPF has none: the interrupt comes right after it
    call clear
    SELF_IPI(0x53)
    push $0x202
    popfq
1:  nop
    nop
    cli
    CHECK_EQ(q, $1b, exc_rip)
    # IRET neither
    call clear
    SELF_IPI(0x54)
    mov %rsp, %rax
    push $KERNEL_DS
    push %rax
    push $0x202
    push $KERNEL_CS
    push $1f
    iretq
1:  nop
    cli
    CHECK_EQ(q, $1b, exc_rip)
    # Two pending: the higher vector first, the other nests only after its EOI
    call clear
    SELF_IPI(0x61)
    SELF_IPI(0x72)
    sti
    nop
    nop
    nop
    cli
    CHECK_EQ(l, $2, exc_count)
    CHECK_EQ(l, $0x61, exc_vector)
    CHECK_EQ(l, $0x72, first_vector)
    # The task priority holds back what is not above it; CR8 is the same register
    call clear
    mov $7, %eax
    mov %rax, %cr8
    CHECK_EQ(l, $0x70, 0x80(%r12))
    SELF_IPI(0x71)
    sti
    nop
    nop
    CHECK_EQ(l, $0, exc_count)
    xor %eax, %eax
    mov %rax, %cr8
    nop
    cli
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(l, $0x71, exc_vector)

    # HLT wakes with the RIP after it; an interrupt pending before STI;HLT is not lost
    call clear
    SELF_IPI(0x55)
    sti
    hlt
1:  cli
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(q, $1b, exc_rip)

    # LAPIC timer, one-shot, divided by 1: one interrupt, the count stays 0
    call clear
    movl $0xb, 0x3e0(%r12)
    movl $TIMER_VECTOR, 0x320(%r12)
    movl $200000, 0x380(%r12)
    mov 0x390(%r12), %eax
    dec %eax                                       # it counts, from 200000 down
    cmp $200000, %eax
    CHECK(b)
1:  sti
    hlt
    cli
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(l, $TIMER_VECTOR, exc_vector)
    CHECK_EQ(l, $0, 0x390(%r12))
    # periodic: three in a row
    call clear
    movl $0x20000 + TIMER_VECTOR, 0x320(%r12)
    movl $100000, 0x380(%r12)
1:  sti
    hlt
    cli
    cmpl $3, exc_count
    jb 1b
    movl $0x10000, 0x320(%r12)                     # masked
    movl $0, 0x380(%r12)
    CHECK_EQ(l, $TIMER_VECTOR, exc_vector)

    # TSC-deadline, where offered
    mov $1, %eax
    cpuid
    mov %ecx, %r15d
    bt $24, %r15d
    jnc no_deadline
    call clear
    movl $0x40000 + TIMER_VECTOR, 0x320(%r12)
    mfence
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    add $300000, %rax
    mov %rax, %rbx
    mov %rax, %rdx
    shr $32, %rdx
    mov $0x6e0, %ecx
    wrmsr
    rdmsr
    CHECK_EQ(l, %ebx, %eax)
    sti
    hlt
    cli
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(l, $TIMER_VECTOR, exc_vector)
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    cmp %rbx, %rax
    CHECK(ae)                                      # not before its time
    mov $0x6e0, %ecx
    rdmsr
    CHECK_EQ(l, $0, %eax)                          # disarmed
    # a deadline in the past fires at once
    call clear
    mov $1, %eax
    xor %edx, %edx
    wrmsr
    sti
    nop
    nop
    nop
    cli
    CHECK_EQ(l, $1, exc_count)
    movl $0x10000, 0x320(%r12)
no_deadline:

    # PIT channel 0, rate generator, through the PIC with the LAPIC's LINT0 as ExtINT
    call clear
    movl $0x700, 0x350(%r12)
    mov $0x34, %al
    out %al, $0x43
    mov $0xa9, %al                                 # 1193 ticks: a millisecond
    out %al, $0x40
    mov $0x04, %al
    out %al, $0x40
    mov $0xfe, %al
    out %al, $0x21
1:  sti
    hlt
    cli
    cmpl $3, exc_count
    jb 1b
    CHECK_EQ(l, $IRQ_BASE, exc_vector)
    mov $0xff, %al
    out %al, $0x21

    # The PIT again, through the I/O APIC (pin 2 where the PC's override says, edge)
    mov $0x34, %al
    out %al, $0x43
    xor %al, %al
    out %al, $0x40
    out %al, $0x40
    call clear
    movl $0x10000, 0x350(%r12)
    mov $IOAPIC, %ebp
    movl $0x14, (%rbp)
    movl $0x45, 0x10(%rbp)
    movl $0x15, (%rbp)
    movl $0, 0x10(%rbp)
    mov $0x34, %al
    out %al, $0x43
    mov $0xa9, %al
    out %al, $0x40
    mov $0x04, %al
    out %al, $0x40
1:  sti
    hlt
    cli
    cmpl $2, exc_count
    jb 1b
    CHECK_EQ(l, $0x45, exc_vector)
    movl $0x14, (%rbp)
    movl $0x10000, 0x10(%rbp)

    # NMI by the ICR: comes with IF clear, and is held back until IRET
    call clear
    movl $nmi_hook, irq_hook
    mov 0x20(%r12), %eax                           # to our own ID: the shorthand is
    mov %eax, 0x310(%r12)                          # for fixed interrupts only
    movl $0x00004400, LAPIC_ICR
    nop
    nop
    nop
    HARDWARE(CHECK_EQ(l, $2, exc_count))           # QEMU is late with both
    mov $1000, %ecx
1:  in $0x80, %al
    loop 1b
    CHECK_EQ(l, $2, exc_vector)
    CHECK_EQ(l, $1, nmis_at_iret)
    ret

clear:
    movl $0, exc_count
    movl $0, first_vector
    ret

# Counts, remembers the first, and ends the interrupt at the LAPIC or the PIC.
count_hook:
    cmpl $0, first_vector
    jne 1f
    mov exc_vector, %eax
    mov %eax, first_vector
1:  cmpl $IRQ_BASE + 16, exc_vector
    jae 2f
    mov $0x20, %al
    out %al, $0x20
    jmp exc_return
2:  movl $0, 0xb0(%r12)
    jmp exc_return

# The first NMI sends another: it must not nest.
nmi_hook:
    cmpl $1, exc_count
    jne exc_return
    movl $0x00004400, LAPIC_ICR
    nop
    nop
    mov exc_count, %eax
    mov %eax, nmis_at_iret
    jmp exc_return

.data
first_vector: .long 0
nmis_at_iret: .long 0
