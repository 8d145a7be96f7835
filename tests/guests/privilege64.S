# Ring 3 in long mode: what is privileged faults, IOPL and the I/O bitmap,
# SYSCALL and SYSRET, and the stack switch on an interrupt.
#include "guest64.inc"

main:
    EXPECT_USER_FAULT(GP, 0, user_hlt, user_hlt)
    EXPECT_USER_FAULT(GP, 0, user_cli, user_cli)
    EXPECT_USER_FAULT(GP, 0, user_sti, user_sti)
    EXPECT_USER_FAULT(GP, 0, user_in, user_in)
    EXPECT_USER_FAULT(GP, 0, user_outs, user_outs)
    EXPECT_USER_FAULT(GP, 0, user_mov_cr, user_mov_cr)
    EXPECT_USER_FAULT(GP, 0, user_mov_to_cr, user_mov_to_cr)
    EXPECT_USER_FAULT(GP, 0, user_mov_dr, user_mov_dr)
    EXPECT_USER_FAULT(GP, 0, user_rdmsr, user_rdmsr)
    EXPECT_USER_FAULT(GP, 0, user_wrmsr, user_wrmsr)
    EXPECT_USER_FAULT(GP, 0, user_lgdt, user_lgdt)
    EXPECT_USER_FAULT(GP, 0, user_lidt, user_lidt)
    EXPECT_USER_FAULT(GP, 0, user_ltr, user_ltr)
    EXPECT_USER_FAULT(GP, 0, user_lmsw, user_lmsw)
    EXPECT_USER_FAULT(GP, 0, user_clts, user_clts)
    EXPECT_USER_FAULT(GP, 0, user_invlpg, user_invlpg)
    EXPECT_USER_FAULT(GP, 0, user_wbinvd, user_wbinvd)
    EXPECT_USER_FAULT(GP, 0, user_swapgs, user_swapgs)
    EXPECT_USER_FAULT(GP, 0, user_sysret, user_sysret)
    EXPECT_USER_FAULT(GP, KERNEL_DS, user_load_ss_at, user_load_ss)
    EXPECT_USER_FAULT(GP, KERNEL_CS, user_far_at, user_far)
    # Kernel memory is out of reach: present, read or write, user
    EXPECT_USER_FAULT(PF, PF_P+PF_U, user_read_at, user_read)
    EXPECT_USER_FAULT(PF, PF_P+PF_W+PF_U, user_write_at, user_write)
    EXPECT_USER_FAULT(PF, PF_P+PF_U+PF_I, user_jump_target-USER_WINDOW, user_jump)
    # The interrupt ran on the stack of the TSS, aligned to 16
    mov $stack_top - 0x1000, %eax
    CHECK_EQ(q, %rax, exc_frame_end)
    mov $user_stack_top, %eax
    movabs $USER_WINDOW, %r14
    add %r14, %rax
    CHECK_EQ(q, %rax, exc_rsp)

    # IOPL 3: ports, CLI and STI are free
    movq $0x3002, user_rflags
    EXPECT_USER_FAULT(UD, 0, user_io_ud, user_io)
    # POPF in ring 3 changes neither IOPL nor, at IOPL 0, IF; it just drops them
    movq $0x2, user_rflags
    EXPECT_USER_FAULT(UD, 0, user_popf_ud, user_popf)
    testl $0x3200, exc_rflags
    CHECK(z)

    # The I/O bitmap: port 0x80 allowed, 0x81 not
    movl $tss + 104, %edi
    movb $0xff, %al
    mov $33, %ecx
    rep stosb
    movb $0xfe, tss + 104 + 0x80 / 8
    movw $104, tss + 102
    movw $104 + 32, gdt + TSS_SEL
    andb $0xfd, gdt + TSS_SEL + 5                  # available again
    mov $TSS_SEL, %eax
    ltr %ax
    EXPECT_USER_FAULT(UD, 0, user_port80_ud, user_port80)
    EXPECT_USER_FAULT(GP, 0, user_port81, user_port81)
    EXPECT_USER_FAULT(GP, 0, user_port80_word, user_port80_word)

    # SYSCALL and SYSRET
    mov $0xc0000081, %ecx                          # STAR
    xor %eax, %eax
    mov $0x00100008 | 0x30000, %edx
    wrmsr
    mov $0xc0000082, %ecx                          # LSTAR
    mov $syscall_entry, %eax
    xor %edx, %edx
    wrmsr
    mov $0xc0000084, %ecx                          # SFMASK
    mov $0x401, %eax
    xor %edx, %edx
    wrmsr
    movq $0x403, user_rflags                       # DF and CF are set
    EXPECT_USER_FAULT(UD, 0, user_after_syscall, user_syscall)
    andl $~0x10000, exc_rflags                     # RF, which a fault sets (QEMU does not)
    CHECK_EQ(l, $0x403, exc_rflags)                # SYSRET brought R11 back
    CHECK_EQ(l, $1, syscalls)
    movq $0x2, user_rflags
    # Without EFER.SCE, SYSCALL is UD
    mov $0xc0000080, %ecx
    rdmsr
    and $~1, %eax
    wrmsr
    EXPECT_FAULT(UD, 0, syscall)
    EXPECT_FAULT(UD, 0, sysretq)
    # EFER: reserved bits, and LME while paging, are refused
    or $2, %eax
    HARDWARE(EXPECT_FAULT(GP, 0, wrmsr))           # QEMU drops reserved bits
    and $~0x102, %eax
    HARDWARE(EXPECT_FAULT(GP, 0, wrmsr))           # QEMU ignores the change
    # Control registers: what must not be set, or not cleared in long mode
    mov %cr4, %rax
    mov %rax, %rbx
    and $~0x20, %eax
    HARDWARE(EXPECT_FAULT(GP, 0, mov %rax, %cr4))
    mov %rbx, %rax
    bts $40, %rax
    HARDWARE(EXPECT_FAULT(GP, 0, mov %rax, %cr4))
    mov %cr0, %rax
    and $~1, %eax                                  # PG without PE
    HARDWARE(EXPECT_FAULT(GP, 0, mov %rax, %cr0))
    mov %cr0, %rax
    or $0x20000000, %eax                           # NW without CD
    HARDWARE(EXPECT_FAULT(GP, 0, mov %rax, %cr0))
    mov $0x12345678, %ecx                          # no such MSR
    HARDWARE(EXPECT_FAULT(GP, 0, rdmsr))
    HARDWARE(EXPECT_FAULT(GP, 0, wrmsr))
    # A base MSR refuses what is not canonical
    mov $0xc0000100, %ecx
    xor %eax, %eax
    mov $0x00800000, %edx
    HARDWARE(EXPECT_FAULT(GP, 0, wrmsr))
    ret

