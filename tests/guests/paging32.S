# 32-bit paging: 4 KiB and, with PSE, 4 MiB pages; U/S, R/W, WP, A and D bits;
# then PAE with its four pointers, 2 MiB pages and NX.
#include "guest32.inc"
#define PAGE 0x40000000
#define P 1
#define RW 2
#define US 4
#define A 0x20
#define D 0x40
#define SET_PTE(flags) movl $frame+flags, table; invlpg (%ebx)

// Without NXE and SMEP a fetch is not told apart in the error code.
#define PF_FETCH 0

main:
    # 4 KiB identity pages for 4 MiB, supervisor; the user parts by an alias
    mov $identity, %edi
    mov $3, %eax
1:  mov %eax, (%edi)
    add $4, %edi
    add $0x1000, %eax
    cmp $0x400003, %eax
    jb 1b
    movl $identity + P + RW, directory
    movl $table + P + RW + US, directory + 4 * (PAGE >> 22)
    mov $directory, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $0x80010000, %eax
    mov %eax, %cr0
    jmp 1f
1:  mov $PAGE, %ebx

    SET_PTE(0)
    EXPECT_FAULT(PF, 0, mov (%ebx), %eax)
    CHECK_EQ(l, %ebx, exc_cr2)
    EXPECT_FAULT(PF, PF_W, mov %eax, (%ebx))
    movl $0x11223344, frame
    SET_PTE(P)
    andl $~A, directory + 4 * (PAGE >> 22)
    mov %cr3, %eax
    mov %eax, %cr3
    CHECK_EQ(l, $0x11223344, (%ebx))
    CHECK_EQ(l, $frame+P+A, table)
    CHECK_EQ(l, $table+P+RW+US+A, directory+4*(PAGE>>22))
    EXPECT_FAULT(PF, PF_P+PF_W, mov %eax, (%ebx))
    CHECK_EQ(l, $frame+P+A, table)
    SET_PTE(P+RW)
    movl $1, (%ebx)
    CHECK_EQ(l, $frame+P+RW+A+D, table)
    # WP off
    SET_PTE(P)
    mov %cr0, %eax
    and $~0x10000, %eax
    mov %eax, %cr0
    EXPECT_NO_FAULT(movl $2, (%ebx))
    or $0x10000, %eax
    mov %eax, %cr0
    # Without PSE the PS bit of a directory entry is ignored
    orl $0x80, directory + 4 * (PAGE >> 22)
    SET_PTE(P+RW)
    movl $0x5678, frame
    CHECK_EQ(l, $0x5678, (%ebx))
    # With PSE: a 4 MiB page
    movl $0x80 + P + RW, directory + 4 * (PAGE >> 22)
    mov %cr4, %eax
    or $0x10, %eax
    mov %eax, %cr4
    movl $0x9abc, frame
    CHECK_EQ(l, $0x9abc, PAGE+frame)
    CHECK_EQ(l, $0x80+P+RW+A, directory+4*(PAGE>>22))
    movl $0xdef0, PAGE + frame
    CHECK_EQ(l, $0x80+P+RW+A+D, directory+4*(PAGE>>22))
    CHECK_EQ(l, $0xdef0, frame)
    # its bit 21 is reserved
    movl $0x200080 + P + RW, directory + 4 * (PAGE >> 22)
    invlpg (%ebx)
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%ebx), %eax)
    # Ring 3: the code in the PSE alias with U/S set
    movl $0x80 + P + RW + US, directory + 4 * (PAGE >> 22)
    invlpg (%ebx)
    SET_PTE(P+RW)
    EXPECT_USER_FAULT(PF, PF_U+PF_P+PF_FETCH, user_read, user_read)
    EXPECT_USER_FAULT(UD, 0, PAGE+user_ud, PAGE+user_ud)
    EXPECT_USER_FAULT(PF, PF_U+PF_P, PAGE+user_read, PAGE+user_read)
    EXPECT_USER_FAULT(PF, PF_U+PF_P+PF_W, PAGE+user_write, PAGE+user_write)
    CHECK_EQ(l, $directory, exc_cr2)

    # PAE: paging off, new tables, on again
    mov %cr0, %eax
    and $0x7fffffff, %eax
    mov %eax, %cr0
    mov $pae_directory, %edi
    mov $0x83, %eax
    mov $2, %ecx
1:  mov %eax, (%edi)
    movl $0, 4(%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 1b
    movl $pae_directory + P, pointers
    movl $pae_other + P, pointers + 8              # PAGE is 1 GiB: the second pointer
    movl $pae_table + P + RW, pae_other
    mov $pointers, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $0x80000001, %eax
    cpuid
    mov %edx, %ebp
    bt $20, %ebp
    jnc 1f
    mov $0xc0000080, %ecx
    rdmsr
    or $0x800, %eax
    wrmsr
1:  mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    mov $PAGE, %ebx
    EXPECT_FAULT(PF, 0, mov (%ebx), %eax)
    movl $frame + P + RW, pae_table
    CHECK_EQ(l, $0xdef0, (%ebx))
    CHECK_EQ(l, $frame+P+RW+A, pae_table)
    CHECK_EQ(l, $pae_table+P+RW+A, pae_other)
    movl $7, (%ebx)
    CHECK_EQ(l, $frame+P+RW+A+D, pae_table)
    HARDWARE(CHECK_EQ(l, $pae_other+P, pointers+8))    # the pointers have no A bit
    # 2 MiB pages
    movl $0x80 + P + RW, pae_other
    invlpg (%ebx)
    CHECK_EQ(l, $7, PAGE+frame)
    CHECK_EQ(l, $0x80+P+RW+A, pae_other)
    movl $0x80 + P + RW + 0x2000, pae_other
    invlpg (%ebx)
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%ebx), %eax)
    movl $pae_table + P + RW, pae_other
    # the bits above the physical width are reserved
    movl $0x40000000, pae_table + 4
    invlpg (%ebx)
    EXPECT_FAULT(PF, PF_P_RSVD, mov (%ebx), %eax)
    movl $0, pae_table + 4
    invlpg (%ebx)
    # NX, where offered
    bt $20, %ebp
    jnc 1f
    movb $0xc3, frame
    EXPECT_NO_FAULT(call *%ebx)
    movl $0x80000000, pae_table + 4
    invlpg (%ebx)
    arm_resume 2f
    call *%ebx
2:  CHECK_EQ(l, $PF, exc_vector)
    CHECK_EQ(l, $PF_P+PF_I, exc_error)
    CHECK_EQ(l, %ebx, exc_eip)
1:  # the pointers are read when CR3 is loaded, not at each walk
    movl $0, pae_table + 4
    movl $0, pointers + 8
    invlpg (%ebx)
    HARDWARE(EXPECT_NO_FAULT(mov (%ebx), %al))     # QEMU reads them at each walk
    mov %cr3, %eax
    mov %eax, %cr3
    EXPECT_FAULT(PF, 0, mov (%ebx), %al)
    # a reserved bit in a pointer is GP at the load
    movl $pae_other + P + 0x20, pointers + 8
    HARDWARE(EXPECT_FAULT(GP, 0, mov %eax, %cr3))
    ret

user_read:
    mov directory, %eax
user_write:
    mov %eax, directory
user_ud:
    ud2

.bss
.balign 4096
directory:     .skip 4096
identity:      .skip 4096
table:         .skip 4096
frame:         .skip 4096
pae_directory: .skip 4096
pae_other:     .skip 4096
pae_table:     .skip 4096
pointers:      .skip 32
