# Prints without end.
.code16
.globl _start
_start:
  xorw %ax, %ax
  movw %ax, %ds
again:
  incl rounds
  movw $0x3f8, %dx
  movb rounds, %al
  outb %al, %dx
  jmp again
rounds:
  .long 0
