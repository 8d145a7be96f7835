# Real mode: addressing and wrap-around, 32-bit operands and addresses, interrupts
# through the table at 0, faults by their vectors, BCD, and big real mode.
#include "guest16.inc"

main:
    # Segments are shifted by four; the same byte by two addresses
    mov $0x1000, %ax
    mov %ax, %es
    movb $0x5a, %es:0x10
    mov $0x0fff, %ax
    mov %ax, %es
    CHECK_EQ(b, $0x5a, %es:0x20)
    # A 16-bit address wraps within the segment
    mov $0x2000, %ax
    mov %ax, %es
    movb $0x77, %es:0
    mov $0xffff, %bx
    CHECK_EQ(b, $0x77, %es:1(%bx))
    # 32-bit operands and addresses by prefix
    movl $0x12345678, %eax
    movl %eax, %es:0x100
    movl $0x40, %ebx
    movl %es:0x40(%ebx,%ebx,2), %ecx
    CHECK_EQ(l, $0x12345678, %ecx)
    # PUSH and POP wrap SP at 16 bits
    mov $0x3000, %ax
    mov %ax, %ss
    mov %sp, %bp
    xor %sp, %sp
    push $0x1234
    mov %sp, %bx
    xor %ax, %ax
    mov %ax, %ss
    mov %bp, %sp
    CHECK_EQ(w, $0xfffe, %bx)
    mov $0x3000, %ax
    mov %ax, %es
    CHECK_EQ(w, $0x1234, %es:0xfffe)
    # INT and IRET: FLAGS, CS, IP on the stack; IF and TF cleared inside
    set_vector 0x80, handler
    sti
    stc
    int $0x80
1:  CHECK(c)
    pushf
    pop %ax
    test $0x200, %ax
    CHECK(nz)
    cli
    CHECK_EQ(w, $1b, seen_ip)
    mov seen_flags, %ax
    test $0x200, %ax
    CHECK(z)
    # Faults push the IP of the instruction; there is no error code
    xor %cl, %cl
    EXPECT_FAULT(0, div %cl)
    EXPECT_FAULT(6, ud2)
    EXPECT_FAULT(6, .byte 0x63, 0xc0)              # ARPL is for protected mode
    EXPECT_FAULT(6, .byte 0x0f, 0x00, 0xc0)        # SLDT too
    mov $5, %ax
    EXPECT_FAULT(5, bound %ax, bounds)
    mov $0xffff, %bx
    HARDWARE(EXPECT_FAULT(13, mov (%bx), %ax))     # past the limit; QEMU checks none
    HARDWARE(EXPECT_FAULT(12, mov %ss:(%bx), %ax))
    movl $0x10000, %ebx
    HARDWARE(EXPECT_FAULT(13, movb (%ebx), %al))
    # BCD
    mov $0x19, %al
    add $0x28, %al
    daa
    CHECK_EQ(b, $0x47, %al)
    mov $0x0005, %ax
    sub $9, %al
    aas
    CHECK_EQ(w, $0xff06, %ax)
    mov $63, %al
    aam
    CHECK_EQ(w, $0x0603, %ax)
    aad
    CHECK_EQ(w, $63, %ax)
    # Far call and return, LES, XLAT, ENTER and LEAVE
    lcall $0, $far_target
    CHECK_EQ(w, $0xbeef, %ax)
    les pointer, %di
    CHECK_EQ(w, $0x1234, %di)
    mov %es, %ax
    CHECK_EQ(w, $0x5678, %ax)
    mov $table, %bx
    mov $2, %al
    xlat
    CHECK_EQ(b, $30, %al)
    mov %sp, %bx
    enter $16, $0
    sub %sp, %bx
    CHECK_EQ(w, $18, %bx)
    leave
    # The A20 line is on: 1 MiB is not 0
    mov $0xffff, %ax
    mov %ax, %es
    movb $1, 0x500
    movb $2, %es:0x510
    CHECK_EQ(b, $1, 0x500)
    # Big real mode: a 4 GiB limit taken along from protected mode
    lgdt gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    jmp 1f
1:  mov $8, %bx
    mov %bx, %fs
    and $0xfe, %al
    mov %eax, %cr0
    jmp 1f
1:  movl $0x200000, %ebx
    movl $0xcafe, %fs:(%ebx)
    CHECK_EQ(l, $0xcafe, %fs:(%ebx))
    # loading the register anew keeps the limit and sets the base
    mov $0x100, %ax
    mov %ax, %fs
    CHECK_EQ(l, $0xcafe, %fs:-0x1000(%ebx))
    # LOOP and JCXZ use CX; with the prefix ECX
    movl $0x10001, %ecx
    loop 2f
    CHECK_EQ(l, $0x10000, %ecx)
    jcxz 1f
2:  CHECK(nz)
    ljmp $0, $failed
1:  addr32 loop 1f
1:  CHECK_EQ(l, $0xffff, %ecx)
    ret

handler:
    pushf
    pop seen_flags
    push %bp
    mov %sp, %bp
    mov 2(%bp), %ax
    mov %ax, seen_ip
    pop %bp
    iret
far_target:
    mov $0xbeef, %ax
    lret

.data
.balign 8
gdt:         .quad 0, 0x00cf93000000ffff
gdt_pointer: .word 15
             .long gdt
bounds:      .word 10, 20
pointer:     .word 0x1234, 0x5678
table:       .byte 10, 20, 30
seen_ip:     .word 0
seen_flags:  .word 0
