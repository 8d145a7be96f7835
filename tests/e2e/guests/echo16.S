# Sends back what comes in on the serial port, by polling, and counts the
# characters; q ends it by debug-exit 0, ! by a triple fault.
.code16
.globl _start
_start:
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %ss
  movw $0x7000, %sp
  movw $0x3fb, %dx
  movb $3, %al
  outb %al, %dx
again:
  incl rounds
  movw $0x3fd, %dx
  inb %dx, %al
  testb $1, %al
  jz again
  movw $0x3f8, %dx
  inb %dx, %al
  outb %al, %dx
  incl characters
  cmpb $'!', %al
  je fault
  cmpb $'q', %al
  jne again
  movw $0xf4, %dx
  xorb %al, %al
  outb %al, %dx
stop:
  hlt
  jmp stop
fault:
  lidt nothing
  int3
nothing:
  .word 0
  .long 0
rounds:
  .long 0
characters:
  .long 0
