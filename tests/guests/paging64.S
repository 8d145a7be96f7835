# Four-level paging: 4 KiB, 2 MiB and 1 GiB pages, U/S, R/W, NX, WP, reserved
# bits, accessed and dirty bits, INVLPG and global pages, CR2 and error codes.
#include "guest64.inc"

# The test page: linear 0x10000000000 (PML4 entry 2) through tables of its own.
#define PAGE 0x10000000000
#define P 1
#define RW 2
#define US 4
#define A 0x20
#define D 0x40
#define G 0x100
#define FLUSH invlpg (%rbx)
#define SET_PTE(flags) movl $frame+flags, table; movl $0, table+4; invlpg (%rbx)

main:
    movabs $PAGE, %rbx
    movl $pointers + P + RW + US, pml4 + 16
    movl $directory + P + RW + US, pointers
    movl $table + P + RW + US, directory
    movl $0x11223344, frame

    SET_PTE(0)
    EXPECT_FAULT(PF, 0, mov (%rbx), %eax)
    EXPECT_FAULT(PF, PF_W, mov %eax, (%rbx))
    CHECK_EQ(q, %rbx, exc_cr2)
    HARDWARE(EXPECT_FAULT(PF, PF_W, lock orl $1, (%rbx)))   # read-modify-write is a write
    HARDWARE(EXPECT_FAULT(PF, PF_W, btsl $3, (%rbx)))

    # A and D: set when used, each level; not by a fault
    SET_PTE(P)
    movl $table + P + RW + US, directory
    movl $directory + P + RW + US, pointers
    movl $pointers + P + RW + US, pml4 + 16
    mov %cr3, %rax
    mov %rax, %cr3
    CHECK_EQ(l, $0x11223344, (%rbx))
    CHECK_EQ(l, $frame+P+A, table)
    CHECK_EQ(l, $table+P+RW+US+A, directory)
    CHECK_EQ(l, $directory+P+RW+US+A, pointers)
    CHECK_EQ(l, $pointers+P+RW+US+A, pml4+16)
    EXPECT_FAULT(PF, PF_P+PF_W, mov %eax, (%rbx))  # read-only under WP
    CHECK_EQ(l, $frame+P+A, table)                 # D is not set by a fault
    SET_PTE(P+RW)
    mov (%rbx), %eax
    CHECK_EQ(l, $frame+P+RW+A, table)
    movl $0x55667788, (%rbx)                       # a write after a read sets D
    CHECK_EQ(l, $frame+P+RW+A+D, table)
    CHECK_EQ(l, $0x55667788, frame)
    SET_PTE(P+RW)
    movl $1, (%rbx)
    CHECK_EQ(l, $frame+P+RW+A+D, table)
    SET_PTE(P+RW)
    mov $1, %eax
    mov $2, %ecx
    cmpxchg %ecx, (%rbx)
    CHECK_EQ(l, $frame+P+RW+A+D, table)
    SET_PTE(P+RW)
    mov $77, %eax                                  # a CMPXCHG that does not store writes back all the same
    cmpxchg %ecx, (%rbx)
    CHECK_EQ(l, $frame+P+RW+A+D, table)

    # WP off: ring 0 writes where it may not
    SET_PTE(P)
    mov %cr0, %rax
    and $~0x10000, %eax
    mov %rax, %cr0
    EXPECT_NO_FAULT(movl $3, (%rbx))
    CHECK_EQ(l, $frame+P+A+D, table)
    or $0x10000, %eax
    mov %rax, %cr0
    EXPECT_FAULT(PF, PF_P+PF_W, mov %eax, (%rbx))
    # R/W is the AND of all levels
    SET_PTE(P+RW)
    andl $~RW, directory
    FLUSH
    EXPECT_FAULT(PF, PF_P+PF_W, mov %eax, (%rbx))
    orl $RW, directory
    andl $~RW, pml4 + 16
    FLUSH
    EXPECT_FAULT(PF, PF_P+PF_W, mov %eax, (%rbx))
    orl $RW, pml4 + 16
    FLUSH
    EXPECT_NO_FAULT(mov %eax, (%rbx))

    # NX
    movb $0xc3, frame                              # RET
    SET_PTE(P+RW)
    EXPECT_NO_FAULT(call *%rbx)
    movl $0x80000000, table + 4
    FLUSH
    movl $1f, resume_rip
    mov %rsp, resume_rsp
    call *%rbx
    mov $__LINE__, %edi
    jmp failed
