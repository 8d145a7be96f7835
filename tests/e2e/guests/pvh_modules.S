# What a PVH loader hands over: the start info, the command line, modules in order with
# their lines and bytes, the memory map and the RSDP. The entry is in the last of several
# notes, aligned to ALIGNMENT and described by WIDTH bytes.
#include "guest32.inc"

.macro note owner, type, description:vararg
    .balign ALIGNMENT
    .long 2f - 1f, 4f - 3f, \type
1:  .asciz "\owner"
2:  .balign ALIGNMENT
3:  \description
4:
.endm

.section .note.pvh, "a", @note
    note "GNU", 7, .long 0xc0000002, 4, 3, 0
    note "Linux", 0x101, .byte 0
    note "Xen", 5, .asciz "guest"
    note "GNU", 18, .long 0x1234
#if WIDTH == 8
    note "Xen", 18, .long start, 0
#else
    note "Xen", 18, .long start
#endif
    .balign ALIGNMENT

.text
main:
    mov multiboot_info, %ebx
    CHECK_EQ(l, $0x336ec578, (%ebx))
    CHECK_EQ(l, $1, 4(%ebx))                       # version
    CHECK_EQ(l, $2, 12(%ebx))                      # modules
    mov 24(%ebx), %esi
    mov $text_append, %edi
    call equals
    mov 16(%ebx), %ebp
    mov (%ebp), %esi
    CHECK_EQ(l, $0x68706c61, (%esi))               # "alph"
    CHECK_EQ(l, $25, 8(%ebp))
    mov 16(%ebp), %esi
    mov $text_alpha, %edi
    call equals
    mov 32(%ebp), %esi
    CHECK_EQ(l, $0x61746562, (%esi))               # "beta"
    CHECK_EQ(l, $25, 40(%ebp))
    CHECK_EQ(l, $0, 48(%ebp))                      # without a line
    CHECK_EQ(l, $0, 20(%ebx))
    mov 32(%ebx), %esi
    CHECK_EQ(l, $0x20445352, (%esi))               # "RSD "
    mov 40(%ebx), %esi                             # the first entry of the map: memory from 0
    CHECK_EQ(l, $0, (%esi))
    CHECK_EQ(l, $1, 16(%esi))
    mov 48(%ebx), %eax
    cmp $2, %eax
    CHECK(ae)
    PASS

#include "equals.inc"

.data
text_append: .asciz "first second"
text_alpha:  .asciz "alpha"
