# A driver of virtio's tablet: says each of its events on the debug console, makes the pixel
# white where the left button is pressed, and ends when the wheel is turned. It waits for a
# timer's ticks.
#include "guest32.inc"

#define TABLET 0x8000c000      // device 24 of the bus, as mechanism 1 names it
#define SCREEN_CARD 0x80001000
#define WINDOW 0xe0000000      // where its registers are put
#define EVENTS 64              // buffers, which are given once
#define RING_MASK 127
#define SCREEN 0xa0000         // its first 64 KiB
#define WIDTH 320              // in 256 colours
#define HEIGHT 200
#define WHITE 15
#define TICK 0x20

.macro config_write function, register, value
    mov $(\function + \register), %eax
    mov $0xcf8, %edx
    out %eax, %dx
    mov $\value, %eax
    mov $0xcfc, %edx
    out %eax, %dx
.endm
.macro out_byte value, port
    mov $\value, %al
    out %al, $\port
.endm
.macro out_far value, port
    mov $\port, %edx
    mov $\value, %al
    out %al, %dx
.endm
.macro vbe register, value
    mov $0x1ce, %edx
    mov $\register, %eax
    out %ax, %dx
    mov $0x1d0, %edx
    mov $\value, %eax
    out %ax, %dx
.endm

main:
    mov $TABLET, %eax
    mov $0xcf8, %edx
    out %eax, %dx
    mov $0xcfc, %edx
    in %dx, %eax
    CHECK_EQ(l, $0x10521af4, %eax)
    config_write TABLET, 0x20, WINDOW
    config_write TABLET, 0x24, 0
    config_write TABLET, 0x04, 6                           # memory and DMA

    movb $0, WINDOW + 0x14
    movb $3, WINDOW + 0x14
    movl $1, WINDOW + 0x08                         # of the features, that it is of 1.0
    movl $1, WINDOW + 0x0c
    movb $11, WINDOW + 0x14
    CHECK_EQ(b, $11, WINDOW + 0x14)
    movw $0, WINDOW + 0x16
    movl $table, WINDOW + 0x20
    movl $available, WINDOW + 0x28
    movl $used, WINDOW + 0x30
    movw $1, WINDOW + 0x1c
    xor %ecx, %ecx
1:  mov %ecx, %eax
    shl $4, %eax
    lea buffers(,%ecx,8), %edx
    mov %edx, table(%eax)
    movl $8, table + 8(%eax)
    movl $2, table + 12(%eax)                      # the device writes it
    mov %cx, available + 4(,%ecx,2)
    inc %ecx
    cmp $EVENTS, %ecx
    jb 1b
    movw $EVENTS, available + 2
    movb $15, WINDOW + 0x14
    movw $0, WINDOW + 0x3000

    config_write SCREEN_CARD, 0x04, 3              # ports and memory
    vbe 1, WIDTH
    vbe 2, HEIGHT
    vbe 3, 8
    vbe 4, 1
    out_far WHITE, 0x3c8
    out_far 63, 0x3c9
    out %al, %dx
    out %al, %dx
    mov $0x3da, %edx
    in %dx, %al
    out_far 0x20, 0x3c0                            # the screen is on

    set_gate TICK, tick
    out_byte 0x11, 0x20
    out_byte 0x11, 0xa0
    out_byte TICK, 0x21
    out_byte TICK + 8, 0xa1
    out_byte 4, 0x21
    out_byte 2, 0xa1
    out_byte 1, 0x21
    out_byte 1, 0xa1
    out_byte 0xfe, 0x21
    out_byte 0xff, 0xa1
    out_byte 0x34, 0x43                            # 100 Hz
    out_byte 0x9c, 0x40
    out_byte 0x2e, 0x40
    mov $text_ready, %esi
    call print

    xor %ebx, %ebx                                 # events that were seen
wait:
    cmp %bx, used + 2
    jne event
    sti
    hlt
    cli
    jmp wait
event:
    mov %ebx, %eax
    and $RING_MASK, %eax
    mov used + 4(,%eax,8), %eax
    inc %ebx
    lea buffers(,%eax,8), %esi
    movzwl (%esi), %ebp
    movzwl 2(%esi), %edi
    mov 4(%esi), %esi
    mov %ebp, %eax
    call print_word
    mov %edi, %eax
    call print_word
    mov %esi, %eax
    call print_hex
    mov $'\n', %al
    out %al, $DEBUG_CONSOLE
    cmp $2, %ebp
    je finished
    cmp $3, %ebp
    jne 1f
    mov %esi, place(,%edi,4)
1:  cmp $1, %ebp
    jne wait
    cmp $0x110, %edi
    jne wait
    test %esi, %esi
    jz wait
    imul $WIDTH, place, %eax
    shr $15, %eax
    imul $HEIGHT, place + 4, %edx
    shr $15, %edx
    imul $WIDTH, %edx, %edx
    movb $WHITE, SCREEN(%eax,%edx)
    jmp wait
finished:
    ret

print_word:
    call print_hex
    mov $' ', %al
    out %al, $DEBUG_CONSOLE
    ret
tick:
    push %eax
    out_byte 0x20, 0x20
    pop %eax
    iret

.data
text_ready: .asciz "ready\n"
.bss
.balign 4096
table:     .skip 2048
available: .skip 512
used:      .skip 2048
buffers:   .skip 8 * EVENTS
place:     .skip 8
.text