1:  CHECK_EQ(l, $PF, exc_vector)
    CHECK_EQ(l, $PF_P+PF_I, exc_error)
    CHECK_EQ(q, %rbx, exc_cr2)
    CHECK_EQ(q, %rbx, exc_rip)
    EXPECT_NO_FAULT(mov (%rbx), %al)               # data is fine
    movl $0, table + 4
    movl $0x80000000, directory + 4                # at any level
    FLUSH
    arm_resume 1f
    call *%rbx
1:  CHECK_EQ(l, $PF_P+PF_I, exc_error)
    movl $0, directory + 4
    # With NXE off the bit is reserved
    mov $0xc0000080, %ecx
    rdmsr
    and $~0x800, %eax
    wrmsr
    movl $0x80000000, table + 4
    FLUSH
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%rbx), %al)
    or $0x800, %eax
    rdmsr
    or $0x800, %eax
    wrmsr

    # Reserved bits: an address beyond the physical width; PS in the PML4
    movl $0x000f0000, table + 4
    FLUSH
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%rbx), %al)
    EXPECT_FAULT(PF, PF_P_RSVD+PF_W, mov %al, (%rbx))
    movl $0, table + 4
    orl $0x80, pml4 + 16
    FLUSH
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%rbx), %al)
    andl $~0x80, pml4 + 16
    FLUSH
    # A page that is not present may hold anything
    movl $0xfffffffe, table
    movl $0xffffffff, table + 4
    FLUSH
    EXPECT_FAULT(PF, 0, mov (%rbx), %al)

    # A cached translation lives until INVLPG: not promised by hardware, so not
    # checked. After INVLPG the new one holds:
    SET_PTE(P+RW)
    movl $0xabcd, frame
    movl $0xef01, other_frame
    CHECK_EQ(l, $0xabcd, (%rbx))
    movl $other_frame + P + RW, table
    FLUSH
    CHECK_EQ(l, $0xef01, (%rbx))
    # CR3 flushes what is not global
    movl $frame + P + RW, table
    mov %cr3, %rax
    mov %rax, %cr3
    CHECK_EQ(l, $0xabcd, (%rbx))
    # toggling CR4.PGE flushes global entries too
    movl $frame + P + RW + G, table
    FLUSH
    CHECK_EQ(l, $0xabcd, (%rbx))
    movl $other_frame + P + RW + G, table
    mov %cr4, %rax
    xor $0x80, %eax
    mov %rax, %cr4
    xor $0x80, %eax
    mov %rax, %cr4
    CHECK_EQ(l, $0xef01, (%rbx))
    # From not present to present needs no flush
    movl $0, table
    FLUSH
    EXPECT_FAULT(PF, 0, mov (%rbx), %al)
    movl $frame + P + RW, table
    CHECK_EQ(l, $0xabcd, (%rbx))

    # An access across two pages: the second faults, the first is not written
    movl $0, table + 8
    lea 0x1000(%rbx), %rax
    invlpg (%rax)
    movl $0, frame + 0xffc
    EXPECT_FAULT(PF, PF_W, movl $-1, 0xffe(%rbx))
    CHECK_EQ(q, %rax, exc_cr2)
    CHECK_EQ(l, $0, frame+0xffc)
    movl $other_frame + P + RW, table + 8
    movl $0x44332211, 0xffe(%rbx)
    CHECK_EQ(w, $0x2211, frame+0xffe)
    CHECK_EQ(w, $0x4433, other_frame)
    CHECK_EQ(l, $0x44332211, 0xffe(%rbx))

    # 2 MiB pages: address, A and D, and the reserved bits 13 to 20
    movl $0x200000 + 0x80 + P + RW, directory
    movl $0, directory + 4
    mov %cr3, %rax
    mov %rax, %cr3
    movl $0x13572468, 0x312340
    CHECK_EQ(l, $0x13572468, 0x112340(%rbx))
    CHECK_EQ(l, $0x200000+0x80+P+RW+A, directory)
    movl $0, 0x112340(%rbx)
    CHECK_EQ(l, $0x200000+0x80+P+RW+A+D, directory)
    CHECK_EQ(l, $0, 0x312340)
    movl $0x202000 + 0x80 + P + RW, directory
    FLUSH
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%rbx), %al)

    # 1 GiB pages, where offered; else PS is reserved there
    mov $0x80000001, %eax
    push %rbx
    cpuid
    pop %rbx
    movl $0x80 + P + RW, pointers
    mov %cr3, %rax
    mov %rax, %cr3
    bt $26, %edx
    jnc no_gigabyte
    movl $0x24681357, 0x312340
    CHECK_EQ(l, $0x24681357, 0x312340(%rbx))
    CHECK_EQ(l, $0x80+P+RW+A, pointers)
    movl $0x2000 + 0x80 + P + RW, pointers
    mov %rax, %cr3
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%rbx), %al)
    jmp supervisor_bits
