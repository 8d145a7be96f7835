# A floppy disk, as a driver programs the controller: sectors read and written by DMA and by
# the FIFO, a seek, and what its status says.
#include "guest16.inc"

#define OUTPUT 0x3f2
#define STATUS 0x3f4
#define FIFO 0x3f5
#define RATE 0x3f7
#define BUFFER 0x9000
#define BACK 0xa000

.macro out8 port, value
    mov $\port, %dx
    mov $\value, %al
    out %al, %dx
.endm
// One byte of a command, when the controller wants it.
.macro give value
    mov $\value, %al
    call give_byte
.endm
// Channel 2 moves `bytes` at BUFFER: `mode` 46H into memory, 4AH out of it.
.macro channel at, bytes, mode
    out8 0x0a, 0x06
    out8 0x0c, 0
    out8 0x04, (\at) & 0xff
    out8 0x04, (\at) >> 8
    out8 0x81, 0
    out8 0x05, (\bytes - 1) & 0xff
    out8 0x05, (\bytes - 1) >> 8
    out8 0x0b, \mode
    out8 0x0a, 0x02
.endm
// READ DATA 46H or WRITE DATA 45H of cylinder, head, sector up to `last`.
.macro transfer code, cylinder, head, sector, last
    give \code
    give \head << 2
    give \cylinder
    give \head
    give \sector
    give 2
    give \last
    give 0x1b
    give 0xff
.endm

give_byte:
    mov %al, %ah
    mov $STATUS, %dx
1:  in %dx, %al
    and $0xc0, %al
    cmp $0x80, %al
    jne 1b
    mov %ah, %al
    mov $FIFO, %dx
    out %al, %dx
    ret
take_byte:
    mov $STATUS, %dx
1:  in %dx, %al
    and $0xc0, %al
    cmp $0xc0, %al
    jne 1b
    mov $FIFO, %dx
    in %dx, %al
    ret
// Seven bytes of an answer; the first three stay in `answer`.
take_answer:
    mov $answer, %di
    mov $7, %cx
1:  call take_byte
    stosb
    loop 1b
    ret
// Until a seek is over: its two bytes.
take_seek:
1:  give 0x08
    call take_byte
    cmp $0x80, %al                              # nothing yet
    je 1b
    mov %al, answer
    call take_byte
    mov %al, answer + 1
    ret

main:
    out8 OUTPUT, 0x00
    out8 OUTPUT, 0x1c                           # out of reset, DMA, motor 0, drive 0
    mov $4, %cx                                 # four drives have become ready
1:  push %cx
    call take_seek
    pop %cx
    mov answer, %al
    and $0xc0, %al
    CHECK_EQ(b, $0xc0, %al)
    loop 1b
    out8 RATE, 0
    out8 0xd6, 0xc0                             # the first chip's channels go through channel 4
    out8 0xd4, 0x00
    give 0x10
    call take_byte
    CHECK_EQ(b, $0x90, %al)                     # an 82077AA
    give 0x03
    give 0xdf
    give 0x02                                   # by DMA

    // cylinder 0, head 0, sectors 2 and 3
    channel BUFFER, 1024, 0x46
    transfer 0x46, 0, 0, 2, 18
    call take_answer
    CHECK_EQ(b, $0x00, answer)
    CHECK_EQ(b, $0x00, answer + 1)
    CHECK_EQ(b, $4, answer + 5)
    CHECK_EQ(l, $0x00010010, BUFFER + 16)
    CHECK_EQ(l, $0x00020010, BUFFER + 512 + 16)
    in $0x08, %al
    test $0x04, %al                             # terminal count of channel 2
    CHECK(nz)

    // head to cylinder 5; sector 1 of its second side is 5 * 36 + 18
    give 0x0f
    give 0x04
    give 5
    call take_seek
    CHECK_EQ(b, $0x20, answer)
    CHECK_EQ(b, $5, answer + 1)
    channel BUFFER, 512, 0x46
    transfer 0x46, 5, 1, 1, 18
    call take_answer
    CHECK_EQ(b, $0x04, answer)
    CHECK_EQ(l, $0x00c60010, BUFFER + 16)

    // written by DMA, read by the FIFO
    movl $0xfeedface, BUFFER
    channel BUFFER, 512, 0x4a
    transfer 0x45, 5, 1, 7, 18
    call take_answer
    CHECK_EQ(b, $0x04, answer)
    give 0x03
    give 0xdf
    give 0x03                                   # without DMA
    transfer 0x46, 5, 1, 7, 7
    mov $BACK, %di
    mov $512, %cx
1:  call take_byte
    stosb
    loop 1b
    call take_answer
    CHECK_EQ(b, $0x44, answer)                  # nobody said that this was the end
    CHECK_EQ(b, $0x80, answer + 1)
    CHECK_EQ(l, $0xfeedface, BACK)

    // written by the FIFO
    transfer 0x45, 5, 1, 9, 9
    mov $512, %cx
1:  mov %cl, %bl
    mov $STATUS, %dx
2:  in %dx, %al
    and $0xe0, %al
    cmp $0xa0, %al
    jne 2b
    mov %bl, %al
    mov $FIFO, %dx
    out %al, %dx
    loop 1b
    call take_answer
    CHECK_EQ(b, $0x80, answer + 1)

    // a track that is not there, and a command that is none
    transfer 0x46, 5, 1, 19, 36
    call take_answer
    CHECK_EQ(b, $0x04, answer + 1)
    give 0x1f
    call take_byte
    CHECK_EQ(b, $0x80, %al)
    ret
.data
answer: .space 8
.text
