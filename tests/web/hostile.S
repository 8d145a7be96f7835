# A guest whose console and symbols try to become a part of the page that shows them.
#include "guest32.inc"
main:
    mov $said, %esi
1:  mov (%esi), %al
    inc %esi
    test %al, %al
    jz 2f
    mov $0x3f8, %dx
    out %al, %dx
    jmp 1b
2:  call "<img src=x onerror=globalThis.taken=2>"
    PASS
"<img src=x onerror=globalThis.taken=2>":
    ret
.data
said: .ascii "<script>globalThis.taken=1</script>\r\n"
.asciz "\033]0;title\007\033[31mred\033[0m \"><svg onload=globalThis.taken=3>\r\n"
