# CR0.NE = 0: an x87 error comes as IRQ 13 before the next waiting instruction,
# port 0xf0 lets that instruction go on, and masks and FNCLEX work as they should.
#include "guest64.inc"

main:
    mov $0x11, %al                                 # both 8259As: vectors 0x20 and 0x28
    out %al, $0x20
    out %al, $0xa0
    mov $0x20, %al
    out %al, $0x21
    mov $0x28, %al
    out %al, $0xa1
    mov $4, %al
    out %al, $0x21
    mov $2, %al
    out %al, $0xa1
    mov $1, %al
    out %al, $0x21
    out %al, $0xa1
    mov $0xfb, %al
    out %al, $0x21
    mov $0xdf, %al                                 # IRQ 13 alone
    out %al, $0xa1
    mov %cr0, %rax
    and $~0x20, %eax
    mov %rax, %cr0
    movl $irq13, irq_hook

    # the handler comes before the store, and clears the error
    movl $clear, what_to_do
    call make_error
    sti
    nop
1:  fstps data
2:  cli
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(l, $0x2d, exc_vector)
    CHECK_EQ(q, $1b, exc_rip)
    CHECK_EQ(l, $0x11111111, data_in_handler)
    cmpl $0x11111111, data
    CHECK(ne)
    # a handler that only writes port 0xf0: the store is executed all the same
    movl $ignore, what_to_do
    call make_error
    sti
1:  fstps data
2:  cli
    CHECK_EQ(l, $1, exc_count)
    cmpl $0x11111111, data
    CHECK(ne)
    fnstsw %ax
    test $0x80, %al                                # the error is still there
    CHECK(nz)
    fwait                                          # and ignored, until it is cleared
    CHECK_EQ(l, $1, exc_count)
    fnclex
    call make_error
    sti
1:  fwait
2:  cli
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(q, $1b, exc_rip)
    fnclex
    # instructions that do not wait see nothing of it; MMX instructions wait
    movl $clear, what_to_do
    call make_error
    sti
    fnstsw %ax
    fnstcw data
    nop
    CHECK_EQ(l, $0, exc_count)
1:  movd %eax, %mm0
2:  cli
    CHECK_EQ(l, $1, exc_count)
    CHECK_EQ(q, $1b, exc_rip)
    emms
    # with CR0.NE it is an exception again
    mov %cr0, %rax
    or $0x20, %eax
    mov %rax, %cr0
    movl $0, irq_hook
    call make_error
    arm_resume 3f
1:  fwait
3:  CHECK_EQ(l, $MF, exc_vector)
    CHECK_EQ(q, $1b, exc_rip)
    fnclex
    ret

# A division by zero, unmasked. It is reported by what comes next.
make_error:
    movl $0, exc_count
    movl $0x11111111, data
    fninit
    fldcw control
    fld1
    fldz
    fdivrp %st, %st(1)
    ret

irq13:
    mov data, %eax
    mov %eax, data_in_handler
    mov what_to_do, %eax
    jmp *%rax
clear:
    fnclex
ignore:
    xor %eax, %eax
    out %al, $0xf0
    mov $0x20, %al
    out %al, $0xa0
    out %al, $0x20
    jmp exc_return

.data
.balign 8
what_to_do: .quad 0
data: .long 0, 0
data_in_handler: .long 0
control: .word 0x037b
