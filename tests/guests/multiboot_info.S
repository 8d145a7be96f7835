# What a multiboot 1 loader hands over: magic, memory sizes, command line,
# modules with their strings and bytes, the memory map, and the machine's state.
# options: --append "first second" --module {dir}/module_a.txt,alpha --module {dir}/module_b.txt
#include "guest32.inc"

main:
    CHECK_EQ(l, $0x2badb002, multiboot_magic)
    mov multiboot_info, %ebx
    mov (%ebx), %eax
    not %eax
    test $0x4d, %eax                               # memory, command line, modules, map
    CHECK(z)
    mov 4(%ebx), %eax                              # KiB below 1 MiB, of at most 640
    cmp $512, %eax
    CHECK(ae)
    cmp $640, %eax
    CHECK(be)
    cmpl $1024, 8(%ebx)
    CHECK(ae)
    # the command line is the file's name, then what was appended
    mov 16(%ebx), %esi
    mov $text_append, %edi
    HARDWARE(call equals)                          # QEMU gives the whole path
    # two modules, page-aligned, whole, apart from the kernel and from another
    CHECK_EQ(l, $2, 20(%ebx))
    mov 24(%ebx), %ebp
    mov (%ebp), %esi
    CHECK_EQ(l, $0x68706c61, (%esi))               # "alph"
    test $0xfff, %esi
    CHECK(z)
    mov 4(%ebp), %eax
    sub %esi, %eax
    CHECK_EQ(l, $module_a_size, %eax)
    cmp $image_end, %esi
    CHECK(ae)
    mov 8(%ebp), %esi
    mov $text_alpha, %edi
    call equals
    mov 24(%ebp), %esi
    mov $text_beta, %edi
    call equals
    mov 16(%ebp), %esi
    cmp 4(%ebp), %esi
    CHECK(ae)
    CHECK_EQ(l, $0x61746562, (%esi))               # "beta"
    mov 20(%ebp), %eax
    sub %esi, %eax
    CHECK_EQ(l, $module_b_size, %eax)
    # the map: usable memory at 0 and at 1 MiB; entries of at least 20 bytes
    mov 48(%ebx), %esi
    mov 44(%ebx), %ecx
    add %esi, %ecx
    xor %edx, %edx
1:  cmp %ecx, %esi
    jae 3f
    mov (%esi), %eax
    cmp $20, %eax
    CHECK(ae)
    cmpl $1, 20(%esi)
    jne 2f
    cmpl $0, 8(%esi)
    jne 2f
    cmpl $0, 4(%esi)
    jne 4f
    or $1, %edx
4:  cmpl $0x100000, 4(%esi)
    jne 2f
    or $2, %edx
2:  lea 4(%esi,%eax), %esi
    jmp 1b
3:  CHECK_EQ(l, $3, %edx)
    ret

#include "equals.inc"

.data
text_append: .asciz "multiboot_info first second"
text_alpha:  .asciz "module_a.txt alpha"
text_beta:   .asciz "module_b.txt"
.set module_a_size, 25
.set module_b_size, 25