syscall_entry:
    incl syscalls
    mov $user_after_syscall, %eax
    movabs $USER_WINDOW, %r14
    add %r14, %rax
    cmp %rax, %rcx                                 # RCX is the next RIP
    jne syscall_wrong
    cmp $0x403, %r11                               # R11 is RFLAGS as it was
    jne syscall_wrong
    pushfq
    pop %rax
    test $0x401, %eax                              # SFMASK cleared these
    jnz syscall_wrong
    mov %cs, %eax
    cmp $KERNEL_CS, %eax
    jne syscall_wrong
    mov %ss, %eax
    cmp $KERNEL_DS, %eax
    jne syscall_wrong
    sysretq
syscall_wrong:
    mov $__LINE__, %edi
    jmp failed

user_hlt: hlt
user_cli: cli
user_sti: sti
user_in: in $0x80, %al
user_outs: outsb
user_mov_cr: mov %cr0, %rax
user_mov_to_cr: mov %rax, %cr3
user_mov_dr: mov %dr0, %rax
user_rdmsr: rdmsr
user_wrmsr: wrmsr
user_lgdt: lgdt (%rsp)
user_lidt: lidt (%rsp)
user_ltr: ltr %ax
user_lmsw: lmsw %ax
user_clts: clts
user_invlpg: invlpg (%rax)
user_wbinvd: wbinvd
user_swapgs: swapgs
user_sysret: sysretq
user_load_ss:
    mov $KERNEL_DS, %eax
user_load_ss_at:
    mov %eax, %ss
user_far:
    push $KERNEL_CS
    push $0
user_far_at:
    lretq
user_read:
    mov $pml4, %eax
user_read_at:
    mov (%rax), %al
user_write:
    mov $pml4, %eax
user_write_at:
    mov %al, (%rax)
user_jump:
    mov $main, %eax
    jmp *%rax
.set user_jump_target, main
user_io:
    in $0x80, %al
    sti
    cli
user_io_ud:
    ud2
user_popf:
    push $0x3202
    popfq
user_popf_ud:
    ud2
user_port80:
    in $0x80, %al
user_port80_ud:
    ud2
user_port81: in $0x81, %al
user_port80_word: in $0x80, %ax
user_syscall:
    syscall
user_after_syscall:
    ud2

.data
syscalls: .long 0
