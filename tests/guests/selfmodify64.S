# Code that changes code: the next instruction, the same block, another page,
# an instruction that crosses pages, and code written through another address.
#include "guest64.inc"

main:
    # the very next instruction's immediate
    mov $5, %eax
    movl $0x2222, 1f + 1
1:  mov $0x1111, %eax
    CHECK_EQ(l, $0x2222, %eax)
    # further on in the same block
    movb $0x90, 1f                                 # INC EAX becomes two NOPs
    movb $0x90, 1f + 1
    xor %eax, %eax
    nop
1:  inc %eax
    CHECK_EQ(l, $0, %eax)
    # a loop that rewrites its own body each time around
    mov $0, %ecx
    xor %ebx, %ebx
1:  mov %ecx, 2f + 1
    jmp 2f
2:  mov $0x7fffffff, %eax
    add %eax, %ebx
    inc %ecx
    cmp $100, %ecx
    jb 1b
    CHECK_EQ(l, $4950, %ebx)
    # by a string instruction, over code that ran before
    mov $200, %ebp
1:  mov $page, %edi
    mov $template_one, %esi
    mov $template_size, %ecx
    rep movsb
    call page
    CHECK_EQ(l, $1, %eax)
    mov $page, %edi
    mov $template_two, %esi
    mov $template_size, %ecx
    rep movsb
    call page
    CHECK_EQ(l, $2, %eax)
    dec %ebp
    jnz 1b
    # through the user window: another linear address of the same memory
    movabs $USER_WINDOW + page, %rdi
    movl $3, 1(%rdi)
    call page
    CHECK_EQ(l, $3, %eax)
    # an instruction across two pages, changed on the second page only
    mov $page + 0xffd, %edi
    movb $0xb8, (%rdi)                             # MOV EAX, imm32
    movl $0x01010101, 1(%rdi)
    movb $0xc3, 5(%rdi)
    call *%rdi
    CHECK_EQ(l, $0x01010101, %eax)
    movb $0x77, page + 0x1000
    call *%rdi
    CHECK_EQ(l, $0x01770101, %eax)
    movb $0x66, page + 0xffe
    call *%rdi
    CHECK_EQ(l, $0x01770166, %eax)
    # the second page mapped elsewhere: the same linear address, other bytes
    movabs $0x10000000000, %rdi
    movl $pointers + 3, pml4 + 16
    movl $directory + 3, pointers
    movl $table + 3, directory
    movl $page + 3, table
    movl $page + 0x1000 + 3, table + 8
    movb $0x55, other                              # `other` differs in that byte
    movb $0x01, other + 1
    movb $0xc3, other + 2
    add $0xffd, %rdi
    call *%rdi
    CHECK_EQ(l, $0x01770166, %eax)
    movl $other + 3, table + 8
    lea 3(%rdi), %rax
    invlpg (%rax)
    call *%rdi
    CHECK_EQ(l, $0x01550166, %eax)
    # a stack push over code
    mov $page + 16, %edi
    movabs $0xc300000004b89090, %rax               # NOP; NOP; MOV EAX, 4; RET
    mov %rsp, %rbx
    lea 8(%rdi), %rsp
    push %rax
    mov %rbx, %rsp
    call *%rdi
    CHECK_EQ(l, $4, %eax)
    movabs $0xc300000005b89090, %rax
    lea 8(%rdi), %rsp
    push %rax
    mov %rbx, %rsp
    call *%rdi
    CHECK_EQ(l, $5, %eax)
    # by an atomic exchange
    mov $6, %eax
    xchg %eax, page + 19
    call *%rdi
    CHECK_EQ(l, $6, %eax)
    ret

template_one:
    mov $1, %eax
    ret
template_two:
    mov $2, %eax
    ret
.set template_size, template_two - template_one

.bss
.balign 4096
page:      .skip 8192
other:     .skip 4096
pointers:  .skip 4096
directory: .skip 4096
table:     .skip 4096
