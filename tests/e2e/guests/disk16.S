# A disk on the IDE controller, as a driver programs it: one sector by PIO, eight by
# bus-master DMA over memory that was in use, and writes by both ways.
#include "guest16.inc"

#define CONFIG 0xcf8
#define DATA 0xcfc
#define IDE 0x80000900                          /* 00:01.1, as on a PIIX3 */
#define MASTER 0xc000
#define TABLE 0x8f00
#define PIO_BUFFER 0x9000
#define BACK_BUFFER 0x9400
#define STALE 0x1f00                            /* segment of the buffer at 1F000H */

.macro config reg, value
    mov $(IDE | \reg), %eax
    mov $CONFIG, %dx
    out %eax, %dx
    mov $\value, %eax
    mov $DATA, %dx
    out %eax, %dx
.endm
.macro out8 port, value
    mov $\port, %dx
    mov $\value, %al
    out %al, %dx
.endm
// Task file for one command: LBA below 256, drive 0.
.macro command lba, count, code
    out8 0x1f6, 0xe0
    out8 0x1f2, \count
    out8 0x1f3, \lba
    out8 0x1f4, 0
    out8 0x1f5, 0
    out8 0x1f7, \code
.endm

// Until the drive wants its data moved.
wait_data:
    mov $0x1f7, %dx
1:  in %dx, %al
    test $0x80, %al
    jnz 1b
    test $0x08, %al
    jz 1b
    ret
// Until the drive is done.
wait_ready:
    mov $0x1f7, %dx
1:  in %dx, %al
    test $0x88, %al
    jnz 1b
    test $0x01, %al
    CHECK(z)
    ret
// The bus master does what `%al` says (8: to memory) with one region.
start_master:
    push %ax
    mov $MASTER + 4, %dx
    mov $TABLE, %eax
    out %eax, %dx
    out8 MASTER + 2, 0x66
    pop %ax
    mov $MASTER, %dx
    out %al, %dx
    or $1, %al
    out %al, %dx
1:  mov $MASTER + 2, %dx
    in %dx, %al
    test $0x04, %al                             # the interrupt
    jz 1b
    test $0x02, %al                             # no error
    CHECK(z)
    out8 MASTER, 0
    jmp wait_ready

main:
    config 0x20, MASTER
    config 0x04, 5

    // sector 0 by PIO: it begins with its number
    command 0, 1, 0x20
    call wait_data
    mov $PIO_BUFFER, %di
    mov $256, %cx
    mov $0x1f0, %dx
    rep insw
    call wait_ready
    CHECK_EQ(l, $0x4b534944, PIO_BUFFER)        # "DISK"

    // memory that is in use ...
    mov $STALE, %ax
    mov %ax, %es
    movl $0x1234567, %es:0x10
    // ... and sectors 8 to 15 by DMA over it
    movl $0x1f000, TABLE
    movl $0x80001000, TABLE + 4
    command 8, 8, 0xc8
    mov $8, %al
    call start_master
    CHECK_EQ(l, $0x00080010, %es:0x10)

    // sector 16 by DMA, sector 24 by PIO
    movl $0xfeedface, PIO_BUFFER
    movl $PIO_BUFFER, TABLE
    movl $0x80000200, TABLE + 4
    command 16, 1, 0xca
    mov $0, %al
    call start_master
    command 24, 1, 0x30
    call wait_data
    mov $PIO_BUFFER, %si
    mov $256, %cx
    mov $0x1f0, %dx
    rep outsw
    call wait_ready

    // both are there
    xor %ax, %ax
    mov %ax, %es
    command 16, 1, 0x20
    call wait_data
    mov $BACK_BUFFER, %di
    mov $256, %cx
    mov $0x1f0, %dx
    rep insw
    call wait_ready
    CHECK_EQ(l, $0xfeedface, BACK_BUFFER)
    ret