no_gigabyte:
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%rbx), %al)

supervisor_bits:
    movl $directory + P + RW + US, pointers
    movl $table + P + RW + US, directory
    # U/S is the AND of all levels
    SET_PTE(P+RW+US)
    EXPECT_USER_FAULT(UD, 0, user_touch_ud, user_touch)
    SET_PTE(P+RW)
    EXPECT_USER_FAULT(PF, PF_P+PF_U, user_touch_at, user_touch)
    SET_PTE(P+RW+US)
    andl $~US, pointers
    mov %cr3, %rax
    mov %rax, %cr3
    EXPECT_USER_FAULT(PF, PF_P+PF_U, user_touch_at, user_touch)
    orl $US, pointers
    SET_PTE(P+US)
    EXPECT_USER_FAULT(PF, PF_P+PF_U+PF_W, user_store_at, user_store)
    SET_PTE(0)
    EXPECT_USER_FAULT(PF, PF_U+PF_W, user_store_at, user_store)

    # SMEP and SMAP, where offered (CPUID 7, EBX bits 7 and 20)
    SET_PTE(P+RW+US)
    movb $0xc3, frame
    xor %eax, %eax
    cpuid
    cmp $7, %eax
    jb no_smap
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    mov %ebx, %r12d
    movabs $PAGE, %rbx
    bt $7, %r12d
    jnc no_smep
    EXPECT_NO_FAULT(call *%rbx)
    mov %cr4, %rax
    bts $20, %rax
    mov %rax, %cr4
    arm_resume 1f
    call *%rbx
1:  CHECK_EQ(l, $PF, exc_vector)
    CHECK_EQ(l, $PF_P+PF_I, exc_error)
    EXPECT_NO_FAULT(mov (%rbx), %al)
    mov %cr4, %rax
    btr $20, %rax
    mov %rax, %cr4
no_smep:
    bt $20, %r12d
    jnc no_smap
    mov %cr4, %rax
    bts $21, %rax
    mov %rax, %cr4
    EXPECT_FAULT(PF, PF_P, mov (%rbx), %al)
    EXPECT_FAULT(PF, PF_P+PF_W, mov %al, (%rbx))
    stac
    EXPECT_NO_FAULT(mov (%rbx), %al)
    clac
    EXPECT_FAULT(PF, PF_P, mov (%rbx), %al)
    EXPECT_USER_FAULT(UD, 0, user_clac, user_clac)   # not in ring 3: UD
    mov %cr4, %rax
    btr $21, %rax
    mov %rax, %cr4
no_smap:
    ret

user_touch:
    movabs $PAGE, %rbx
user_touch_at:
    mov (%rbx), %al
user_touch_ud:
    ud2
user_store:
    movabs $PAGE, %rbx
user_store_at:
    mov %al, (%rbx)
user_clac:
    clac

.bss
.balign 4096
pointers:    .skip 4096
directory:   .skip 4096
table:       .skip 4096
frame:       .skip 4096
other_frame: .skip 4096
