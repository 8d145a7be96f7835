# String instructions that fault half-way: RCX, RSI and RDI say how far they came,
# and the instruction continues where it was.
#include "guest64.inc"
#define PAGE 0x10000000000

main:
    movabs $PAGE, %rbx
    movl $pointers + 7, pml4 + 16
    movl $directory + 7, pointers
    movl $table + 7, directory
    movl $frame + 3, table                         # the second page is absent
    # STOS: 16 bytes before the end, 32 asked for
    lea 0xff0(%rbx), %rdi
    mov $32, %ecx
    mov $0xaa, %al
    EXPECT_FAULT(PF, PF_W, rep stosb)
    CHECK_EQ(l, $16, %ecx)
    lea 0x1000(%rbx), %rdx
    CHECK_EQ(q, %rdx, %rdi)
    CHECK_EQ(q, %rdx, exc_cr2)
    CHECK_EQ(b, $0xaa, frame+0xfff)
    # MOVS: the source runs out; nothing of the failing one is stored
    lea 0xff8(%rbx), %rsi
    mov $buffer, %edi
    movabs $0x5555555555555555, %rax
    mov %rax, buffer + 8
    mov $2, %ecx
    EXPECT_FAULT(PF, 0, rep movsq)
    CHECK_EQ(l, $1, %ecx)
    CHECK_EQ(l, $buffer+8, %edi)
    CHECK_EQ(q, %rax, buffer+8)
    # MOVS: the destination runs out; an element across the border is not torn
    mov $buffer, %esi
    lea 0xffc(%rbx), %rdi
    movl $0x12345678, frame + 0xffc
    mov $1, %ecx
    EXPECT_FAULT(PF, PF_W, rep movsq)
    CHECK_EQ(l, $1, %ecx)
    CHECK_EQ(l, $0x12345678, frame+0xffc)
    CHECK_EQ(l, $buffer, %esi)
    # CMPS and SCAS stop by their condition before the fault
    mov $buffer, %edi
    movq $0, buffer
    movb $7, buffer + 3
    mov $7, %al
    mov $100, %ecx
    cld
    repne scasb
    CHECK(e)
    CHECK_EQ(l, $96, %ecx)
    CHECK_EQ(l, $buffer+4, %edi)
    movq $0, frame + 0xff0
    movq $0, frame + 0xff8
    lea 0xff0(%rbx), %rdi
    xor %eax, %eax
    mov $64, %ecx
    EXPECT_FAULT(PF, 0, repe scasb)
    CHECK_EQ(l, $48, %ecx)
    # Backward, down to an absent page
    movl $0, table
    movl $frame + 3, table + 8
    mov %cr3, %rax
    mov %rax, %cr3
    lea 0x1004(%rbx), %rdi
    mov $16, %ecx
    std
    arm_resume 1f
2:  rep stosb
1:  cld
    CHECK_EQ(l, $PF, exc_vector)
    CHECK_EQ(l, $2b, exc_rip)
    CHECK_EQ(l, $11, %ecx)
    lea 0xfff(%rbx), %rdx
    CHECK_EQ(q, %rdx, %rdi)
    CHECK_EQ(q, %rdx, exc_cr2)
    # A handler that maps the page: the string is whole afterwards
    movl $0, table + 16
    movl $fill_hook, irq_hook
    movl $0, exc_count
    lea 0x1800(%rbx), %rdi
    mov $0x1000, %ecx
    mov $0x5a, %al
    rep stosb
    CHECK_EQ(l, $0, %ecx)
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(b, $0x5a, frame+0xfff)
    CHECK_EQ(b, $0x5a, second_frame)
    CHECK_EQ(b, $0x5a, second_frame+0x7ff)
    CHECK_EQ(b, $0, second_frame+0x800)
    movl $0, irq_hook
    # A count of zero touches nothing; a 32-bit count ignores the upper half
    movabs $0x40000000000, %rdi
    xor %ecx, %ecx
    EXPECT_NO_FAULT(rep stosb)
    mov $buffer, %edi
    movabs $0x500000000, %rcx
    EXPECT_NO_FAULT(addr32 rep stosb)
    CHECK_EQ(l, $buffer, %edi)
    # Overlap by one: MOVS copies byte by byte
    movb $9, buffer
    mov $buffer, %esi
    mov $buffer + 1, %edi
    mov $15, %ecx
    rep movsb
    CHECK_EQ(b, $9, buffer+15)
    # A user string into kernel memory
    EXPECT_USER_FAULT(PF, PF_P+PF_U+PF_W, user_string_at, user_string)
    ret

fill_hook:
    movl $second_frame + 3, table + 16
    jmp exc_return

user_string:
    mov $buffer, %edi
    mov $8, %ecx
user_string_at:
    rep stosb

.bss
.balign 4096
pointers:     .skip 4096
directory:    .skip 4096
table:        .skip 4096
frame:        .skip 4096
second_frame: .skip 4096
buffer:       .skip 256
