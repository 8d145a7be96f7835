# Virtual-8086 mode: entered by IRET, its faults, INT n by IOPL, IRET and PUSHF,
# ports by the bitmap, and the frame of a fault from it.
#include "guest32.inc"
#define V86_STACK 0x8000
#define EXPECT_V86(vector, error, offset, label) expect_v86 vector, error, offset, label, __LINE__

.macro expect_v86 vector, error, offset, label, line
    arm_resume .Lresume\@
    pushl $0x3333                                  # GS FS DS ES
    pushl $0x2222
    pushl $0x1111
    pushl $0x4444
    pushl $0                                       # SS:ESP
    pushl $V86_STACK
    pushl v86_flags
    pushl $0x700
    pushl $\label - v86_code
    iret
.Lresume\@:
    check_eq l, \line, $\vector, exc_vector
    check_eq l, \line, $\error, exc_error
    check_eq l, \line, $\label-v86_code+\offset, exc_eip
    check_eq l, \line, $0x700, exc_cs
    testl $0x20000, exc_eflags
    check_cc nz, \line
.endm

main:
    mov $v86_code, %esi                            # real-mode code at 0x7000
    mov $0x7000, %edi
    mov $v86_end - v86_code, %ecx
    cld
    rep movsb
    movw $0, %ax

    # IOPL 0: CLI, STI, PUSHF, POPF, INT n, IRET fault; IN by the bitmap
    movl $0x20002, v86_flags
    EXPECT_V86(GP, 0, 0, v86_cli)
    EXPECT_V86(GP, 0, 0, v86_sti)
    EXPECT_V86(GP, 0, 0, v86_pushf)
    EXPECT_V86(GP, 0, 0, v86_popf)
    EXPECT_V86(GP, 0, 0, v86_iret)
    EXPECT_V86(GP, 0, 0, v86_int)
    EXPECT_V86(GP, 0, 0, v86_hlt)
    EXPECT_V86(GP, 0, 0, v86_in)
    EXPECT_V86(UD, 0, 0, v86_ud)
    EXPECT_V86(UD, 0, 0, v86_arpl)                 # ARPL and LAR do not exist here
    EXPECT_V86(UD, 0, 0, v86_lar)
    EXPECT_V86(BP, 0, 1, v86_int3)                 # INT3 needs no IOPL
    # The frame: the segments, then SS:ESP; the handler's segments are null
    mov exc_frame, %eax
    CHECK_EQ(l, $V86_STACK, 12(%eax))
    CHECK_EQ(l, $0x4444, 20(%eax))
    CHECK_EQ(l, $0x1111, 24(%eax))
    CHECK_EQ(l, $0x2222, 28(%eax))
    CHECK_EQ(l, $0x3333, 32(%eax))
    lea 36(%eax), %eax
    CHECK_EQ(l, $ring0_stack_top, %eax)
    mov %fs, %eax
    CHECK_EQ(l, $0, %eax)
    # Addresses are selector * 16 + offset, and offsets end at 0xffff
    movl $0x20002, v86_flags
    EXPECT_V86(UD, 0, v86_store_ud-v86_store, v86_store)
    CHECK_EQ(b, $0x5a, 0x11110+0x10)
    HARDWARE(EXPECT_V86(GP, 0, v86_wrap_at-v86_wrap, v86_wrap))   # QEMU checks no limits
    # IOPL 3: they run; INT n goes through the IDT and needs a gate of DPL 3
    movl $0x23002, v86_flags
    EXPECT_V86(UD, 0, v86_flags_ud-v86_flags_run, v86_flags_run)
    CHECK_EQ(w, $0x3002, %bx)                      # PUSHF shows IOPL, not VM
    EXPECT_V86(GP, 0x20*8+2, 0, v86_int)
    set_gate 0x20, stubs+16*0x20, 0xee
    EXPECT_V86(0x20, 0, 2, v86_int)
    EXPECT_V86(UD, 0, 0, v86_iret_target)
    EXPECT_V86(UD, 0, v86_iret_target-v86_far_iret, v86_far_iret)
    # The I/O bitmap counts whatever the IOPL
    EXPECT_V86(GP, 0, 0, v86_in)
    mov $tss + 104, %edi
    mov $33, %ecx
    mov $0xff, %al
    rep stosb
    movb $0xfe, tss + 104 + 0x80 / 8
    movw $104 + 33, gdt + TSS_SEL
    movb $0x89, gdt + TSS_SEL + 5
    mov $TSS_SEL, %eax
    ltr %ax
    EXPECT_V86(UD, 0, 2, v86_in)
    EXPECT_V86(GP, 0, 0, v86_in81)
    # A gate to a conforming segment or an outer ring cannot take us out of V86
    ret

.code16
v86_code:
v86_cli: cli
v86_sti: sti
v86_pushf: pushf
v86_popf: popf
v86_iret: iret
v86_int: int $0x20
    ud2
v86_hlt: hlt
v86_in: in $0x80, %al
    ud2
v86_in81: in $0x81, %al
v86_ud: ud2
v86_arpl: .byte 0x63, 0xc0
v86_lar: .byte 0x0f, 0x02, 0xc0
v86_int3: int3
v86_store:
    movb $0x5a, 0x10
v86_store_ud:
    ud2
v86_wrap:
    mov $0xffff, %bx
v86_wrap_at:
    mov (%bx), %ax
v86_flags_run:
    cli
    sti
    cli
    pushf
    pop %bx
v86_flags_ud:
    ud2
v86_far_iret:
    push $0x3002
    push $0x700
    push $v86_iret_target - v86_code
    iret
v86_iret_target:
    ud2
v86_end:
.code32

.bss
v86_flags: .skip 4
